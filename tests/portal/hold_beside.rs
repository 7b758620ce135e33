//! What comes beside a held call's own stream: the session's stream, answers without one, sessions that were lost, links
//! to follow first, and bounds.

use portcullis::limits::{CLIENT_EVENT_BYTES_MAX, HELD_CALLS_MAX, HELD_MESSAGES_MAX};
use portcullis::mcp::Era;
use portcullis::portal::hold::from_server;
use portcullis::portal::ports::BodyKind;
use serde_json::{Value, json};

use super::bridge::{
    Bridge, accept, asked, asked_in, assert_done, call, done, form, logged, question,
};
use super::scene::TOKEN;
use super::upstreams::{Canned, Piece, event};

fn from_session(bridge: &Bridge, message: &Value) {
    let world = &bridge.scene.world;
    world.run(from_server(world, "jira", message.to_string().as_bytes()));
}

/// Some servers ask on the session's stream instead of the call's.
#[test]
fn a_question_on_the_sessions_stream_is_a_held_calls() {
    let bridge = Bridge::new();
    bridge.ends_when_answered();
    let mut got = bridge.call("jira_get");
    assert!(got.is_stream(), "the server is at work");
    from_session(&bridge, &form(5));
    let first = asked_in(&got.next().unwrap());
    assert_eq!(got.next(), None);
    drop(got);
    assert_done(&bridge.retry("jira_get", &first.state, &first.all(&accept(1))));
    assert_eq!(bridge.delivered(), [(json!(5), accept(1))]);
}

/// Also one that comes while the client is away: it is the next round's.
#[test]
fn a_question_that_comes_meanwhile_is_the_next_rounds() {
    let bridge = Bridge::new();
    let first = bridge.asked("jira_get");
    from_session(&bridge, &form(6));
    bridge.scene.world.play(10);
    let second = asked(&bridge.retry("jira_get", &first.state, &first.all(&accept(1))));
    assert_eq!(second.requests.len(), 1);
    assert_eq!(second.requests[0].1["params"]["message"], "number 6?");
    bridge.ends_when_answered();
    assert_done(&bridge.retry("jira_get", &second.state, &second.all(&accept(2))));
    assert_eq!(
        bridge.delivered(),
        [(json!(5), accept(1)), (json!(6), accept(2))]
    );
}

/// Progress belongs to the call it names; what names none is the oldest call's, and answers are nobody's.
#[test]
fn messages_of_the_sessions_stream_find_their_call() {
    let bridge = Bridge::new();
    let mut first = bridge.call("jira_get");
    let mut second = bridge.call("jira_set");
    let calls = bridge.scene.world.upstreams.of("tools/call");
    let token = calls[1].json()["id"].clone();
    let named = |token: &Value| json!({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":token,"progress":1}});
    from_session(&bridge, &named(&token));
    assert_eq!(second.next(), Some(named(&json!(TOKEN))));
    from_session(&bridge, &named(&json!("another's")));
    from_session(&bridge, &json!({"jsonrpc":"2.0","id":token,"result":{}}));
    let changed = json!({"jsonrpc":"2.0","method":"notifications/tools/list_changed"});
    from_session(&bridge, &changed);
    from_session(&bridge, &form(7));
    let asked = asked_in(&first.next().unwrap());
    assert_eq!(asked.requests[0].1["params"]["message"], "number 7?");
    let soon = bridge.scene.world.timers.now_ms() + 100;
    assert!(
        second.next_until(soon).is_none(),
        "nothing of that is its own"
    );
    let kept = bridge.scene.world.catalogs.kept.borrow();
    assert!(kept.values().any(|snapshot| snapshot.fetched_at_ms == 0));
}

/// Without a call that waits, a question on the session's stream is nobody's.
#[test]
fn a_question_without_a_call_is_left() {
    let bridge = Bridge::new();
    from_session(&bridge, &form(5));
    bridge.scene.world.play(10);
    assert_eq!(bridge.scene.sent(), [""; 0]);
    assert_eq!(bridge.scene.rows(), [""; 0]);
}

#[test]
fn an_answer_as_json_passes() {
    let bridge = Bridge::new();
    let got = bridge.scene.send("alice", Era::Modern, &call("jira_set"));
    assert_done(&got);
    assert_eq!(bridge.scene.rows(), ["intent pending -", "outcome ok -"]);
    assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
    for (status, body) in [
        (
            200,
            json!({"jsonrpc":"2.0","id":"$ID","error":{"code":-32603,"message":"m"}}),
        ),
        (
            400,
            json!({"jsonrpc":"2.0","id":"$ID","error":{"code":-32603,"message":"m"}}),
        ),
    ] {
        let bridge = Bridge::new();
        let canned = Canned::with(status, BodyKind::Json, body.to_string());
        bridge.scene.jira.will_answer(canned);
        let got = bridge.scene.send("alice", Era::Modern, &call("jira_set"));
        assert_eq!((got.status, got.code()), (200, -32603));
        assert_eq!(
            bridge.scene.rows(),
            ["intent pending -", "outcome rpc_error -"]
        );
    }
}

/// A JSON reply is the answer or nothing: what it is instead ends the call, and nobody waits for more.
#[test]
fn a_json_reply_that_is_no_answer_ends_the_call() {
    for message in [
        form(5),
        logged("error"),
        json!({"jsonrpc":"2.0","id":"other","result":{}}),
    ] {
        let bridge = Bridge::new();
        bridge.scene.jira.will_answer(Canned::json(message.clone()));
        let mut body = call("jira_set");
        body["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = "debug".into();
        let got = bridge.scene.send("alice", Era::Modern, &body);
        let begun = bridge.scene.world.timers.now_ms();
        let end = if got.is_stream() {
            got.timed().pop().unwrap().1.unwrap()
        } else {
            got.json().clone()
        };
        assert_eq!(end["error"]["code"], -32000, "{message}");
        assert!(
            bridge.scene.world.timers.now_ms() < begun + 60_000,
            "{message}"
        );
        assert_eq!((bridge.holds(), bridge.kept()), (0, 0), "{message}");
    }
}

/// A server that forgot the session did nothing: the call is made in a new one, opened for what the client declared.
#[test]
fn a_lost_session_is_renewed_before_the_call() {
    let bridge = Bridge::new();
    bridge.ends_when_answered();
    bridge.scene.jira.restart();
    let first = bridge.asked("jira_set");
    assert_eq!(
        bridge.scene.sent(),
        [
            "jira tools/call",
            "jira initialize",
            "jira notifications/initialized",
            "jira tools/call"
        ]
    );
    let opened = bridge.scene.world.upstreams.of("initialize")[0].json();
    let declared: Value = serde_json::from_str(super::bridge::CAPABILITIES).unwrap();
    assert_eq!(opened["params"]["capabilities"], declared);
    assert_done(&bridge.retry("jira_set", &first.state, &first.all(&accept(1))));
    let sent = bridge.scene.world.upstreams.sent.borrow();
    let session = |index: usize| sent[index].header("Mcp-Session-Id").map(str::to_owned);
    assert_eq!(session(4), session(3), "answers go to the call's session");
    assert_ne!(session(3), session(0));
}

fn links() -> Value {
    json!({"jsonrpc":"2.0","id":"$ID","error":{"code":-32042,"message":"Sign in first","data":{"elicitations":[
        {"mode":"url","url":"https://a.example/x","message":"Sign in","elicitationId":"e1"},
        {"mode":"url","url":"https://a.example/y","message":"Agree","elicitationId":"e2"},
    ]}}})
}

/// A server that wants links followed before it begins: the client is asked to, and then calls anew.
#[test]
fn links_to_follow_are_asked_and_the_call_is_made_anew() {
    for as_json in [true, false] {
        let bridge = Bridge::new();
        bridge.scene.jira.will_answer(if as_json {
            Canned::json(links())
        } else {
            Canned::messages(&[links()])
        });
        let first = asked(&bridge.scene.send("alice", Era::Modern, &call("jira_set")));
        let urls: Vec<&Value> = first
            .requests
            .iter()
            .map(|(_, r)| &r["params"]["url"])
            .collect();
        assert_eq!(urls, ["https://a.example/x", "https://a.example/y"]);
        assert!(
            first
                .requests
                .iter()
                .all(|(_, r)| r["params"].get("elicitationId").is_none())
        );
        assert_eq!((bridge.holds(), bridge.kept()), (0, 0), "nothing waits");
        let got = bridge.retry(
            "jira_set",
            &first.state,
            &first.all(&json!({"action":"accept"})),
        );
        assert_done(&got);
        assert_eq!(bridge.scene.sent(), ["jira tools/call", "jira tools/call"]);
        let calls = bridge.scene.world.upstreams.of("tools/call");
        let params = &calls[1].json()["params"];
        assert!(params.get("requestState").is_none() && params.get("inputResponses").is_none());
        assert_eq!(
            bridge.scene.rows(),
            [
                "intent pending -",
                "outcome input_required -",
                "intent pending -",
                "outcome ok -"
            ]
        );
    }
}

#[test]
fn links_that_were_not_followed_end_the_call() {
    for answer in [
        json!({"action":"decline"}),
        json!({"action":"cancel"}),
        json!({}),
    ] {
        let bridge = Bridge::new();
        bridge.scene.jira.will_answer(Canned::json(links()));
        let first = asked(&bridge.scene.send("alice", Era::Modern, &call("jira_set")));
        bridge.scene.world.clear();
        let mut answers = first.all(&json!({"action":"accept"}));
        answers[first.key(1)] = answer.clone();
        for answers in [answers, json!({})] {
            let got = bridge.retry("jira_set", &first.state, &answers);
            assert_eq!(got.code(), -32000, "{answer}");
            assert_eq!(bridge.scene.rows(), ["refusal refused input_refused"]);
            assert_eq!(bridge.scene.sent(), [""; 0]);
            bridge.scene.world.clear();
        }
    }
}

/// A client that cannot open links gets the server's own error.
#[test]
fn links_are_asked_of_clients_that_can_open_them() {
    let bridge = Bridge::new();
    bridge.scene.jira.will_answer(Canned::json(links()));
    let mut body = call("jira_set");
    body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
        json!({"elicitation":{}});
    let got = bridge.scene.send("alice", Era::Modern, &body);
    assert_eq!(got.code(), -32042);
    assert_eq!(
        bridge.scene.rows(),
        ["intent pending -", "outcome rpc_error -"]
    );
}

/// Each held call has a stream of its own to its server: an object holds so many.
#[test]
fn an_object_holds_so_many_calls() {
    let bridge = Bridge::new();
    for _ in 0..HELD_CALLS_MAX {
        let first = event(&form(5)).into_bytes();
        let pieces = vec![Piece::Bytes(first), Piece::Hang];
        bridge.scene.jira.will_answer(Canned::events(pieces));
        asked(&bridge.scene.send("alice", Era::Modern, &call("jira_get")));
    }
    assert_eq!(bridge.holds(), HELD_CALLS_MAX);
    bridge.scene.world.clear();
    let got = bridge.scene.send("alice", Era::Modern, &call("jira_get"));
    assert_eq!((got.status, got.code()), (429, -32000));
    assert_eq!(bridge.scene.rows(), ["refusal refused too_many"]);
    assert_eq!(bridge.calls(), 0);
}

/// A server that goes on talking while nobody listens is read no further than a few messages.
#[test]
fn a_talkative_server_is_read_only_so_far() {
    let bridge = Bridge::new();
    let first = bridge.asked("jira_get");
    for _ in 0..10 * HELD_MESSAGES_MAX {
        bridge.live.say(&logged("error"));
    }
    bridge.scene.world.play(1_000);
    let read = 10 * HELD_MESSAGES_MAX - bridge.live.unread();
    assert!(read <= HELD_MESSAGES_MAX + 4, "{read}");
    bridge.ends_when_answered();
    let mut body = bridge.retry_body("jira_get", &first.state, &first.all(&accept(1)));
    body["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = "debug".into();
    let got = bridge.scene.send("alice", Era::Modern, &body).messages();
    assert_eq!(got.len(), 10 * HELD_MESSAGES_MAX + 1, "nothing is lost");
}

/// A question that no client could receive is declined, alone or with others of its round.
#[test]
fn no_round_is_larger_than_a_client_receives() {
    let long = |bytes: usize| {
        let message = "x".repeat(bytes);
        question(
            json!(bytes),
            "elicitation/create",
            json!({"message":message}),
        )
    };
    for (sizes, asked_of) in [
        (&[CLIENT_EVENT_BYTES_MAX][..], 0),
        (&[600_000], 1),
        (&[600_000, 600_001], 1),
        (&[300_000, 300_001, 300_002, 300_003], 3),
    ] {
        let bridge = Bridge::new();
        if asked_of == 0 {
            bridge.ends_when_answered();
        }
        for size in sizes {
            bridge.live.say(&long(*size));
        }
        let got = bridge.call("jira_get");
        let bytes = got.json().to_string().len();
        assert!(bytes <= CLIENT_EVENT_BYTES_MAX, "{bytes}");
        let requests = got.result()["inputRequests"].as_object();
        assert_eq!(
            requests.map_or(0, serde_json::Map::len),
            asked_of,
            "{sizes:?}"
        );
        bridge.scene.world.play(10);
        let declined = bridge.scene.world.upstreams.of("response").len();
        assert_eq!(declined, sizes.len() - asked_of);
    }
}

/// What was said on the stream before the object could be asked again is not lost with it.
#[test]
fn the_answer_may_come_as_the_first_event() {
    let bridge = Bridge::new();
    bridge.live.say(&done());
    assert_done(&bridge.call("jira_get"));
    assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
}
