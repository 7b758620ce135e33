//! What comes the other way: servers' requests, the client's answers to them, and notifications.

use portcullis::limits::CLIENT_EVENT_BYTES_MAX;
use portcullis::mcp::Era;
use portcullis::portal::ports::Parked;
use portcullis::portal::session::from_server;
use serde_json::{Value, json};

use super::ledger::Break;
use super::mcp_server::Speaks;
use super::scene::{Scene, document};
use super::streams::{done, progress, sent_done, sent_progress};
use super::upstreams::Canned;

/// A client with a session in which `jira` is open.
fn scene() -> Scene {
    let scene = Scene::new(Speaks::Legacy, Speaks::Legacy).synced();
    scene.world.with_session();
    scene.call(Era::Legacy, "jira_get");
    scene.world.clear();
    scene
}

fn question(id: Value, method: &str) -> Value {
    json!({"jsonrpc":"2.0","id":id,"method":method,"params":{"x":1,"_meta":{"progressToken":"t"}}})
}

#[test]
fn a_server_asks_the_client_in_the_middle_of_a_call() {
    for method in ["elicitation/create", "sampling/createMessage", "roots/list"] {
        let scene = scene();
        let theirs = json!("\"jira:1\u{e9}");
        scene.jira.will_answer(Canned::messages(&[
            question(theirs.clone(), method),
            sent_done(),
        ]));
        let mut got = scene.call(Era::Legacy, "jira_set");
        let asked = got.next().unwrap();
        let parked = scene.world.session().parked;
        assert_eq!(parked.len(), 1, "written before it is delivered");
        assert_eq!(
            asked["id"].to_string(),
            parked[0].0,
            "under an id of the portal"
        );
        assert_eq!(
            (&asked["method"], &asked["params"]["x"]),
            (&json!(method), &json!(1))
        );
        assert_eq!(asked["params"]["_meta"]["progressToken"], "jira:\"t\"");
        // Progress on the server's request finds its way back, then the answer does.
        let token = &asked["params"]["_meta"]["progressToken"];
        let notice = json!({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":token,"progress":1}});
        assert_eq!(scene.send("alice", Era::Legacy, &notice).status, 202);
        let answer = json!({"jsonrpc":"2.0","id":asked["id"],"result":{"roots":[]}});
        assert_eq!(scene.send("alice", Era::Legacy, &answer).status, 202);
        assert_eq!(
            scene.sent(),
            [
                "jira tools/call",
                "jira notifications/progress",
                "jira response"
            ]
        );
        let sent = scene.world.upstreams.sent.borrow();
        assert_eq!(sent[1].json()["params"]["progressToken"], "t");
        assert_eq!(
            sent[2].json(),
            json!({"jsonrpc":"2.0","id":theirs,"result":{"roots":[]}})
        );
        assert!(!sent[2].is_write, "answering is no write of its own");
        assert_eq!(got.next(), Some(done()));
        assert_eq!(scene.rows(), ["intent pending -", "outcome ok -"]);
    }
}

/// A legacy client without a session cannot be asked; its server knows what to do without an answer.
#[test]
fn where_nobody_can_be_asked_the_server_is_told_so() {
    let scene = Scene::new(Speaks::Legacy, Speaks::Legacy).synced();
    scene.call(Era::Legacy, "jira_get");
    scene.world.clear();
    scene.jira.will_answer(Canned::messages(&[
        question(json!(5), "elicitation/create"),
        sent_done(),
    ]));
    let got = scene.call(Era::Legacy, "jira_get").messages();
    assert_eq!(got, [done()], "the client sees nothing of it");
    scene.world.settle();
    assert_eq!(scene.sent(), ["jira tools/call", "jira response"]);
    let sent = scene.world.upstreams.of("response");
    assert_eq!(
        (&sent[0].json()["id"], &sent[0].json()["error"]["code"]),
        (&json!(5), &json!(-32601))
    );
    let call = scene.world.upstreams.of("tools/call");
    assert!(sent[0].header("Mcp-Session-Id").is_some());
    assert_eq!(
        sent[0].header("Mcp-Session-Id"),
        call[0].header("Mcp-Session-Id")
    );
    assert_eq!(scene.rows(), ["outcome ok -"]);
}

/// A modern client that declares nothing is not asked across eras either: the server is told at once, and the call goes
/// on to the server's own end.
#[test]
fn a_modern_client_that_declares_nothing_is_not_asked() {
    for method in ["elicitation/create", "sampling/createMessage", "roots/list"] {
        for tool in ["jira_get", "jira_set"] {
            let scene = Scene::new(Speaks::Legacy, Speaks::Legacy).synced();
            scene.call(Era::Modern, "jira_get");
            scene.world.clear();
            scene.jira.will_answer(Canned::messages(&[
                sent_progress(1),
                question(json!(5), method),
                sent_progress(2),
                sent_done(),
            ]));
            let begun = scene.world.timers.now_ms();
            let got = scene.call(Era::Modern, tool).messages();
            assert_eq!(scene.world.timers.now_ms(), begun, "at once");
            assert_eq!(got, [progress(1), progress(2), done()], "{method}");
            scene.world.settle();
            assert_eq!(scene.sent(), ["jira tools/call", "jira response"]);
            let sent = scene.world.upstreams.sent.borrow();
            assert_eq!(
                (&sent[1].json()["id"], &sent[1].json()["error"]["code"]),
                (&json!(5), &json!(-32601))
            );
            assert_eq!(
                sent[1].header("Mcp-Session-Id"),
                sent[0].header("Mcp-Session-Id")
            );
            assert_eq!(sent[1].rule, sent[0].rule, "under the permit of the call");
            let rows = scene.rows();
            let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
            if tool == "jira_set" {
                assert_eq!(rows, ["intent pending -", "outcome ok -"]);
            } else {
                assert_eq!(rows, ["outcome ok -"]);
            }
        }
    }
}

/// A server that ends its stream where it asked gave no answer; what was written is withheld where that is not recorded.
#[test]
fn a_call_that_only_asks_is_recorded_or_said_to_be_unrecorded() {
    for fault in [None, Some(Break::Before), Some(Break::AfterPersist)] {
        let scene = Scene::new(Speaks::Legacy, Speaks::Legacy).synced();
        let question = question(json!(5), "roots/list");
        scene.jira.will_answer(Canned::messages(&[question]));
        scene.world.ledger.break_next(&[None, fault]);
        let got = scene.call(Era::Modern, "jira_set").messages();
        assert_eq!(got.len(), 1);
        let code = if fault.is_some() { -32603 } else { -32000 };
        assert_eq!(got[0]["error"]["code"], code, "{fault:?}");
        let row = "outcome upstream_failed upstream_cut";
        assert_eq!(scene.rows(), ["intent pending -", row]);
        let queued = scene.world.ledger.queued.borrow().len();
        assert_eq!(queued, usize::from(fault.is_some()), "kept for later");
    }
}

/// (what a client is to see, whether a legacy and a modern client receive it in a call)
fn notifications() -> Vec<(Value, bool, bool)> {
    let notice =
        |method: &str, params: Value| json!({"jsonrpc":"2.0","method":method,"params":params});
    vec![
        (progress(1), true, true),
        (
            notice("notifications/message", json!({"level":"info","data":"x"})),
            true,
            false,
        ),
        (
            notice("notifications/tools/list_changed", json!({})),
            true,
            false,
        ),
        (
            notice("notifications/prompts/list_changed", json!({})),
            true,
            false,
        ),
        (
            notice("notifications/resources/list_changed", json!({})),
            true,
            false,
        ),
        (
            notice("notifications/resources/updated", json!({"uri":"jira://a"})),
            true,
            true,
        ),
        // It takes back a request the client never saw.
        (
            notice("notifications/cancelled", json!({"requestId":5})),
            false,
            false,
        ),
    ]
}

#[test]
fn notifications_in_a_call_go_where_they_are_understood() {
    for (era, modern) in [(Era::Legacy, false), (Era::Modern, true)] {
        for (notice, to_legacy, to_modern) in notifications() {
            let scene = Scene::new(Speaks::Legacy, Speaks::Legacy).synced();
            let mut sent = notice.clone();
            if let Some(token) = sent.pointer_mut("/params/progressToken") {
                *token = "$TOKEN".into();
            }
            scene
                .jira
                .will_answer(Canned::messages(&[sent, sent_done()]));
            let got = scene.call(era, "jira_get").messages();
            let expected = if modern { to_modern } else { to_legacy };
            let seen = got.contains(&notice);
            assert_eq!(seen, expected, "{era:?} {notice}");
            assert_eq!(got.last(), Some(&done()), "{era:?} {notice}");
            assert_eq!(
                scene.rows(),
                ["outcome ok -"],
                "no row of its own: {notice}"
            );
            let method = notice["method"].as_str().unwrap();
            let kept = scene.world.catalogs.kept.borrow();
            let outdated = kept.values().any(|snapshot| snapshot.fetched_at_ms == 0);
            assert_eq!(outdated, method.ends_with("/list_changed"), "{method}");
            assert!(
                kept.values()
                    .all(|s| s.key.server == "jira" || s.fetched_at_ms > 0),
                "jira's alone"
            );
        }
    }
}

#[test]
fn messages_of_a_sessions_stream_reach_the_client() {
    for (notice, to_legacy, _) in notifications() {
        let scene = scene();
        let message = notice.to_string();
        let passed = scene
            .world
            .timers
            .run(from_server(&scene.world, "jira", message.as_bytes()));
        let passed: Option<Value> = passed.map(|bytes| serde_json::from_slice(&bytes).unwrap());
        assert_eq!(passed, to_legacy.then_some(notice));
        assert_eq!(scene.rows(), [""; 0]);
        assert_eq!(scene.sent(), [""; 0]);
    }
    // A request is parked under an id of the portal; its cancellation names that id.
    let scene = scene();
    let message = question(json!(5), "roots/list").to_string();
    let asked = scene
        .world
        .timers
        .run(from_server(&scene.world, "jira", message.as_bytes()))
        .unwrap();
    let asked: Value = serde_json::from_slice(&asked).unwrap();
    assert_ne!(asked["id"], 5);
    let cancel =
        json!({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}})
            .to_string();
    let passed = scene
        .world
        .timers
        .run(from_server(&scene.world, "jira", cancel.as_bytes()))
        .unwrap();
    let passed: Value = serde_json::from_slice(&passed).unwrap();
    assert_eq!(passed["params"]["requestId"], asked["id"]);
    // Another server cannot take it back, and answers and nonsense are nobody's.
    for (server, text) in [
        ("wiki", &*cancel),
        ("jira", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#),
        ("jira", "x"),
    ] {
        assert_eq!(
            scene
                .world
                .timers
                .run(from_server(&scene.world, server, text.as_bytes())),
            None
        );
    }
}

#[test]
fn no_message_over_the_clients_bound_reaches_a_sessions_stream() {
    let scene = scene();
    let large = "x".repeat(CLIENT_EVENT_BYTES_MAX);
    let notice = json!({"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":large}});
    let message = notice.to_string();
    let passed = scene
        .world
        .timers
        .run(from_server(&scene.world, "jira", message.as_bytes()));
    assert_eq!(passed.map(|bytes| bytes.len()), None);
}

/// A progress token names the server and is the server's own after that. What a client writes there must stay a token:
/// most servers let the last of two equal keys win, so a token that is more than one value would be another message.
#[test]
fn a_progress_token_smuggles_nothing_to_a_server() {
    let call = r#"1},"id":9,"method":"tools/call","params":{"name":"secret_get","arguments":{}"#;
    for token in [
        format!("jira:{call}"),
        r#"jira:1,"progress":2"#.to_owned(),
        r#"jira:1}} {"jsonrpc":"2.0""#.to_owned(),
        "jira:{}".to_owned(),
        "jira:".to_owned(),
        "jira:nonsense".to_owned(),
        "jira:1 ".to_owned(),
    ] {
        let scene = scene();
        let notice = json!({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":token,"progress":1}});
        scene.send("alice", Era::Legacy, &notice);
        for sent in scene.world.upstreams.sent.borrow().iter() {
            let text = String::from_utf8_lossy(&sent.body).into_owned();
            assert_eq!(sent.method(), "notifications/progress", "{text}");
            let parsed = portcullis::mcp::Message::parse(&sent.body);
            assert!(
                matches!(parsed, Ok(portcullis::mcp::Message::Notification(_))),
                "{text}"
            );
            let token = &sent.json()["params"]["progressToken"];
            assert!(token.is_string() || token.is_number(), "{text}");
        }
    }
}

/// A server that the administrator switched off receives nothing more, also where a session with it is still open.
#[test]
fn a_server_that_is_switched_off_receives_nothing() {
    let mut scene = scene();
    let waits = Parked::Server {
        id: "5".to_owned(),
        call: None,
    };
    let parked = ("\"jira:1\"".to_owned(), "jira".to_owned(), waits);
    {
        let mut session = scene.world.session.borrow_mut();
        let session = session.as_mut().unwrap();
        session.parked.push(parked);
        session.in_flight.insert("7".into(), "jira".into());
    }
    let mut document = document();
    document["servers"]["jira"]["enabled"] = false.into();
    scene.apply(&document);
    for body in [
        json!({"jsonrpc":"2.0","id":"jira:1","result":{"action":"accept","content":{"secret":1}}}),
        json!({"jsonrpc":"2.0","method":"notifications/roots/list_changed"}),
        json!({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}),
        json!({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"jira:1","progress":1}}),
    ] {
        scene.send("alice", Era::Legacy, &body);
        assert_eq!(scene.sent(), [""; 0], "{body}");
    }
    scene.ask(
        "alice",
        Era::Legacy,
        "logging/setLevel",
        json!({"level":"debug"}),
    );
    assert_eq!(scene.sent(), [""; 0]);
}

/// Nor does one that is no longer in the portal.
#[test]
fn a_server_that_left_the_portal_receives_nothing() {
    let mut scene = scene();
    let mut document = document();
    document["portals"]["main"]["servers"] = json!(["wiki"]);
    scene.apply(&document);
    let notice = json!({"jsonrpc":"2.0","method":"notifications/roots/list_changed"});
    scene.send("alice", Era::Legacy, &notice);
    assert_eq!(scene.sent(), [""; 0]);
}
