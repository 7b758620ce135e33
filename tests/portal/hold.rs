//! Held calls: a server's questions to a modern client, asked as a result and answered with the next request.

use portcullis::limits::{QUESTIONS_GATHER_MS, QUESTIONS_MAX};
use portcullis::mcp::Era;
use serde_json::{Value, json};

use super::bridge::{
    Asked, Bridge, RETRY_TOKEN, accept, asked, asked_in, assert_done, call, done, form, logged,
    progress, question,
};
use super::scene::TOKEN;
use super::upstreams::Canned;

#[test]
fn a_question_is_a_result_and_the_answer_goes_on_with_the_same_call() {
    for tool in ["jira_get", "jira_set"] {
        let bridge = Bridge::new();
        bridge.ends_when_answered();
        let first = bridge.asked(tool);
        assert_eq!(first.requests.len(), 1);
        assert_eq!(
            first.requests[0].1,
            json!({"method":"elicitation/create","params":{
                "message":"number 5?","requestedSchema":{"type":"object"},
            }})
        );
        assert_eq!(bridge.delivered(), []);
        let got = bridge.retry(tool, &first.state, &first.all(&accept(1)));
        assert_done(&got);
        assert_eq!(got.json()["id"], "retry 1", "the retry's own id");
        assert_eq!(bridge.delivered(), [(json!(5), accept(1))]);
        assert_eq!(bridge.scene.sent(), ["jira tools/call", "jira response"]);
        let rows = if tool == "jira_set" {
            &[
                "intent pending -",
                "outcome input_required -",
                "intent pending -",
                "outcome ok -",
            ][..]
        } else {
            &["outcome input_required -", "outcome ok -"]
        };
        assert_eq!(bridge.scene.rows(), rows);
        assert_eq!((bridge.holds(), bridge.kept()), (0, 0), "nothing is left");
        let sent = bridge.scene.world.upstreams.sent.borrow();
        assert_eq!(
            sent[0].header("Mcp-Session-Id"),
            sent[1].header("Mcp-Session-Id")
        );
        assert_eq!(sent[0].rule, sent[1].rule);
    }
}

/// Should the object end right after the client heard of a question, its answer still finds the call.
#[test]
fn a_question_is_a_row_before_it_is_a_result() {
    let bridge = Bridge::new();
    bridge.asked("jira_set");
    let steps = bridge.scene.world.steps();
    assert_eq!(
        steps,
        [
            "durable intent pending",
            "send jira tools/call",
            "kept",
            "durable outcome input_required"
        ]
    );
    let rows = bridge.scene.world.keeper.calls.borrow();
    let text = &rows.values().next().unwrap().text;
    assert!(text.contains("number 5?"), "{text}");
}

#[test]
fn prompts_and_resources_ask_too() {
    for (method, params) in [
        ("prompts/get", json!({"name":"jira_greet"})),
        ("resources/read", json!({"uri":"jira://a"})),
    ] {
        let bridge = Bridge::new();
        bridge.ends_when_answered();
        bridge.live.say(&form(5));
        let body = super::bridge::asking(super::scene::request(Era::Modern, method, params));
        let first = asked(&bridge.call_of(&body));
        let mut again = body.clone();
        again["params"]["requestState"] = first.state.clone().into();
        again["params"]["inputResponses"] = first.all(&accept(1));
        let got = bridge.scene.send("alice", Era::Modern, &again);
        assert_eq!(got.result()["resultType"], "complete", "{method}");
        assert_eq!(
            bridge.scene.sent(),
            [format!("jira {method}"), "jira response".to_owned()]
        );
        assert_eq!(
            bridge.scene.rows(),
            ["outcome input_required -", "outcome ok -"]
        );
    }
}

#[test]
fn questions_of_one_moment_are_one_round() {
    let bridge = Bridge::new();
    bridge.ends_when_answered();
    for id in [5, 6] {
        bridge.live.say(&form(id));
    }
    bridge
        .live
        .say(&question(json!("theirs"), "roots/list", json!({})));
    let begun = bridge.scene.world.timers.now_ms();
    let first = asked(&bridge.call("jira_get"));
    let waited = bridge.scene.world.timers.now_ms() - begun;
    assert_eq!(waited, QUESTIONS_GATHER_MS);
    let methods: Vec<&Value> = first.requests.iter().map(|(_, r)| &r["method"]).collect();
    assert_eq!(
        methods,
        ["elicitation/create", "elicitation/create", "roots/list"]
    );
    let answers = json!({
        first.key(0): accept(1), first.key(1): {"action":"decline"}, first.key(2): {"roots":[]},
    });
    let got = bridge.retry("jira_get", &first.state, &answers);
    assert_done(&got);
    assert_eq!(
        bridge.delivered(),
        [
            (json!(5), accept(1)),
            (json!(6), json!({"action":"decline"})),
            (json!("theirs"), json!({"roots":[]})),
        ]
    );
}

/// A question beyond the moment is the next round's.
#[test]
fn a_later_question_is_another_round() {
    let bridge = Bridge::new();
    let live = bridge.live.clone();
    let mut heard = 0;
    bridge.scene.jira.when_answered(move |_| {
        heard += 1;
        live.say(&if heard < 3 { form(5 + heard) } else { done() });
        Canned::status(202)
    });
    let mut round = bridge.asked("jira_set");
    let mut states = vec![round.state.clone()];
    for _ in 0..2 {
        let got = bridge.retry("jira_set", &round.state, &round.all(&accept(1)));
        let next = asked(&got);
        assert_eq!(
            next.requests.len(),
            1,
            "what was answered is not asked again"
        );
        assert_ne!(next.requests[0], round.requests[0]);
        assert!(!states.contains(&next.state));
        states.push(next.state.clone());
        round = next;
    }
    assert_done(&bridge.retry("jira_set", &round.state, &round.all(&accept(1))));
    let ids: Vec<Value> = bridge.delivered().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [5, 6, 7]);
    assert_eq!(bridge.calls(), 1);
    assert_eq!(bridge.scene.rows().len(), 2 * 4);
}

#[test]
fn what_was_not_answered_is_asked_again() {
    let bridge = Bridge::new();
    bridge.ends_when_answered();
    bridge.live.say(&form(5));
    bridge.live.say(&form(6));
    let first = asked(&bridge.call("jira_set"));
    // Nothing, and a key that was never asked.
    let got = bridge.retry("jira_set", &first.state, &json!({"other":accept(9)}));
    let second = asked(&got);
    assert_eq!(second.requests, first.requests);
    assert_ne!(second.state, first.state);
    assert_eq!(bridge.delivered(), []);
    // One of two.
    let one = json!({second.key(1): accept(2)});
    let third = asked(&bridge.retry("jira_set", &second.state, &one));
    assert_eq!(third.requests, [first.requests[0].clone()]);
    // The server ends the call at its first answer, whatever else it asked.
    assert_eq!(bridge.delivered(), [(json!(6), accept(2))]);
    let got = bridge.retry("jira_set", &third.state, &third.all(&accept(1)));
    assert_done(&got);
    assert_eq!(
        bridge.delivered(),
        [(json!(6), accept(2)), (json!(5), accept(1))]
    );
    assert_eq!(
        bridge.scene.rows(),
        [
            "intent pending -",
            "outcome input_required -",
            "outcome input_required -",
            "intent pending -",
            "outcome input_required -",
            "intent pending -",
            "outcome ok -",
        ],
        "an intent wherever an answer leaves"
    );
}

/// An answer of a wrong shape is the client's fault: it is told so, nothing leaves, and it may try again.
#[test]
fn answers_of_a_wrong_shape_are_refused() {
    let bridge = Bridge::new();
    bridge.ends_when_answered();
    let first = bridge.asked("jira_set");
    bridge.scene.world.clear();
    for answer in [
        json!({}),
        json!("accept"),
        json!({"action":"maybe"}),
        Value::Null,
    ] {
        let got = bridge.retry("jira_set", &first.state, &first.all(&answer));
        assert_eq!((got.status, got.code()), (400, -32602), "{answer}");
        let text = got.json()["error"]["message"].as_str().unwrap();
        assert!(text.contains(first.key(0)), "{text}");
        assert_eq!(bridge.scene.rows(), ["refusal refused bad_params"]);
        assert_eq!(bridge.scene.sent(), [""; 0]);
        bridge.scene.world.clear();
    }
    let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
    assert_done(&got);
}

/// What the client did not declare it is not asked: the server hears so at once, and its own answer passes.
#[test]
fn what_cannot_be_asked_is_declined_and_the_call_goes_on() {
    for (method, params) in [
        ("roots/list", json!([])),
        ("tools/call", json!({"name":"x"})),
        ("sampling/createMessage", json!({"messages":[],"tools":[]})),
        ("unknown/method", json!({})),
    ] {
        let bridge = Bridge::new();
        bridge.ends_when_answered();
        bridge.live.say(&question(json!(5), method, params));
        let got = bridge.call("jira_get");
        assert_done(&got);
        let sent = bridge.scene.world.upstreams.of("response");
        assert_eq!(sent.len(), 1, "{method}");
        assert_eq!(sent[0].json()["error"]["code"], -32601, "{method}");
        assert_eq!(bridge.scene.rows(), ["outcome ok -"], "{method}");
        assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
    }
}

#[test]
fn a_server_that_only_asks_whether_anybody_is_there_is_told_so() {
    let bridge = Bridge::new();
    bridge.ends_when_answered();
    bridge.live.say(&question(json!("p"), "ping", json!({})));
    assert_done(&bridge.call("jira_get"));
    assert_eq!(bridge.delivered(), [(json!("p"), json!({}))]);
}

/// As many questions as a round takes; those beyond are declined at once.
#[test]
fn a_round_takes_so_many_questions() {
    let bridge = Bridge::new();
    for id in 0..=QUESTIONS_MAX as u64 {
        bridge.live.say(&form(id));
    }
    let first = asked(&bridge.call("jira_get"));
    assert_eq!(first.requests.len(), QUESTIONS_MAX);
    bridge.scene.world.play(1);
    let sent = bridge.scene.world.upstreams.of("response");
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].json()["id"], QUESTIONS_MAX);
    assert!(sent[0].json()["error"].is_object());
    bridge.ends_when_answered();
    let got = bridge.retry("jira_get", &first.state, &first.all(&accept(1)));
    assert_done(&got);
    assert_eq!(
        bridge.scene.world.upstreams.of("response").len(),
        1 + QUESTIONS_MAX
    );
}

#[test]
fn a_question_that_is_repeated_is_asked_once() {
    let bridge = Bridge::new();
    bridge.live.say(&form(5));
    bridge.live.say(&form(5));
    assert_eq!(asked(&bridge.call("jira_get")).requests.len(), 1);
}

/// What the server says meanwhile reaches the client with the request that is open, under that request's token and level.
#[test]
fn notifications_reach_the_request_that_is_open() {
    let bridge = Bridge::new();
    bridge.live.say(&progress(1));
    bridge.live.say(&form(5));
    bridge.live.say(&progress(2));
    let mut got = bridge.call("jira_get");
    let first = got.next().unwrap();
    assert_eq!(first["params"], json!({"progressToken":TOKEN,"progress":1}));
    let second = got.next().unwrap();
    assert_eq!(second["params"]["progress"], 2);
    let first = asked_in(&got.next().unwrap());
    assert_eq!(got.next(), None);
    drop(got);
    // While nobody is there.
    bridge.live.say(&progress(3));
    bridge.live.say(&logged("error"));
    bridge.scene.world.play(1_000);
    let live = bridge.live.clone();
    bridge.scene.jira.when_answered(move |_| {
        live.say(&progress(4));
        live.say(&logged("error"));
        live.say(&done());
        Canned::status(202)
    });
    let mut body = bridge.retry_body("jira_get", &first.state, &first.all(&accept(1)));
    body["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = "warning".into();
    let got = bridge.scene.send("alice", Era::Modern, &body).messages();
    let progress = |step: u64| json!({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":RETRY_TOKEN,"progress":step}});
    assert_eq!(
        got[..4],
        [progress(3), logged("error"), progress(4), logged("error")]
    );
    assert_eq!(got[4]["result"]["content"][0]["text"], "done");
    assert_eq!(got.len(), 5);
}

#[test]
fn a_client_gets_the_log_messages_it_asked_for() {
    for (level, expected) in [
        (None, &[][..]),
        (Some("warning"), &["warning", "emergency"]),
        (Some("debug"), &["debug", "info", "warning", "emergency"]),
    ] {
        let bridge = Bridge::new();
        for said in ["debug", "info", "warning", "emergency"] {
            bridge.live.say(&logged(said));
        }
        bridge.live.say(&done());
        let mut body = call("jira_get");
        if let Some(level) = level {
            body["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = level.into();
        }
        let mut got = bridge.call_of(&body).messages();
        assert!(got.pop().unwrap()["result"].is_object());
        let got: Vec<&Value> = got.iter().map(|m| &m["params"]["level"]).collect();
        assert_eq!(got, expected, "{level:?}");
        // The server was told how much is wanted, before the call.
        let told = bridge.scene.world.upstreams.of("logging/setLevel");
        let told: Vec<Value> = told
            .iter()
            .map(|s| s.json()["params"]["level"].clone())
            .collect();
        assert_eq!(told, level.map(Value::from).into_iter().collect::<Vec<_>>());
    }
}

/// Two calls of one client wait at once: each answer finds its own.
#[test]
fn calls_wait_beside_each_other() {
    let bridge = Bridge::new();
    let first = bridge.asked("jira_get");
    let other = super::live::Live::default();
    other.say(&form(5));
    let opened = other.clone();
    bridge
        .scene
        .jira
        .will_reply(move |request| opened.opened(request));
    let second: Asked = asked(&bridge.scene.send("alice", Era::Modern, &call("jira_set")));
    assert_eq!(bridge.holds(), 2);
    let live = bridge.live.clone();
    bridge.scene.jira.when_answered(move |answer| {
        let number = answer["result"]["content"]["number"].as_u64();
        let from = if number == Some(1) { &live } else { &other };
        from.say(&done());
        Canned::status(202)
    });
    // The state of one with another's name is none.
    let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
    assert_eq!(got.code(), -32602);
    assert_done(&bridge.retry("jira_set", &second.state, &second.all(&accept(2))));
    assert_eq!(bridge.holds(), 1);
    assert_done(&bridge.retry("jira_get", &first.state, &first.all(&accept(1))));
    assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
}
