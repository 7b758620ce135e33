//! Every method across eras, client to server: the same permits and rows as within an era, whoever makes the call.

use portcullis::mcp::{Era, Method};

use super::bridge::{CAPABILITIES, asking};
use super::mcp_server::Speaks;
use super::scene::{Scene, request};
use super::table::{Line, permits, requests};

/// Where a request is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A worker, for a client that declares nothing.
    Worker,
    /// A worker, for a client that can be asked.
    Asking,
    /// The object of such a client's calls.
    Object,
    /// The object of a legacy session.
    Session,
}

const PLACES: [(Place, Era, Speaks); 4] = [
    (Place::Worker, Era::Modern, Speaks::Legacy),
    (Place::Asking, Era::Modern, Speaks::Legacy),
    (Place::Object, Era::Modern, Speaks::Legacy),
    (Place::Session, Era::Legacy, Speaks::Modern),
];

/// With everything synced, and what the first call needs there already.
fn scene(place: Place, era: Era, speaks: Speaks) -> Scene {
    let scene = Scene::new(speaks, speaks).synced();
    match place {
        Place::Worker | Place::Asking => {}
        Place::Object => scene.world.as_bridge(CAPABILITIES),
        Place::Session => scene.world.with_session(),
    }
    assert_eq!(scene.call(era, "jira_get").status, 200);
    scene.world.clear();
    scene
}

/// What differs from the same request within an era.
fn across(place: Place, mut line: Line) -> Option<Line> {
    match line.method {
        // What subscribes to resources across eras has a file of its own.
        "resources/subscribe" | "resources/unsubscribe" if place == Place::Session => return None,
        // There is no session with a modern server to set a level for: it is said with each request.
        "logging/setLevel" => line.sent.clear(),
        _ => {}
    }
    // An object is handed what may ask, and records it.
    let may_ask = Method::parse(line.method).is_some_and(Method::may_ask);
    if place == Place::Asking && may_ask && !line.sent.is_empty() {
        line.sent.clear();
        line.rows.clear();
    }
    Some(line)
}

#[test]
fn every_request_across_eras_reaches_what_it_may_and_leaves_its_rows() {
    for (place, era, speaks) in PLACES {
        for line in requests(era) {
            let Some(expected) = across(place, line) else {
                continue;
            };
            let scene = scene(place, era, speaks);
            let mut body = request(era, expected.method, expected.params.clone());
            if matches!(place, Place::Asking | Place::Object) {
                body = asking(body);
            }
            let got = scene.send("alice", era, &body);
            let what = format!("{place:?} {} {}", expected.method, expected.params);
            assert_eq!(permits(&scene), expected.sent, "{what}");
            assert_eq!(scene.rows(), expected.rows, "{what}");
            assert_eq!(got.status, expected.status, "{what}");
            for row in scene.world.ledger.rows() {
                assert_eq!(row.rule.as_deref(), expected.rule, "{what}");
                assert_eq!(row.method, expected.method, "{what}");
                assert_eq!(row.era, era.as_str(), "{what}: the client's");
                assert_eq!(row.request_id, scene.last_request_id(), "{what}");
            }
            let handed = scene.world.keeper.handed.borrow().len();
            let may_ask = Method::parse(expected.method).is_some_and(Method::may_ask);
            let is_refused = expected.rows.iter().any(|row| row.starts_with("refusal"));
            let is_handed = place == Place::Asking && may_ask && !is_refused;
            assert_eq!(handed, usize::from(is_handed), "{what}");
            assert_eq!(scene.world.keeper.kept.borrow().holds(), 0, "{what}");
            assert!(scene.world.keeper.calls.borrow().is_empty(), "{what}");
        }
    }
}
