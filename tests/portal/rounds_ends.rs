//! How a call with rounds ends where its client does not simply answer: errors, time, cancellation, and what cannot be
//! written.

use futures::future::join;
use portcullis::limits::INPUT_WAIT_MS;
use portcullis::mcp::{Era, Message};
use portcullis::portal::handle;
use serde_json::{Value, json};

use super::asking::{answer, assert_nothing_left, calls, roots, sample, sampled, scene, will_ask};
use super::ledger::Break;
use super::scene::document;
use super::scene::{Got, Scene, request};
use super::upstreams::{Canned, Piece};

/// A call that asks two things, and the questions.
fn asked(tool: &str) -> (Scene, Got, [Value; 2]) {
    let scene = scene();
    will_ask(&scene, &json!({"a":sample("1"),"b":roots()}), Some("s"));
    let mut got = scene.call(Era::Legacy, tool);
    let questions = [got.next().unwrap(), got.next().unwrap()];
    (scene, got, questions)
}

fn cancel() -> Value {
    json!({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}})
}

#[test]
fn an_answer_counts_once() {
    let (scene, _got, [sample, _]) = asked("jira_get");
    assert_eq!(answer(&scene, &sample, &sampled("1")).status, 202);
    let got = answer(&scene, &sample, &sampled("2"));
    assert_eq!((got.status, got.code()), (400, -32600));
    assert_eq!(scene.rows().last().unwrap(), "refusal refused nobody_waits");
}

#[test]
fn an_error_in_place_of_an_answer_ends_the_call() {
    for answered_before in [false, true] {
        let (scene, mut got, [sample, roots]) = asked("jira_set");
        if answered_before {
            answer(&scene, &sample, &sampled("1"));
        }
        let refusal = json!({"jsonrpc":"2.0","id":roots["id"],"error":{"code":-1,"message":"no"}});
        assert_eq!(scene.send("alice", Era::Legacy, &refusal).status, 202);
        if !answered_before {
            let taken_back = got.next().unwrap();
            assert_eq!(taken_back["params"]["requestId"], sample["id"]);
        }
        let end = got.next().unwrap();
        assert_eq!(
            (&end["id"], &end["error"]["code"]),
            (&json!(1), &json!(-32000))
        );
        assert_eq!(got.next(), None);
        assert_eq!(
            scene.rows(),
            [
                "intent pending -",
                "outcome input_required -",
                "outcome refused input_refused"
            ]
        );
        assert_eq!(calls(&scene).len(), 1);
        assert_nothing_left(&scene);
        assert_eq!(answer(&scene, &sample, &sampled("2")).code(), -32600);
    }
}

/// A person takes minutes, in which the rules may change: the answers stay here, and the end reads like an unknown tool.
#[test]
fn a_call_that_may_not_be_made_any_more_does_not_go_again() {
    let (mut scene, mut got, [sample, roots]) = asked("jira_set");
    let mut changed = document();
    changed["servers"]["jira"]["tools"]["deny"] = json!(["set"]);
    scene.apply(&changed);
    answer(&scene, &sample, &sampled("1"));
    answer(&scene, &roots, &json!({"roots":[]}));
    let end = got.next().unwrap();
    assert_eq!(end["error"]["code"], -32602, "{end}");
    assert_eq!(got.next(), None);
    assert_eq!(calls(&scene).len(), 1);
    assert_eq!(
        scene.rows(),
        [
            "intent pending -",
            "outcome input_required -",
            "outcome refused unknown_tool"
        ]
    );
    assert_nothing_left(&scene);
}

#[test]
fn a_client_has_a_time_to_answer() {
    let (scene, mut got, [sample, roots]) = asked("jira_set");
    let begun = scene.world.timers.now_ms();
    answer(&scene, &sample, &sampled("1"));
    // A person need not answer any more.
    let taken_back = got.next().unwrap();
    assert_eq!(taken_back["method"], "notifications/cancelled");
    assert_eq!(taken_back["params"]["requestId"], roots["id"]);
    let end = got.next().unwrap();
    assert_eq!(end["error"]["code"], -32000, "{end}");
    assert_eq!(got.next(), None);
    assert_eq!(scene.world.timers.now_ms(), begun + INPUT_WAIT_MS);
    assert_eq!(
        scene.rows(),
        [
            "intent pending -",
            "outcome input_required -",
            "outcome cancelled input_expired"
        ]
    );
    assert_nothing_left(&scene);
    assert_eq!(answer(&scene, &sample, &sampled("2")).code(), -32600);
}

#[test]
fn a_client_cancels_while_it_is_asked() {
    let (scene, mut got, [sample, _]) = asked("jira_set");
    answer(&scene, &sample, &sampled("1"));
    assert_eq!(scene.send("alice", Era::Legacy, &cancel()).status, 202);
    assert_eq!(got.next(), None, "whoever cancels gets no answer");
    assert_eq!(
        scene.rows(),
        [
            "intent pending -",
            "outcome input_required -",
            "outcome cancelled -"
        ]
    );
    assert_eq!(scene.sent(), ["jira tools/call"]);
    assert_nothing_left(&scene);
}

#[test]
fn a_client_cancels_while_the_call_goes_again() {
    for streamed in [false, true] {
        let (scene, mut got, [sample, roots]) = asked("jira_set");
        scene.jira.will_answer(if streamed {
            Canned::events(vec![Piece::Hang])
        } else {
            Canned::hang()
        });
        answer(&scene, &sample, &sampled("1"));
        answer(&scene, &roots, &json!({"roots":[]}));
        let soon = scene.world.timers.now_ms() + 1_000;
        assert!(got.next_until(soon).is_none());
        assert_eq!(calls(&scene).len(), 2);
        scene.send("alice", Era::Legacy, &cancel());
        assert_eq!(got.next(), None);
        assert_eq!(scene.rows().last().unwrap(), "outcome cancelled -");
        assert_nothing_left(&scene);
    }
}

/// Before anything came back, as headers or as a first message.
#[test]
fn a_client_cancels_before_anything_came_back() {
    for reply in [Canned::hang(), Canned::events(vec![Piece::Hang])] {
        for after_ms in [10, 900, 5_000] {
            let scene = scene();
            scene.jira.will_answer(reply.clone());
            let world = &scene.world;
            let body = request(Era::Legacy, "tools/call", json!({"name":"jira_set"}));
            let texts = [body, cancel()].map(|body| body.to_string());
            let caller = |text: &str| {
                let body: Value = serde_json::from_str(text).unwrap();
                scene.caller("alice", Era::Legacy, &body)
            };
            let callers = texts.each_ref().map(|text| caller(text));
            let message = |index: usize| Message::parse(texts[index].as_bytes()).unwrap();
            let (call, cancellation) = (message(0), message(1));
            let both = join(handle(world, &callers[0], &call), async {
                world.timers.sleep(after_ms).await;
                handle(world, &callers[1], &cancellation).await
            });
            let (reply, _) = world.timers.run(both);
            let got = scene.got(reply).messages();
            assert_eq!(got, [Value::Null; 0], "{after_ms}");
            assert_eq!(
                scene.rows(),
                ["intent pending -", "outcome cancelled -"],
                "{after_ms}"
            );
            assert_nothing_left(&scene);
        }
    }
}

/// A cancellation that comes while the answer is being recorded is too late: one call, one end.
#[test]
fn a_cancellation_while_the_end_is_recorded_is_no_second_end() {
    let scene = scene();
    scene.world.ledger.slow_ms.set(100);
    let world = &scene.world;
    let body = request(Era::Legacy, "tools/call", json!({"name":"jira_set"}));
    let texts = [body, cancel()].map(|body| body.to_string());
    let callers = texts.each_ref().map(|text| {
        let body: Value = serde_json::from_str(text).unwrap();
        scene.caller("alice", Era::Legacy, &body)
    });
    let called = Message::parse(texts[0].as_bytes()).unwrap();
    let cancelled = Message::parse(texts[1].as_bytes()).unwrap();
    // The intent takes 100 ms, then the outcome does.
    let both = join(handle(world, &callers[0], &called), async {
        world.timers.sleep(150).await;
        handle(world, &callers[1], &cancelled).await
    });
    world.timers.run(both);
    let rows = scene.rows();
    let ends = rows.iter().filter(|row| row.starts_with("outcome")).count();
    assert_eq!(ends, 1, "{rows:?}");
    assert_nothing_left(&scene);
}

/// Another request's cancellation is another's.
#[test]
fn nobody_else_cancels_a_round() {
    let (scene, mut got, [sample, roots]) = asked("jira_get");
    for id in [json!(2), json!("1"), json!(null)] {
        let other =
            json!({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":id}});
        scene.send("alice", Era::Legacy, &other);
    }
    answer(&scene, &sample, &sampled("1"));
    answer(&scene, &roots, &json!({"roots":[]}));
    assert!(got.next().unwrap()["result"].is_object());
}

/// A client that goes away for good, with its session's stream, ends the call.
#[test]
fn a_stream_that_is_dropped_ends_the_call() {
    let (scene, got, _) = asked("jira_set");
    drop(got);
    assert_eq!(scene.rows().last().unwrap(), "outcome cancelled -");
    assert_eq!(scene.sent(), ["jira tools/call"]);
    assert_nothing_left(&scene);
}

/// The ledger is away when a round begins: nobody is asked, and the client hears why.
#[test]
fn a_round_that_cannot_be_recorded_is_not_begun() {
    for fault in [Break::Before, Break::AfterPersist] {
        let scene = scene();
        will_ask(&scene, &json!({"a":roots()}), Some("s"));
        scene.world.ledger.break_next(&[None, Some(fault)]);
        let got = scene.call(Era::Legacy, "jira_set").messages();
        assert_eq!(got.len(), 1);
        assert_eq!(got[0]["error"]["code"], -32603, "{fault:?}");
        assert_eq!(
            scene.rows(),
            [
                "intent pending -",
                "outcome interrupted outcome_unrecorded",
                "outcome input_required -",
            ]
            .map(str::to_owned)
            .into_iter()
            .filter(|_| fault == Break::Before)
            .chain(
                [
                    "intent pending -",
                    "outcome input_required -",
                    "outcome interrupted outcome_unrecorded",
                ]
                .map(str::to_owned)
                .into_iter()
                .filter(|_| fault == Break::AfterPersist)
            )
            .collect::<Vec<_>>()
        );
        assert_eq!(calls(&scene).len(), 1);
        assert_nothing_left(&scene);
    }
}

/// And when it ends: the answer is withheld, and the call is not made again.
#[test]
fn an_end_that_cannot_be_recorded_is_withheld() {
    for fault in [Break::Before, Break::AfterPersist] {
        let (scene, mut got, [sample, roots]) = asked("jira_set");
        scene.world.ledger.break_next(&[Some(fault)]);
        answer(&scene, &sample, &sampled("1"));
        answer(&scene, &roots, &json!({"roots":[]}));
        let end = got.next().unwrap();
        assert_eq!(end["error"]["code"], -32603, "{fault:?}");
        assert_eq!(got.next(), None);
        assert_eq!(calls(&scene).len(), 2);
        let rows = scene.rows();
        assert_eq!(rows.iter().filter(|row| *row == "outcome ok -").count(), 1);
        assert_nothing_left(&scene);
    }
}

/// Rows that cannot be stored: nobody is asked what could not be answered later.
#[test]
fn questions_that_cannot_be_kept_are_not_asked() {
    let scene = scene();
    scene.world.keeper.is_broken.set(true);
    will_ask(&scene, &json!({"a":roots(),"b":sample("1")}), Some("s"));
    let got = scene.call(Era::Legacy, "jira_set").messages();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0]["error"]["code"], -32603);
    assert_eq!(
        scene.rows(),
        [
            "intent pending -",
            "outcome input_required -",
            "outcome interrupted session_state"
        ]
    );
    assert_nothing_left(&scene);
}

/// What leaves is noted before: where it cannot be, it does not leave.
#[test]
fn answers_that_cannot_be_noted_do_not_leave() {
    let (scene, mut got, [sample, roots]) = asked("jira_set");
    scene.world.keeper.is_broken.set(true);
    answer(&scene, &sample, &sampled("1"));
    answer(&scene, &roots, &json!({"roots":[]}));
    let end = got.next().unwrap();
    assert_eq!(end["error"]["code"], -32603);
    assert_eq!(calls(&scene).len(), 1);
    assert_eq!(
        scene.rows().last().unwrap(),
        "outcome interrupted session_state"
    );
    assert_nothing_left(&scene);
}

/// A server that fails in a later round ends the call as in the first.
#[test]
fn a_server_that_fails_in_a_later_round_ends_the_call() {
    for (reply, reason) in [
        (Canned::status(500), "upstream_status"),
        (Canned::hang(), "upstream_timed_out"),
        (Canned::events(Vec::new()), "upstream_cut"),
        (
            Canned::json(json!({"jsonrpc":"2.0","id":"other","result":{}})),
            "upstream_bad_answer",
        ),
        (Canned::json(roots()), "upstream_bad_answer"),
    ] {
        let (scene, mut got, [sample, roots]) = asked("jira_set");
        scene.jira.will_answer(reply);
        answer(&scene, &sample, &sampled("1"));
        answer(&scene, &roots, &json!({"roots":[]}));
        let end = got.next().unwrap();
        assert_eq!(end["error"]["code"], -32000, "{reason}");
        assert_eq!(got.next(), None);
        let rows = scene.rows();
        assert_eq!(
            *rows.last().unwrap(),
            format!("outcome upstream_failed {reason}")
        );
        assert_nothing_left(&scene);
    }
}
