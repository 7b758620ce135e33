//! How a held call ends where its caller does not simply answer: used states, races, time, rules, and servers that fail.

use portcullis::limits::{INPUT_WAIT_MS, QUESTIONS_GATHER_MS};
use portcullis::mcp::Era;
use serde_json::{Value, json};

use super::bridge::{Bridge, accept, asked, assert_done, call, done, form};
use super::scene::document;
use super::upstreams::Canned;

#[track_caller]
fn refused_as(bridge: &Bridge, state: &str, responses: &Value, reason: &str) {
    bridge.scene.world.clear();
    let got = bridge.retry("jira_set", state, responses);
    assert_eq!(got.code(), -32602, "{}", got.json());
    assert_eq!(bridge.scene.rows(), [format!("refusal refused {reason}")]);
    assert_eq!(bridge.scene.sent(), [""; 0]);
}

#[test]
fn a_state_is_good_once() {
    let bridge = Bridge::new();
    bridge.ends_when_answered();
    let first = bridge.asked("jira_set");
    assert_done(&bridge.retry("jira_set", &first.state, &first.all(&accept(1))));
    // The call is over.
    refused_as(&bridge, &first.state, &first.all(&accept(2)), "input_taken");
    assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
}

#[test]
fn a_state_of_an_earlier_round_is_used() {
    let bridge = Bridge::new();
    let live = bridge.live.clone();
    bridge.scene.jira.when_answered(move |_| {
        live.say(&form(6));
        Canned::status(202)
    });
    let first = bridge.asked("jira_set");
    let answers = first.all(&accept(1));
    let second = asked(&bridge.retry("jira_set", &first.state, &answers));
    refused_as(&bridge, &first.state, &answers, "input_taken");
    // The newer one still is good.
    bridge.ends_when_answered();
    let got = bridge.retry("jira_set", &second.state, &second.all(&accept(2)));
    assert_done(&got);
}

#[test]
fn a_state_is_good_for_its_own_call_alone() {
    let bridge = Bridge::new();
    let first = bridge.asked("jira_set");
    bridge.scene.world.clear();
    let answers = first.all(&accept(1));
    let good = bridge.retry_body("jira_set", &first.state, &answers);
    let changed = |pointer: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    for (who, body) in [
        ("bob", good.clone()),
        ("alice", changed("/params/arguments", json!({"a":2}))),
        ("alice", changed("/params/name", json!("jira_get"))),
        ("alice", changed("/params/name", json!("wiki_set"))),
        (
            "alice",
            changed("/params/requestState", json!(format!("{}A", first.state))),
        ),
    ] {
        let got = bridge.scene.send(who, Era::Modern, &body);
        assert_eq!(got.code(), -32602, "{who} {body}");
        assert_eq!(bridge.scene.rows(), ["refusal refused bad_seal"]);
        bridge.scene.world.clear();
    }
    assert_eq!(bridge.delivered(), []);
    bridge.ends_when_answered();
    // However its arguments are spelled.
    let text = good.to_string().replace(r#"{"a":1}"#, r#"{ "a" : 1 }"#);
    let caller = bridge.scene.caller("alice", Era::Modern, &good);
    assert_done(&bridge.scene.send_as(&caller, &text));
}

/// Two retries with one state: one goes on with the call, the other is told.
#[test]
fn of_two_retries_one_is_taken() {
    for tool in ["jira_get", "jira_set"] {
        let bridge = Bridge::new();
        let first = bridge.asked(tool);
        let live = bridge.live.clone();
        bridge.scene.jira.when_answered(move |_| {
            live.say(&done());
            Canned::status(202).after(500)
        });
        bridge.scene.world.ledger.slow_ms.set(50);
        let [one, other] = bridge.race(tool, &first);
        assert_done(&one);
        assert_eq!(other.code(), -32602);
        assert_eq!(bridge.delivered(), [(json!(5), accept(1))]);
        let rows = bridge.scene.rows();
        let count = |row: &str| rows.iter().filter(|line| *line == row).count();
        assert_eq!(count("refusal refused input_taken"), 1, "{rows:?}");
        assert_eq!(count("outcome ok -"), 1, "{rows:?}");
    }
}

#[test]
fn a_call_waits_for_a_time() {
    let bridge = Bridge::new();
    let first = bridge.asked("jira_set");
    bridge.scene.world.clear();
    bridge.scene.world.play(INPUT_WAIT_MS - 2);
    assert_eq!((bridge.holds(), bridge.kept()), (1, 1));
    assert_eq!(bridge.scene.sent(), [""; 0]);
    bridge.scene.world.play(2);
    assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
    assert_eq!(bridge.cancels(), [json!("r3")], "the server is told");
    assert_eq!(bridge.scene.rows(), ["outcome cancelled input_expired"]);
    let rows = bridge.scene.world.ledger.rows();
    assert!(rows[0].is_write && rows[0].target.as_deref() == Some("set"));
    let late_ms = bridge.scene.world.timers.now_ms() - rows[0].at_ms;
    assert!(late_ms < 5, "{late_ms}");
    refused_as(
        &bridge,
        &first.state,
        &first.all(&accept(1)),
        "input_expired",
    );
    assert_eq!(bridge.scene.world.upstreams.open(), 0);
}

/// Each round has the whole time.
#[test]
fn the_time_begins_anew_with_each_round() {
    let bridge = Bridge::new();
    let live = bridge.live.clone();
    bridge.scene.jira.when_answered(move |_| {
        live.say(&form(6));
        Canned::status(202)
    });
    let first = bridge.asked("jira_get");
    bridge.scene.world.play(INPUT_WAIT_MS - 1_000);
    let second = asked(&bridge.retry("jira_get", &first.state, &first.all(&accept(1))));
    bridge.scene.world.play(INPUT_WAIT_MS - 1_000);
    assert_eq!(bridge.holds(), 1);
    bridge.ends_when_answered();
    let got = bridge.retry("jira_get", &second.state, &second.all(&accept(1)));
    assert_done(&got);
    assert_eq!(bridge.cancels(), [Value::Null; 0]);
}

/// A server that goes on without the answer has answered all the same.
#[test]
fn an_answer_that_came_meanwhile_is_the_clients() {
    for after_ms in [QUESTIONS_GATHER_MS + 1, 60_000] {
        let bridge = Bridge::new();
        let first = bridge.asked("jira_set");
        bridge.scene.world.play(after_ms);
        bridge.live.say(&done());
        bridge.scene.world.play(10);
        let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
        assert_done(&got);
        assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
        assert_eq!(bridge.calls(), 1);
    }
}

/// Also where nobody comes for it: then the server is not told of an end that it made itself.
#[test]
fn an_answer_that_nobody_comes_for_is_recorded() {
    let bridge = Bridge::new();
    bridge.asked("jira_set");
    bridge.live.say(&done());
    bridge.scene.world.play(10);
    bridge.scene.world.clear();
    bridge.scene.world.play(INPUT_WAIT_MS);
    assert_eq!(bridge.scene.rows(), ["outcome ok input_expired"]);
    assert_eq!(bridge.cancels(), [Value::Null; 0]);
    assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
}

/// A stream that breaks off meanwhile is no answer, and no success.
#[test]
fn a_stream_that_ends_meanwhile_is_the_calls_end() {
    let bridge = Bridge::new();
    let first = bridge.asked("jira_set");
    bridge.live.end();
    bridge.scene.world.play(10);
    let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
    assert_eq!(got.code(), -32000);
    let rows = bridge.scene.rows();
    assert_eq!(rows.last().unwrap(), "outcome upstream_failed upstream_cut");
    assert_eq!((bridge.holds(), bridge.kept()), (0, 0));

    let bridge = Bridge::new();
    bridge.asked("jira_set");
    bridge.live.end();
    bridge.scene.world.play(10);
    bridge.scene.world.clear();
    bridge.scene.world.play(INPUT_WAIT_MS);
    let rows = bridge.scene.rows();
    assert_eq!(rows, ["outcome cancelled input_expired"], "not ok");
    assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
}

/// A server that does not take an answer has lost the call: it ends, and the server is told where it can hear it.
#[test]
fn an_answer_that_cannot_be_delivered_ends_the_call() {
    for (status, reason) in [
        (404, "upstream_session_lost"),
        (500, "upstream_status"),
        (401, "upstream_unauthorized"),
    ] {
        let bridge = Bridge::new();
        let first = bridge.asked("jira_set");
        bridge
            .scene
            .jira
            .when_answered(move |_| Canned::status(status));
        let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
        assert_eq!(got.code(), -32000, "{status}");
        bridge.scene.world.play(10);
        let rows = bridge.scene.rows();
        assert_eq!(
            *rows.last().unwrap(),
            format!("outcome upstream_failed {reason}")
        );
        assert_eq!(bridge.cancels().len(), 1);
        assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
        assert_eq!(bridge.scene.world.upstreams.open(), 0);
        refused_as(&bridge, &first.state, &first.all(&accept(1)), "input_taken");
    }
}

/// The rules changed against a call while it waited: it ends, its server is told, and the answers stay here.
#[test]
fn a_call_that_may_not_be_made_any_more_ends() {
    let mut bridge = Bridge::new();
    let first = bridge.asked("jira_set");
    bridge.scene.world.clear();
    let mut changed = document();
    changed["servers"]["jira"]["tools"]["deny"] = json!(["set"]);
    bridge.scene.apply(&changed);
    let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
    assert_eq!(got.code(), -32602);
    bridge.scene.world.play(10);
    assert_eq!(bridge.scene.rows(), ["refusal refused unknown_tool"]);
    assert_eq!(bridge.delivered(), []);
    assert_eq!(bridge.cancels().len(), 1);
    assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
}

/// A client that goes away while its call goes on cancels it; one that goes away while it is asked does not.
#[test]
fn a_client_that_leaves_cancels_what_goes_on_for_it() {
    let bridge = Bridge::new();
    let got = bridge.call("jira_set");
    assert!(got.is_stream());
    drop(got);
    bridge.scene.world.play(10);
    assert_eq!(bridge.cancels(), [json!("r3")]);
    assert_eq!(
        bridge.scene.rows(),
        ["intent pending -", "outcome cancelled -"]
    );
    assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
    assert_eq!(bridge.scene.world.upstreams.open(), 0);

    // Also after a round.
    let bridge = Bridge::new();
    let first = bridge.asked("jira_set");
    bridge.scene.world.play(5_000);
    assert_eq!(bridge.cancels(), [Value::Null; 0]);
    let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
    assert!(got.is_stream(), "the server takes its time");
    drop(got);
    bridge.scene.world.play(10);
    assert_eq!(bridge.cancels(), [json!("r3")]);
    assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
}

/// A server that does not answer at all is told once that nobody waits.
#[test]
fn a_server_that_hangs_is_told_once() {
    let bridge = Bridge::new();
    bridge.scene.jira.will_answer(Canned::hang());
    let got = bridge
        .scene
        .send("alice", Era::Modern, &call("jira_set"))
        .messages();
    assert_eq!(got[0]["error"]["code"], -32000);
    bridge.scene.world.play(10);
    assert_eq!(bridge.cancels(), [json!("r3")]);
    let rows = bridge.scene.rows();
    assert_eq!(
        rows,
        [
            "intent pending -",
            "outcome upstream_failed upstream_timed_out"
        ]
    );
    assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
}
