//! Subscriptions across eras: a modern client at a legacy server, and a legacy client at a modern one.

use portcullis::limits::SUBSCRIBE_MS_MAX;
use portcullis::mcp::Era;
use portcullis::portal::ports::BodyKind;
use serde_json::{Value, json};

use super::listen::{said, updated};
use super::mcp_server::{Speaks, rpc_error};
use super::scene::{Got, Scene};
use super::upstreams::{Canned, Piece, Sent};

pub const READ: &str = "portals.main/servers.jira";

// A modern client at a legacy server.

pub fn modern_legacy() -> Scene {
    Scene::new(Speaks::Legacy, Speaks::Legacy).synced()
}

pub fn listen(scene: &Scene, uris: &[&str]) -> Got {
    scene.ask(
        "alice",
        Era::Modern,
        "subscriptions/listen",
        json!({"notifications":{"resourceSubscriptions":uris}}),
    )
}

pub fn honoured(first: Option<Value>) -> Value {
    first.unwrap()["params"]["notifications"]["resourceSubscriptions"].clone()
}

pub fn stream(pieces: Vec<Piece>) -> Canned {
    Canned::events(pieces)
}

#[test]
fn a_modern_client_hears_of_a_legacy_servers_resource() {
    let scene = modern_legacy();
    let pieces = vec![
        Piece::Wait(1_000),
        said(&updated("jira://page/9")),
        said(&updated("jira://a")),
        Piece::Hang,
    ];
    scene.jira.will_answer(stream(pieces));
    let mut got = listen(&scene, &["jira://a"]);
    assert_eq!(honoured(got.next()), json!(["jira://a"]));
    assert_eq!(
        scene.sent(),
        [
            "jira initialize",
            "jira notifications/initialized",
            "jira GET",
            "jira resources/subscribe"
        ]
    );
    let sent = scene.world.upstreams.sent.borrow().clone();
    assert_eq!(sent[0].json()["params"]["capabilities"], json!({}));
    assert_eq!(sent[3].json()["params"]["uri"], "jira://a");
    assert!(sent.iter().all(|sent| sent.rule == READ && !sent.is_write));
    let session = |sent: &Sent| sent.header("Mcp-Session-Id").map(str::to_owned);
    let own = session(&sent[3]);
    assert!(own.is_some());
    let told = got.next().unwrap();
    assert_eq!(
        told["params"],
        json!({"uri":"jira://a","_meta":{"io.modelcontextprotocol/subscriptionId":1}})
    );
    assert_eq!(scene.rows(), ["outcome ok -"]);
    let row = &scene.world.ledger.rows()[0];
    assert_eq!(row.method, "subscriptions/listen");
    assert_eq!(row.server.as_deref(), Some("jira"));
    // The client leaves, and with it its session at the server.
    drop(got);
    scene.world.settle();
    let ended = scene.world.upstreams.of("DELETE");
    assert_eq!(ended.len(), 1);
    assert_eq!(session(&ended[0]), own);
    assert_eq!(scene.world.upstreams.open(), 0);
}

#[test]
fn what_a_legacy_server_does_not_honour_is_left_out() {
    // One of three.
    let scene = modern_legacy();
    scene.jira.will_answer(stream(vec![Piece::Hang]));
    scene.jira.will_answer(Canned::json(
        json!({"jsonrpc":"2.0","id":"$ID","result":{}}),
    ));
    scene.jira.will_reply(|asked| {
        Canned::with(200, BodyKind::Json, rpc_error(&asked["id"], -32002, "no"))
    });
    let mut got = listen(&scene, &["jira://page/1", "jira://page/2", "jira://a"]);
    let first = honoured(got.next());
    assert_eq!(first, json!(["jira://page/1", "jira://a"]));
    let ids: Vec<Value> = scene
        .world
        .upstreams
        .of("resources/subscribe")
        .iter()
        .map(|s| s.json()["id"].clone())
        .collect();
    assert!(
        ids.iter()
            .enumerate()
            .all(|(at, id)| !ids[..at].contains(id)),
        "{ids:?}"
    );
    drop(got);
    // No stream of its own, a broken one, and one that hangs.
    let none = |canned: Canned| {
        let scene = modern_legacy();
        scene.jira.will_answer(canned);
        let began_ms = scene.world.timers.now_ms();
        let mut got = listen(&scene, &["jira://a"]);
        assert_eq!(honoured(got.next()), Value::Null);
        assert!(scene.world.timers.now_ms() - began_ms <= SUBSCRIBE_MS_MAX);
        drop(got);
        scene.world.settle();
        assert_eq!(
            scene.world.upstreams.of("DELETE").len(),
            1,
            "nothing is left behind"
        );
        assert_eq!(scene.world.upstreams.open(), 0);
    };
    none(Canned::status(405));
    none(Canned::status(500));
    none(Canned::hang());
    // It never said that it can.
    let scene = Scene::new(Speaks::Legacy, Speaks::Legacy);
    scene.jira.subscribes.set(false);
    let scene = scene.synced();
    let mut got = listen(&scene, &["jira://a"]);
    assert_eq!(honoured(got.next()), Value::Null);
    assert_eq!(scene.sent(), [""; 0]);
}

#[test]
fn a_legacy_server_that_asks_is_answered_and_what_it_says_of_its_listing_is_heard() {
    let scene = modern_legacy();
    let ask = |id: u32, method: &str| said(&json!({"jsonrpc":"2.0","id":id,"method":method}));
    let changed = json!({"jsonrpc":"2.0","method":"notifications/tools/list_changed"});
    let pieces = vec![
        ask(1, "ping"),
        ask(2, "roots/list"),
        said(&changed),
        Piece::Wait(1_000),
        said(&updated("jira://a")),
        Piece::Hang,
    ];
    scene.jira.will_answer(stream(pieces));
    let mut got = listen(&scene, &["jira://a"]);
    got.next();
    got.next();
    scene.world.settle();
    let answers: Vec<Value> = scene
        .world
        .upstreams
        .of("response")
        .iter()
        .map(Sent::json)
        .collect();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0], json!({"jsonrpc":"2.0","id":1,"result":{}}));
    assert_eq!(answers[1]["error"]["code"], -32601);
    let kept = scene.world.catalogs.kept.borrow();
    assert!(
        kept.values()
            .any(|s| s.key.server == "jira" && s.fetched_at_ms == 0)
    );
}

#[test]
fn a_legacy_feed_that_breaks_off_is_another_session() {
    let scene = modern_legacy();
    scene.jira.will_answer(stream(vec![Piece::Wait(2_000)]));
    let mut got = listen(&scene, &["jira://a"]);
    got.next();
    scene.jira.will_answer(stream(vec![Piece::Hang]));
    let told = got
        .next_beside(scene.world.timers.now_ms() + 10_000)
        .flatten();
    assert_eq!(told.unwrap()["params"]["uri"], "jira://a", "perhaps missed");
    scene.world.settle();
    assert_eq!(scene.world.upstreams.of("initialize").len(), 2);
    assert_eq!(scene.world.upstreams.of("DELETE").len(), 1);
}

// A legacy client at a modern server.
