//! Streams that break off, are taken up again, or lose their client.

use portcullis::error::UpstreamFault;
use portcullis::mcp::Era;
use portcullis::portal::ports::Verb;
use serde_json::json;

use super::mcp_server::Speaks;
use super::scene::{Body, Scene};
use super::streams::{done, progress, scene, sent_done, sent_progress};
use super::upstreams::{Canned, Piece, event};

fn bytes(text: &str) -> Piece {
    Piece::Bytes(text.as_bytes().to_vec())
}

/// A legacy scene with a client session, in which the call is the next thing sent.
fn with_session() -> Scene {
    let scene = Scene::new(Speaks::Legacy, Speaks::Legacy).synced();
    scene.world.with_session();
    scene.call(Era::Legacy, "jira_get");
    scene.world.clear();
    scene
}

#[test]
fn a_cut_stream_without_event_ids_is_an_error_and_nothing_is_repeated() {
    for (era, speaks) in [(Era::Modern, Speaks::Modern), (Era::Legacy, Speaks::Legacy)] {
        for end in [
            None,
            Some(Piece::Fault(UpstreamFault::Cut)),
            Some(Piece::Hang),
        ] {
            let scene = scene(speaks);
            let mut pieces = vec![bytes(&event(&sent_progress(1)))];
            let fault = if matches!(end, Some(Piece::Hang)) {
                "upstream_timed_out"
            } else {
                "upstream_cut"
            };
            pieces.extend(end);
            scene.jira.will_answer(Canned::events(pieces));
            let got = scene.call(era, "jira_set").messages();
            assert_eq!(got[0], progress(1));
            assert_eq!(
                (&got[1]["id"], &got[1]["error"]["code"]),
                (&json!(1), &json!(-32000))
            );
            assert_eq!(got.len(), 2);
            assert_eq!(scene.sent(), ["jira tools/call"]);
            assert_eq!(
                scene.rows(),
                [
                    "intent pending -",
                    &format!("outcome upstream_failed {fault}")
                ]
            );
        }
    }
}

/// A modern stream is never taken up again, whatever ids its events have.
#[test]
fn a_modern_stream_is_not_resumed() {
    let scene = scene(Speaks::Modern);
    scene.jira.will_answer(Canned::events(vec![bytes(&format!(
        "id: 7\n{}",
        event(&sent_progress(1))
    ))]));
    let got = scene.call(Era::Modern, "jira_set").messages();
    assert_eq!(got[1]["error"]["code"], -32000);
    assert_eq!(scene.sent(), ["jira tools/call"]);
}

#[test]
fn a_legacy_stream_with_event_ids_is_taken_up_by_get() {
    for era in [Era::Legacy, Era::Modern] {
        for broken in [None, Some(Piece::Fault(UpstreamFault::Unreachable))] {
            let scene = scene(Speaks::Legacy);
            let begun = scene.world.timers.now_ms();
            let first = format!(
                "id: e1\nretry: 2500\ndata:\n\nid: e2\n{}data: half of an ev",
                event(&sent_progress(1))
            );
            let mut pieces = vec![bytes(&first)];
            pieces.extend(broken);
            scene.jira.will_answer(Canned::events(pieces));
            scene.jira.will_answer(Canned::events(vec![bytes(&format!(
                "id: e3\n{}",
                event(&sent_progress(2))
            ))]));
            scene.jira.will_answer(Canned::messages(&[sent_done()]));
            let got = scene.call(era, "jira_set").messages();
            assert_eq!(got, [progress(1), progress(2), done()]);
            assert_eq!(
                scene.sent(),
                ["jira tools/call", "jira GET", "jira GET"],
                "never a second POST"
            );
            let sent = scene.world.upstreams.sent.borrow();
            assert_eq!(sent[1].verb, Verb::Get);
            assert_eq!(sent[1].header("Last-Event-ID"), Some("e2"));
            assert_eq!(sent[2].header("Last-Event-ID"), Some("e3"));
            assert_eq!(
                sent[1].header("Mcp-Session-Id"),
                sent[0].header("Mcp-Session-Id")
            );
            assert_eq!(sent[1].header("Accept"), Some("text/event-stream"));
            assert!(sent[1].body.is_empty());
            assert_eq!(sent[1].rule, sent[0].rule, "under the permit of the call");
            assert_eq!(
                sent[1].at_ms - begun,
                2_500,
                "after the pause the server asked for"
            );
            assert_eq!(scene.rows(), ["intent pending -", "outcome ok -"]);
        }
    }
}

/// A server that closes at once and wants to be asked again (2025-11-25, polling).
#[test]
fn a_server_that_closes_after_its_first_event_is_polled() {
    for pause_ms in [10, 500, 1_000, 3_000] {
        let scene = scene(Speaks::Legacy);
        scene.jira.will_answer(Canned::events(vec![bytes(&format!(
            "id: e1\nretry: {pause_ms}\ndata:\n\n"
        ))]));
        scene.jira.will_answer(Canned::messages(&[sent_done()]));
        let got = scene.call(Era::Legacy, "jira_set").messages();
        assert_eq!(got, [done()], "{pause_ms} ms");
        assert_eq!(
            scene.sent(),
            ["jira tools/call", "jira GET"],
            "{pause_ms} ms"
        );
    }
}

#[test]
fn taking_up_ends_where_the_server_refuses_or_never_answers() {
    let cut = || Canned::events(vec![bytes("id: e1\ndata:\n\n")]);
    for (canned, fault) in [
        (Canned::status(405), "upstream_cut"),
        (Canned::status(404), "upstream_cut"),
        (Canned::json(json!({})), "upstream_cut"),
        (
            Canned::fault(UpstreamFault::Unreachable),
            "upstream_unreachable",
        ),
    ] {
        let scene = scene(Speaks::Legacy);
        scene.jira.will_answer(cut());
        scene.jira.will_answer(canned);
        let got = scene.call(Era::Legacy, "jira_set").messages();
        assert_eq!(got[0]["error"]["code"], -32000);
        assert_eq!(scene.sent(), ["jira tools/call", "jira GET"]);
        assert_eq!(scene.rows()[1], format!("outcome upstream_failed {fault}"));
    }
    let scene = scene(Speaks::Legacy);
    for _ in 0..100 {
        scene.jira.will_answer(cut());
    }
    let got = scene.call(Era::Legacy, "jira_set").messages();
    assert_eq!(got[0]["error"]["code"], -32000);
    let count = scene.world.upstreams.of("GET").len();
    assert!((1..=10).contains(&count), "{count} resumptions");
    assert_eq!(scene.world.upstreams.of("tools/call").len(), 1);
}

/// An empty id takes back the ids before it: there is nothing to come back to.
#[test]
fn an_empty_event_id_means_no_resumption() {
    let scene = scene(Speaks::Legacy);
    scene.jira.will_answer(Canned::events(vec![bytes(
        "id: e1\ndata:\n\nid:\ndata:\n\n",
    )]));
    let got = scene.call(Era::Legacy, "jira_set").messages();
    assert_eq!(got[0]["error"]["code"], -32000);
    assert_eq!(scene.sent(), ["jira tools/call"]);
}

#[test]
fn a_client_that_goes_away_leaves_a_row_and_a_legacy_server_is_told() {
    for (era, speaks) in [
        (Era::Modern, Speaks::Modern),
        (Era::Modern, Speaks::Legacy),
        (Era::Legacy, Speaks::Legacy),
    ] {
        let scene = scene(speaks);
        scene.jira.will_answer(Canned::events(vec![
            bytes(&event(&sent_progress(1))),
            Piece::Hang,
        ]));
        let mut got = scene.call(era, "jira_set");
        assert_eq!(got.next(), Some(progress(1)));
        assert_eq!(scene.world.upstreams.open(), 1);
        drop(got);
        scene.world.settle();
        assert_eq!(scene.rows(), ["intent pending -", "outcome cancelled -"]);
        assert_eq!(scene.world.upstreams.open(), 0, "its connection ends");
        if speaks == Speaks::Modern {
            assert_eq!(scene.sent(), ["jira tools/call"]);
            continue;
        }
        assert_eq!(
            scene.sent(),
            ["jira tools/call", "jira notifications/cancelled"]
        );
        let sent = scene.world.upstreams.sent.borrow();
        let id = &sent[0].json()["id"];
        assert_ne!(
            *id,
            json!(1),
            "callers without a session share the server's"
        );
        assert_eq!(sent[1].json()["params"], json!({"requestId":id}));
        assert_eq!(
            sent[1].header("Mcp-Session-Id"),
            sent[0].header("Mcp-Session-Id")
        );
    }
}

/// Also one that goes away before anything came.
#[test]
fn a_client_that_never_read_its_stream_leaves_a_row() {
    let scene = scene(Speaks::Legacy);
    scene.jira.will_answer(Canned::events(vec![Piece::Hang]));
    let got = scene.call(Era::Legacy, "jira_get");
    assert!(got.is_stream());
    drop(got);
    scene.world.settle();
    assert_eq!(scene.rows(), ["outcome cancelled -"]);
    assert_eq!(
        scene.sent(),
        ["jira tools/call", "jira notifications/cancelled"]
    );
}

/// The client goes away while the outcome is on its way to the ledger: the call still has an end in the audit.
#[test]
fn a_client_that_goes_away_while_the_outcome_is_written_leaves_a_row() {
    let scene = scene(Speaks::Modern);
    scene
        .jira
        .will_answer(Canned::messages(&[sent_progress(1), sent_done()]));
    let mut got = scene.call(Era::Modern, "jira_set");
    assert_eq!(got.next(), Some(progress(1)));
    scene.world.ledger.slow_ms.set(5_000);
    assert_eq!(got.next_until(scene.world.timers.now_ms() + 1_000), None);
    drop(got);
    scene.world.settle();
    assert_eq!(scene.rows().len(), 2, "{:?}", scene.rows());
}

/// Whatever ends a call, nothing is in flight after it: a later cancellation of the same id is nobody's.
#[test]
fn nothing_stays_in_flight() {
    let cases: [(&str, Canned); 5] = [
        ("answered", Canned::messages(&[sent_done()])),
        ("cut", Canned::events(Vec::new())),
        ("unreachable", Canned::fault(UpstreamFault::Unreachable)),
        ("status", Canned::status(500)),
        (
            "client gone",
            Canned::events(vec![bytes(&event(&sent_progress(1))), Piece::Hang]),
        ),
    ];
    for (what, canned) in cases {
        let scene = with_session();
        scene.jira.will_answer(canned);
        let mut got = scene.call(Era::Legacy, "jira_set");
        if matches!(got.body, Body::Events(_)) {
            got.next();
        }
        drop(got);
        scene.world.settle();
        assert!(scene.world.session().in_flight.is_empty(), "{what}");
    }
}

/// While a call is under way its server is known, so that a cancellation finds it.
#[test]
fn a_legacy_client_cancels_what_is_in_flight() {
    let scene = with_session();
    scene.jira.will_answer(Canned::events(vec![
        bytes(&event(&sent_progress(1))),
        Piece::Hang,
    ]));
    let mut got = scene.call(Era::Legacy, "jira_set");
    assert_eq!(got.next(), Some(progress(1)));
    let cancel = json!({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"enough"}});
    assert_eq!(scene.send("alice", Era::Legacy, &cancel).status, 202);
    let sent = scene.world.upstreams.of("notifications/cancelled");
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].json(), cancel);
}
