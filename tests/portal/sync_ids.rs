//! Fetching what servers offer: what counts as the answer to a question of the portal.

use serde_json::{Value, json};

use super::mcp_server::Speaks;
use super::sync::{alone, list, names, serve, tool};
use super::upstreams::{Canned, Piece};

/// An answer to another question is none to this one, however good it looks.
#[test]
fn a_listing_under_another_id_is_refused() {
    let ids = [
        json!("portcullis-discover"),
        json!("portcullis"),
        json!(1),
        json!(null),
    ];
    for speaks in [Speaks::Modern, Speaks::Legacy] {
        for id in ids.clone() {
            for framed in [false, true] {
                let scene = alone(speaks, "auto");
                let (what, id) = (format!("{speaks:?} {id} {framed}"), id.clone());
                serve(&scene, move |sent| {
                    let answer = json!({"jsonrpc":"2.0","id":id,"result":{"tools":[tool("evil")]}});
                    (sent.method() == "tools/list").then(|| framing(framed, &[answer]))
                });
                let got = list(&scene, "alice");
                assert_eq!(got.code(), -32000, "{what}");
                assert!(!got.json().to_string().contains("evil"), "{what}");
                let row = "outcome upstream_failed unavailable: jira";
                assert_eq!(scene.rows(), [row], "{what}");
                let kept = scene.world.catalogs.kept.borrow();
                assert!(kept.is_empty(), "{what}: nothing is kept");
            }
        }
    }
}

/// On a stream, what answers something else is passed over, and the answer counts.
#[test]
fn a_listing_is_found_behind_an_answer_to_something_else() {
    for speaks in [Speaks::Modern, Speaks::Legacy] {
        let scene = alone(speaks, "auto");
        serve(&scene, |sent| {
            let listed = |id: &Value, name: &str| json!({"jsonrpc":"2.0","id":id,"result":{"tools":[tool(name)]}});
            let answers = [
                listed(&json!("other"), "evil"),
                listed(&sent.json()["id"], "good"),
            ];
            (sent.method() == "tools/list").then(|| framing(true, &answers))
        });
        assert_eq!(names(&scene, "alice"), ["jira_good"], "{speaks:?}");
    }
}

/// Nor does a handshake under another id open anything.
#[test]
fn a_handshake_under_another_id_is_refused() {
    for (speaks, method) in [
        (Speaks::Modern, "server/discover"),
        (Speaks::Legacy, "initialize"),
    ] {
        for framed in [false, true] {
            let scene = alone(speaks, "auto");
            let mut others = scene.jira.answering();
            scene.world.upstreams.serve("jira", move |sent| {
                let canned = others(sent);
                if sent.method() != method {
                    return canned;
                }
                let Some(Piece::Bytes(bytes)) = canned.pieces.first() else {
                    panic!("{canned:?}")
                };
                let mut answer: Value = serde_json::from_slice(bytes).unwrap();
                if answer.get("result").is_none() {
                    return canned;
                }
                answer["id"] = "other".into();
                Canned {
                    session_id: canned.session_id.clone(),
                    ..framing(framed, &[answer])
                }
            });
            let what = format!("{method} {framed}");
            assert_eq!(list(&scene, "alice").code(), -32000, "{what}");
            assert!(scene.world.catalogs.kept.borrow().is_empty(), "{what}");
            assert_eq!(scene.world.upstreams.of("tools/list").len(), 0, "{what}");
        }
    }
}

fn framing(framed: bool, answers: &[Value]) -> Canned {
    if framed {
        Canned::messages(answers)
    } else {
        Canned::json(answers[0].clone())
    }
}
