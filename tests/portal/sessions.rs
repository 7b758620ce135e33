//! Legacy sessions with servers: opened when needed, renewed once, and never a second call.

use portcullis::error::UpstreamFault;
use portcullis::mcp::Era;
use portcullis::portal::ports::BodyKind;
use portcullis::portal::session;
use serde_json::json;

use super::mcp_server::{Speaks, rpc_error};
use super::scene::Scene;
use super::upstreams::Canned;
use super::world::CLIENT_CAPABILITIES;

fn scene() -> Scene {
    Scene::new(Speaks::Legacy, Speaks::Legacy).synced()
}

/// A scene with a session open, in which the call is the next thing sent.
fn warm() -> Scene {
    let scene = scene();
    scene.call(Era::Legacy, "jira_get");
    scene.world.clear();
    scene
}

const OPENING: [&str; 2] = ["jira initialize", "jira notifications/initialized"];

#[test]
fn a_session_is_opened_once_and_kept() {
    let scene = scene();
    scene.call(Era::Legacy, "jira_get");
    assert_eq!(scene.sent(), [OPENING[0], OPENING[1], "jira tools/call"]);
    let sent = scene.world.upstreams.sent.borrow().clone();
    assert_eq!(
        (
            sent[0].header("Mcp-Session-Id"),
            sent[0].header("MCP-Protocol-Version")
        ),
        (None, None)
    );
    for later in &sent[1..] {
        assert_eq!(later.header("Mcp-Session-Id"), Some("s2"));
        assert_eq!(later.header("MCP-Protocol-Version"), Some("2025-11-25"));
    }
    scene.world.clear();
    scene.call(Era::Legacy, "jira_set");
    assert_eq!(scene.sent(), ["jira tools/call"]);
    // Another principal has another session.
    scene.world.clear();
    scene.ask("bob", Era::Legacy, "tools/call", json!({"name":"jira_get"}));
    assert_eq!(scene.sent(), [OPENING[0], OPENING[1], "jira tools/call"]);
}

#[test]
fn the_client_of_a_session_is_declared_as_it_declared_itself() {
    let scene = scene();
    scene.world.with_session();
    scene.world.session.borrow_mut().as_mut().unwrap().log_level = Some("debug".into());
    scene.call(Era::Legacy, "jira_get");
    assert_eq!(
        scene.sent(),
        [
            OPENING[0],
            OPENING[1],
            "jira logging/setLevel",
            "jira tools/call"
        ]
    );
    let sent = scene.world.upstreams.sent.borrow();
    let params = &sent[0].json()["params"];
    assert_eq!(
        params["capabilities"].to_string(),
        serde_json::from_str::<serde_json::Value>(CLIENT_CAPABILITIES)
            .unwrap()
            .to_string()
    );
    assert_eq!(params["clientInfo"]["name"], "agent");
    assert_eq!(sent[2].json()["params"]["level"], "debug");
}

/// What servers say when they do not know a session (any more).
fn lost() -> Vec<Canned> {
    let text = |status, text: &str| Canned::with(status, BodyKind::Other, text);
    let rpc = |status, message: &str| {
        Canned::with(
            status,
            BodyKind::Json,
            rpc_error(&json!(null), -32000, message),
        )
    };
    vec![
        text(404, ""),
        text(404, "not found"),
        rpc(404, "Session not found"),
        rpc(400, "Bad Request: No valid session ID provided"),
        text(400, "Invalid SESSION"),
    ]
}

#[test]
fn a_lost_session_is_renewed_once_and_the_call_sent_again() {
    for (index, canned) in lost().into_iter().enumerate() {
        for era in [Era::Legacy, Era::Modern] {
            let scene = warm();
            scene.jira.will_answer(canned.clone());
            let got = scene.call(era, "jira_set");
            assert_eq!(got.result()["content"][0]["text"], "done", "{index}");
            assert_eq!(
                scene.sent(),
                ["jira tools/call", OPENING[0], OPENING[1], "jira tools/call"],
                "{index}"
            );
            let calls = scene.world.upstreams.of("tools/call");
            assert_eq!(calls[0].body, calls[1].body, "{index}");
            assert_ne!(
                calls[0].header("Mcp-Session-Id"),
                calls[1].header("Mcp-Session-Id")
            );
            assert_eq!(
                scene.rows(),
                ["intent pending -", "outcome ok -"],
                "one call, one pair of rows"
            );
        }
    }
}

#[test]
fn the_second_time_it_fails() {
    for (index, canned) in lost().into_iter().enumerate() {
        let scene = warm();
        scene.jira.will_answer(canned.clone());
        scene.jira.will_answer(canned);
        let got = scene.call(Era::Legacy, "jira_set");
        assert!(got.json().get("error").is_some(), "{index}");
        assert_eq!(got.json()["id"], 1, "{index}");
        assert_eq!(scene.world.upstreams.of("tools/call").len(), 2, "{index}");
        assert_eq!(scene.world.upstreams.of("initialize").len(), 1, "{index}");
        let rows = scene.rows();
        assert_eq!(rows.len(), 2, "{index}");
        assert!(!rows[1].starts_with("outcome ok"), "{index}: {rows:?}");
    }
}

/// Whatever else goes wrong, the call is sent once.
#[test]
fn nothing_else_is_repeated() {
    let text = |status, text: &str| Canned::with(status, BodyKind::Other, text);
    for (what, canned) in [
        ("500", Canned::status(500)),
        ("500 about sessions", text(500, "session lost")),
        ("502", Canned::status(502)),
        ("503", Canned::status(503)),
        ("401", Canned::status(401)),
        ("403", text(403, "session")),
        ("400", text(400, "bad argument")),
        ("410", text(410, "session")),
        ("422", text(422, "session")),
        ("429", Canned::status(429)),
        ("unreachable", Canned::fault(UpstreamFault::Unreachable)),
        ("hang", Canned::hang()),
        ("cut", Canned::events(Vec::new())),
    ] {
        let scene = warm();
        scene.jira.will_answer(canned);
        let got = scene.call(Era::Legacy, "jira_set");
        assert_eq!(got.json()["error"]["code"], -32000, "{what}");
        // A server that did not answer in time is told that nobody waits any more.
        let told = (what == "hang").then_some("jira notifications/cancelled");
        let expected: Vec<&str> = ["jira tools/call"].into_iter().chain(told).collect();
        assert_eq!(scene.sent(), expected, "{what}");
    }
}

/// An error under the request's own id is an answer: the server has read the call, so it is not sent again.
#[test]
fn an_answer_that_mentions_a_session_is_an_answer() {
    for message in [
        "Invalid params: session_name is unknown",
        "The session at the court was cancelled",
    ] {
        let scene = warm();
        let body = rpc_error(&json!("$ID"), -32602, message);
        scene
            .jira
            .will_answer(Canned::with(400, BodyKind::Json, body));
        let got = scene.call(Era::Legacy, "jira_set");
        assert_eq!(scene.sent(), ["jira tools/call"], "{message}");
        assert_eq!((got.status, got.code()), (200, -32602));
        assert_eq!(scene.rows(), ["intent pending -", "outcome rpc_error -"]);
    }
}

/// A server without sessions has none to lose.
#[test]
fn a_stateless_server_is_not_asked_twice() {
    for canned in lost() {
        let scene = scene();
        scene.jira.stateless.set(true);
        scene.call(Era::Legacy, "jira_get");
        scene.world.clear();
        scene.jira.will_answer(canned);
        let got = scene.call(Era::Legacy, "jira_set");
        assert!(got.json().get("error").is_some());
        assert_eq!(scene.sent(), ["jira tools/call"]);
    }
}

/// A modern call has no session either.
#[test]
fn a_modern_call_is_never_repeated() {
    for canned in lost() {
        let scene = Scene::new(Speaks::Modern, Speaks::Modern).synced();
        scene.jira.will_answer(canned);
        let got = scene.call(Era::Modern, "jira_set");
        assert!(got.json().get("error").is_some());
        assert_eq!(scene.sent(), ["jira tools/call"]);
    }
}

#[test]
fn a_session_that_cannot_be_renewed_fails_the_call() {
    let scene = warm();
    scene.jira.will_answer(Canned::status(404));
    scene.jira.speaks.set(Speaks::Modern);
    // The call never reaches the script: a legacy message is refused by a modern server.
    let got = scene.call(Era::Legacy, "jira_set");
    assert!(got.json().get("error").is_some());
    assert_eq!(scene.world.upstreams.of("tools/call").len(), 1);
    assert_eq!(scene.rows().len(), 2);
}

#[test]
fn the_end_of_the_clients_session_ends_its_upstreams() {
    let scene = scene();
    scene.world.with_session();
    scene.call(Era::Legacy, "jira_get");
    scene.call(Era::Legacy, "wiki_get");
    let ids: Vec<_> = scene
        .world
        .session()
        .upstreams
        .values()
        .map(|s| s.id.clone())
        .collect();
    scene.world.clear();
    let caller = scene.caller("alice", Era::Legacy, &json!({}));
    scene.world.timers.run(session::end(&scene.world, &caller));
    assert_eq!(scene.sent(), ["jira DELETE", "wiki DELETE"]);
    for sent in scene.world.upstreams.sent.borrow().iter() {
        assert!(ids.contains(&sent.header("Mcp-Session-Id").map(str::to_owned)));
    }
}

/// After a restart of the server a client with a session goes on without noticing.
#[test]
fn a_restarted_server_is_not_noticed() {
    let scene = scene();
    scene.world.with_session();
    scene.call(Era::Legacy, "jira_get");
    scene.jira.restart();
    scene.world.clear();
    assert_eq!(
        scene.call(Era::Legacy, "jira_get").result()["content"][0]["text"],
        "done"
    );
    assert_eq!(
        scene.sent(),
        ["jira tools/call", OPENING[0], OPENING[1], "jira tools/call"]
    );
    scene.world.clear();
    scene.call(Era::Legacy, "jira_get");
    assert_eq!(scene.sent(), ["jira tools/call"]);
}
