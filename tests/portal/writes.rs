//! Writes: the intent is durable before the call leaves, the outcome before the reply does.

use portcullis::error::UpstreamFault;
use portcullis::mcp::Era;
use serde_json::json;

use super::ledger::Break;
use super::mcp_server::Speaks;
use super::scene::Scene;
use super::streams::{progress, sent_done, sent_progress};
use super::upstreams::{Canned, Piece, event};

const ERAS: [(Era, Speaks); 2] = [(Era::Modern, Speaks::Modern), (Era::Legacy, Speaks::Legacy)];

fn scene(speaks: Speaks) -> Scene {
    let scene = Scene::new(speaks, speaks).synced();
    // Opens the legacy session, so that what follows is the call alone.
    scene.call(Era::Legacy, "jira_get");
    scene.world.clear();
    scene
}

#[test]
fn intent_call_outcome_in_this_order() {
    for (era, speaks) in ERAS {
        let scene = scene(speaks);
        assert_eq!(scene.call(era, "jira_set").status, 200);
        let steps = [
            "durable intent pending",
            "send jira tools/call",
            "durable outcome ok",
        ];
        assert_eq!(scene.world.steps(), steps);
    }
}

#[test]
fn without_a_durable_intent_nothing_leaves() {
    for (era, speaks) in ERAS {
        for fault in [Break::Before, Break::AfterPersist] {
            let scene = scene(speaks);
            scene.world.ledger.break_next(&[Some(fault)]);
            let got = scene.call(era, "jira_set");
            assert_eq!((got.status, got.code()), (503, -32603));
            assert!(
                got.json()["error"]["message"]
                    .as_str()
                    .unwrap()
                    .contains("nothing was done")
            );
            assert_eq!(scene.sent(), [""; 0]);
            let refusal = "refusal refused audit_away".to_owned();
            let expected = match fault {
                Break::Before => vec![refusal],
                Break::AfterPersist => vec!["intent pending -".to_owned(), refusal],
            };
            assert_eq!(scene.rows(), expected);
        }
    }
}

#[test]
fn an_unrecorded_outcome_withholds_the_reply() {
    for (era, speaks) in ERAS {
        for fault in [Break::Before, Break::AfterPersist] {
            let scene = scene(speaks);
            scene.world.ledger.break_next(&[None, Some(fault)]);
            let got = scene.call(era, "jira_set");
            assert_eq!((got.status, got.code()), (503, -32603), "{era:?} {fault:?}");
            assert!(
                !got.json().to_string().contains("done\""),
                "the result is withheld"
            );
            assert!(
                got.json()["error"]["message"]
                    .as_str()
                    .unwrap()
                    .contains("could not be recorded")
            );
            assert_eq!(scene.sent(), ["jira tools/call"], "never twice");
            // The row is kept for later under the same id: stored twice it is still one row.
            assert_eq!(scene.rows(), ["intent pending -", "outcome ok -"]);
            assert_eq!(scene.world.ledger.queued.borrow().len(), 1);
        }
    }
}

#[test]
fn an_unrecorded_outcome_withholds_the_answer_of_a_stream() {
    for (era, speaks) in ERAS {
        let scene = scene(speaks);
        scene
            .jira
            .will_answer(Canned::messages(&[sent_progress(1), sent_done()]));
        scene.world.ledger.break_next(&[None, Some(Break::Before)]);
        let got = scene.call(era, "jira_set").messages();
        assert_eq!(got.len(), 2);
        assert_eq!(got[0], progress(1));
        assert_eq!(got[1]["error"]["code"], -32603);
        assert_eq!(got[1]["id"], 1);
        assert_eq!(scene.rows(), ["intent pending -", "outcome ok -"]);
    }
}

/// What a server does wrong after a write left is an outcome, durable before the reply.
#[test]
fn failures_of_the_server_are_durable_outcomes() {
    let bad = |text: &str| Canned::with(200, portcullis::portal::ports::BodyKind::Json, text);
    for (canned, row) in [
        (
            Canned::fault(UpstreamFault::Unreachable),
            "outcome upstream_failed upstream_unreachable",
        ),
        (Canned::hang(), "outcome upstream_failed upstream_timed_out"),
        (
            Canned::status(500),
            "outcome upstream_failed upstream_status",
        ),
        (
            Canned::status(302),
            "outcome upstream_failed upstream_redirected",
        ),
        (
            Canned::status(401),
            "outcome upstream_failed upstream_unauthorized",
        ),
        (
            Canned::status(429),
            "outcome upstream_failed upstream_rate_limited",
        ),
        (
            Canned::status(202),
            "outcome upstream_failed upstream_bad_answer",
        ),
        (bad("<html>"), "outcome upstream_failed upstream_bad_answer"),
        (
            bad(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#),
            "outcome upstream_failed upstream_bad_answer",
        ),
        (
            bad(r#"{"jsonrpc":"2.0","method":"notifications/message"}"#),
            "outcome upstream_failed upstream_bad_answer",
        ),
        (
            Canned::events(Vec::new()),
            "outcome upstream_failed upstream_cut",
        ),
    ] {
        for (era, speaks) in ERAS {
            let scene = scene(speaks);
            scene.jira.will_answer(canned.clone());
            let got = scene.call(era, "jira_set").messages();
            assert_eq!(got[0]["error"]["code"], -32000, "{row}");
            assert_eq!(got[0]["id"], 1, "{row}");
            assert_eq!(scene.rows(), ["intent pending -", row]);
            assert_eq!(scene.world.ledger.durable.borrow().len(), 2, "{row}");
            // A legacy server that did not answer in time is told that nobody waits any more.
            let is_told = row.ends_with("timed_out") && matches!(speaks, Speaks::Legacy);
            let told = is_told.then_some("jira notifications/cancelled");
            let expected: Vec<&str> = ["jira tools/call"].into_iter().chain(told).collect();
            assert_eq!(scene.sent(), expected, "{row}");
        }
    }
}

#[test]
fn a_failure_that_cannot_be_recorded_is_said_to_be_unrecorded() {
    for (era, speaks) in ERAS {
        for canned in [
            Canned::fault(UpstreamFault::Unreachable),
            Canned::events(Vec::new()),
        ] {
            let scene = scene(speaks);
            scene.jira.will_answer(canned);
            scene.world.ledger.break_next(&[None, Some(Break::Before)]);
            let got = scene.call(era, "jira_set");
            assert_eq!(got.code(), -32603, "{}", got.json());
            assert_eq!(
                scene.world.ledger.queued.borrow().len(),
                1,
                "kept for later"
            );
        }
    }
}

#[test]
fn how_an_answer_ended_is_in_its_row() {
    let result = |result| Canned::json(json!({"jsonrpc":"2.0","id":1,"result":result}));
    let error =
        |id| Canned::json(json!({"jsonrpc":"2.0","id":id,"error":{"code":-32602,"message":"no"}}));
    for (canned, row) in [
        (
            result(json!({"content":[],"isError":true})),
            "outcome tool_error -",
        ),
        (result(json!({"content":[]})), "outcome ok -"),
        (error(json!(1)), "outcome rpc_error -"),
        (
            Canned::json(json!({"jsonrpc":"2.0","error":{"code":-32602,"message":"no"}})),
            "outcome rpc_error -",
        ),
        (error(json!(null)), "outcome rpc_error -"),
        (
            result(json!({"resultType":"task","taskId":"t"})),
            "outcome upstream_failed upstream_bad_answer",
        ),
    ] {
        let scene = scene(Speaks::Modern);
        scene.jira.will_answer(canned);
        let got = scene.call(Era::Modern, "jira_set");
        assert_eq!(got.json()["id"], 1);
        assert_eq!(scene.rows(), ["intent pending -", row]);
    }
}

#[test]
fn a_full_queue_or_an_absent_store_stops_before_the_upstream() {
    for (era, speaks) in ERAS {
        let scene = scene(speaks);
        scene.world.ledger.is_full.set(true);
        for tool in ["jira_get", "jira_set"] {
            assert_eq!(scene.call(era, tool).status, 503);
        }
        scene.world.ledger.is_full.set(false);
        scene.world.store_away.set(true);
        assert_eq!(scene.call(era, "jira_set").status, 503);
        assert_eq!(scene.sent(), [""; 0]);
        let away = "refusal refused audit_away";
        assert_eq!(scene.rows(), [away, away, "refusal refused store_away"]);
        assert_eq!(scene.call(era, "jira_get").status, 200, "reads go on");
    }
}

/// `AuditSink::has_room`: without room nothing new is begun, whatever it is.
#[test]
fn a_full_queue_stops_listings_too() {
    for era in [Era::Legacy, Era::Modern] {
        let scene = scene(Speaks::Both);
        scene.world.ledger.is_full.set(true);
        let got = scene.ask("alice", era, "tools/list", json!({}));
        assert_eq!(got.status, 503, "{era:?} {}", got.json());
    }
}

#[test]
fn a_reads_row_is_queued_and_never_waited_for() {
    let scene = scene(Speaks::Modern);
    scene.world.ledger.slow_ms.set(60_000);
    let before = scene.world.timers.now_ms();
    assert_eq!(scene.call(Era::Modern, "jira_get").status, 200);
    assert_eq!(scene.world.timers.now_ms(), before);
    assert_eq!(
        scene.world.steps(),
        ["send jira tools/call", "queued outcome ok"]
    );
}

/// An untouched reply is passed on as the platform holds it, a changed one is ours.
#[test]
fn what_needs_no_change_is_not_copied() {
    let scene = scene(Speaks::Modern);
    let got = scene.call(Era::Modern, "jira_get");
    assert!(matches!(got.body, super::scene::Body::Json(_, true)));
}

/// What came before the unreadable part of a chunk counts, however the bytes are cut.
#[test]
fn an_answer_before_unreadable_bytes_is_an_answer() {
    let answer =
        event(&json!({"jsonrpc":"2.0","id":1,"result":{"content":[],"resultType":"complete"}}));
    let mut bytes = answer.clone().into_bytes();
    bytes.extend_from_slice(b"data: \xff\xfe\n\n");
    for pieces in [
        vec![
            Piece::Bytes(answer.into_bytes()),
            Piece::Bytes(b"data: \xff\n\n".to_vec()),
        ],
        vec![Piece::Bytes(bytes)],
    ] {
        let scene = scene(Speaks::Modern);
        scene.jira.will_answer(Canned::events(pieces));
        let got = scene.call(Era::Modern, "jira_set").messages();
        assert!(got[0].get("result").is_some(), "{got:?}");
        assert_eq!(scene.rows(), ["intent pending -", "outcome ok -"]);
    }
}
