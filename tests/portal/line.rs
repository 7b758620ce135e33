//! Calls to a server that speaks HTTP+SSE: each on a connection of its own.

use std::rc::Rc;

use portcullis::mcp::Era;
use portcullis::portal::ports::{Sessions as _, Verb};
use serde_json::{Value, json};

use super::line_server::{LineServer, known_line, message};
use super::scene::{Scene, TOKEN};
use super::streams::{done, progress, sent_done, sent_progress};
use super::upstreams::{Canned, Piece};

const CALL: [&str; 4] = [
    "jira GET",
    "jira initialize",
    "jira notifications/initialized",
    "jira tools/call",
];

pub fn with_session() -> (Scene, Rc<LineServer>) {
    let (scene, server) = known_line();
    scene.world.with_session();
    (scene, server)
}

pub fn endpoint(number: usize) -> String {
    format!("http://127.0.0.1:9101/messages?c={number}")
}

/// Nothing of a connection is left: not open, not remembered, not noted.
pub fn assert_closed(scene: &Scene) {
    scene.world.settle();
    assert_eq!(scene.world.upstreams.open(), 0, "a connection is left open");
    assert!(scene.world.isolate_sessions.borrow().is_empty());
    if let Some(session) = &*scene.world.session.borrow() {
        assert!(session.upstreams.is_empty() && session.connections.is_empty());
        assert!(
            session.parked.is_empty() && session.in_flight.is_empty(),
            "{session:?}"
        );
    }
}

pub fn plainly_done() -> Value {
    json!({"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}})
}

pub fn question(id: Value) -> Value {
    json!({"jsonrpc":"2.0","id":id,"method":"elicitation/create","params":{"message":"sure?","requestedSchema":{}}})
}

#[test]
fn each_call_has_a_connection_of_its_own() {
    for era in [Era::Modern, Era::Legacy] {
        for tool in ["jira_get", "jira_set"] {
            let (scene, _) = known_line();
            for number in 1..3 {
                let got = scene.call(era, tool);
                assert_eq!(got.result()["content"][0]["text"], "done");
                assert_eq!(scene.sent(), CALL);
                for sent in scene.world.upstreams.sent.borrow().iter() {
                    let expected = (sent.verb == Verb::Post).then(|| endpoint(number));
                    assert_eq!(sent.to, expected);
                    assert_eq!(sent.header("Mcp-Session-Id"), None);
                    // As with any server of its revision, once that is known.
                    let is_early = matches!(&*sent.method(), "GET" | "initialize");
                    let revision = (!is_early).then_some("2025-11-25");
                    assert_eq!(sent.header("MCP-Protocol-Version"), revision);
                    assert_eq!(sent.is_write, tool == "jira_set");
                }
                drop(got);
                assert_closed(&scene);
                let expected: &[&str] = if tool == "jira_set" {
                    &["intent pending -", "outcome ok -"]
                } else {
                    &["outcome ok -"]
                };
                assert_eq!(scene.rows(), expected);
                scene.world.clear();
            }
        }
    }
}

#[test]
fn a_server_is_told_of_the_client_that_calls() {
    let (scene, _) = with_session();
    scene.call(Era::Legacy, "jira_get");
    let told = scene.world.upstreams.of("initialize")[0].json();
    assert_eq!(
        told["params"]["capabilities"],
        serde_json::from_str::<Value>(super::world::CLIENT_CAPABILITIES).unwrap()
    );
    let (scene, _) = known_line();
    scene.call(Era::Modern, "jira_get");
    let told = scene.world.upstreams.of("initialize")[0].json();
    assert_eq!(told["params"]["capabilities"], json!({}));
}

#[test]
fn progress_comes_before_the_answer() {
    for era in [Era::Modern, Era::Legacy] {
        let (scene, server) = known_line();
        server.mcp.will_answer(Canned::events(vec![
            message(&json!({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"$TOKEN","progress":1}})),
            Piece::Bytes(b": ping\n\nevent: ping\ndata: 2026-11-20\n\n".to_vec()),
            message(&json!({"jsonrpc":"2.0","id":"$ID","result":{"content":[{"type":"text","text":"done"}]}})),
        ]));
        let got = scene.call(era, "jira_get").messages();
        assert_eq!(got.len(), 2, "{got:?}");
        assert_eq!(got[0], progress(1));
        assert_eq!(got[0]["params"]["progressToken"], TOKEN);
        assert_eq!(got[1]["result"]["content"][0]["text"], "done");
        assert_eq!(got[1]["id"], 1);
        assert_closed(&scene);
    }
}

/// Some servers reply to what was posted when they have done what it asks.
#[test]
fn a_reply_that_is_held_back_holds_nothing_up() {
    let (scene, server) = with_session();
    server.held_back_ms.set(1_000_000);
    server
        .mcp
        .will_answer(Canned::messages(&[sent_progress(1), question(json!(0))]));
    // The notification of the handshake is the one reply that is waited for.
    *server.refuses.borrow_mut() = Some(("notifications/initialized", Canned::status(200)));
    let mut got = scene.call(Era::Legacy, "jira_set");
    assert_eq!(got.next(), Some(progress(1)));
    let asked = got.next().unwrap();
    let answer = json!({"jsonrpc":"2.0","id":asked["id"],"result":{"action":"decline"}});
    server.held_back_ms.set(0);
    assert_eq!(scene.send("alice", Era::Legacy, &answer).status, 202);
    let said = scene.world.upstreams.of("tools/call")[0].json();
    server.feed().push(message(&json!({"jsonrpc":"2.0","id":said["id"],"result":{"content":[{"type":"text","text":"done"}]}})));
    assert_eq!(got.next(), Some(plainly_done()));
    drop(got);
    assert_closed(&scene);
}

/// Two connections have servers that count alike; each answer goes where it was asked for.
#[test]
fn questions_of_two_calls_are_not_mixed_up() {
    let (scene, server) = with_session();
    let mut open = Vec::new();
    for number in 1..3_usize {
        server
            .mcp
            .will_answer(Canned::messages(&[question(json!(0))]));
        let body = json!({"jsonrpc":"2.0","id":number,"method":"tools/call","params":{"name":"jira_set","arguments":{}}});
        let mut got = scene.send("alice", Era::Legacy, &body);
        let asked = got.next().unwrap();
        let id = asked["id"].as_str().unwrap().to_owned();
        assert!(id.starts_with("jira#") && !id.contains("messages"), "{id}");
        open.push((number, id, got));
    }
    assert_ne!(open[0].1, open[1].1);
    scene.world.clear();
    for (number, id, _) in open.iter().rev() {
        let answer =
            json!({"jsonrpc":"2.0","id":id,"result":{"action":"accept","content":{"n":number}}});
        assert_eq!(scene.send("alice", Era::Legacy, &answer).status, 202);
        let sent = scene.world.upstreams.of("response").pop().unwrap();
        assert_eq!(sent.to, Some(endpoint(*number)));
        assert_eq!(sent.json()["id"], 0);
        assert_eq!(sent.json()["result"]["content"]["n"], json!(number));
        // Answered once.
        assert_ne!(scene.send("alice", Era::Legacy, &answer).status, 202);
    }
    for (number, _, mut got) in open {
        let feed = server.feeds.borrow()[number].clone();
        feed.push(message(&json!({"jsonrpc":"2.0","id":number,"result":{"content":[{"type":"text","text":format!("done {number}")}]}})));
        let answer = got.next().unwrap();
        assert_eq!(
            answer["result"]["content"][0]["text"],
            format!("done {number}")
        );
        assert_eq!(got.next(), None);
    }
    assert_closed(&scene);
}

/// The person takes their time; what they are asked for then is not there any more once the call has ended.
#[test]
fn a_server_waits_for_the_person_and_not_beyond_the_call() {
    let (scene, server) = with_session();
    server
        .mcp
        .will_answer(Canned::messages(&[question(json!("q"))]));
    let mut got = scene.call(Era::Legacy, "jira_get");
    let asked = got.next().unwrap();
    let later_ms = scene.world.timers.now_ms() + 200_000;
    assert_eq!(got.next_until(later_ms), None, "silence is no fault now");
    server.feed().push(message(
        &json!({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q"}}),
    ));
    let cancelled = got.next().unwrap();
    assert_eq!(cancelled["params"]["requestId"], asked["id"]);
    server.feed().close();
    let ended = got.next().unwrap();
    assert_eq!(ended["error"]["code"], -32000);
    drop(got);
    assert_closed(&scene);
    let answer = json!({"jsonrpc":"2.0","id":asked["id"],"result":{}});
    scene.world.clear();
    assert_eq!(scene.send("alice", Era::Legacy, &answer).status, 400);
    assert!(scene.sent().is_empty());
}

#[test]
fn where_nobody_can_be_asked_the_server_is_told_so_at_its_endpoint() {
    let (scene, server) = known_line();
    server
        .mcp
        .will_answer(Canned::messages(&[question(json!(5)), sent_done()]));
    let got = scene.call(Era::Legacy, "jira_get").messages();
    assert_eq!(got.len(), 1, "the client sees nothing of it");
    assert_eq!(got[0]["result"]["content"], done()["result"]["content"]);
    scene.world.settle();
    let sent = scene.world.upstreams.of("response");
    assert_eq!((sent.len(), sent[0].to.clone()), (1, Some(endpoint(1))));
    assert_eq!(sent[0].json()["error"]["code"], -32601);
}

#[test]
fn a_client_cancels_at_the_endpoint() {
    let (scene, server) = with_session();
    server
        .mcp
        .will_answer(Canned::messages(&[sent_progress(1)]));
    let mut got = scene.call(Era::Legacy, "jira_get");
    assert_eq!(got.next(), Some(progress(1)));
    let notice =
        json!({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}});
    assert_eq!(scene.send("alice", Era::Legacy, &notice).status, 202);
    let sent = scene.world.upstreams.of("notifications/cancelled");
    assert_eq!((sent.len(), sent[0].to.clone()), (1, Some(endpoint(1))));
    assert_eq!(sent[0].json()["params"]["requestId"], 1);
}

/// A client that goes away takes the connection with it, after the server heard of it.
#[test]
fn a_client_that_leaves_ends_the_call_and_the_connection() {
    for era in [Era::Modern, Era::Legacy] {
        let (scene, server) = known_line();
        server
            .mcp
            .will_answer(Canned::messages(&[sent_progress(1)]));
        let mut got = scene.call(era, "jira_get");
        assert_eq!(got.next(), Some(progress(1)));
        assert_eq!(scene.world.upstreams.open(), 1);
        drop(got);
        assert_eq!(
            scene.world.upstreams.open(),
            1,
            "until the server has heard"
        );
        assert_closed(&scene);
        let sent = scene.world.upstreams.of("notifications/cancelled");
        assert_eq!((sent.len(), sent[0].to.clone()), (1, Some(endpoint(1))));
        let call = scene.world.upstreams.of("tools/call")[0].json();
        assert_eq!(sent[0].json()["params"]["requestId"], call["id"]);
        assert_eq!(scene.rows(), ["outcome cancelled -"]);
    }
}

/// Whoever leaves while the connection is being opened leaves nothing open.
#[test]
fn a_client_that_leaves_early_leaves_nothing_open() {
    for method in ["initialize", "notifications/initialized"] {
        let (scene, server) = known_line();
        *server.refuses.borrow_mut() = Some((method, Canned::status(202).after(2_000)));
        let body = super::scene::request(Era::Legacy, "tools/call", json!({"name":"jira_get"}));
        let caller = scene.caller("alice", Era::Legacy, &body);
        let text = body.to_string();
        let message = portcullis::mcp::Message::parse(text.as_bytes()).unwrap();
        let until_ms = scene.world.timers.now_ms() + 1_000;
        let calling = portcullis::portal::handle(&scene.world, &caller, &message);
        assert!(scene.world.timers.run_until(calling, until_ms).is_none());
        assert_closed(&scene);
        assert!(scene.world.upstreams.of("tools/call").is_empty());
    }
}

/// How a call ends that cannot be answered, by name, and with the connection closed.
/// A log level is set before the call, and what the server asks meanwhile is asked in the call.
#[test]
fn a_log_level_is_set_on_each_connection() {
    let (scene, server) = with_session();
    scene.world.timers.run(scene.world.set_log_level("debug"));
    *server.before.borrow_mut() = Some(("logging/setLevel", question(json!(0))));
    let mut got = scene.call(Era::Legacy, "jira_get");
    let asked = got.next().expect("the early question");
    assert_eq!(asked["method"], "elicitation/create");
    let taken_back = got.next().expect("nobody waits for the answer");
    assert_eq!(taken_back["params"]["requestId"], asked["id"]);
    assert_eq!(got.next(), Some(plainly_done()));
    let level = scene.world.upstreams.of("logging/setLevel");
    assert_eq!(level[0].json()["params"]["level"], "debug");
    assert_eq!(level[0].to, Some(endpoint(1)));
    drop(got);
    assert_closed(&scene);
}

/// A subscription would end with the connection that made it: it is refused by name, and not advertised.
#[test]
fn a_subscription_is_refused_by_name() {
    let (scene, _) = with_session();
    for method in ["resources/subscribe", "resources/unsubscribe"] {
        let got = scene.ask("alice", Era::Legacy, method, json!({"uri":"jira://a"}));
        let message = got.json()["error"]["message"].as_str().unwrap();
        assert!(message.contains("no subscriptions"), "{message}");
    }
    assert!(scene.sent().is_empty());
    assert_eq!(
        scene.rows(),
        ["outcome upstream_failed upstream_no_subscriptions"; 2]
    );
    let got = scene.ask("alice", Era::Modern, "server/discover", json!({}));
    assert_eq!(
        got.result()["capabilities"]["resources"]["subscribe"],
        false
    );
}

#[test]
fn prompts_and_resources_are_read_the_same_way() {
    let (scene, _) = known_line();
    for (method, params) in [
        ("prompts/get", json!({"name":"jira_greet"})),
        ("resources/read", json!({"uri":"jira://a"})),
    ] {
        let got = scene.ask("alice", Era::Legacy, method, params);
        assert!(got.json().get("result").is_some(), "{}", got.json());
        let lines = scene.sent();
        assert_eq!(lines.last().unwrap(), &format!("jira {method}"));
        drop(got);
        assert_closed(&scene);
        scene.world.clear();
    }
}
