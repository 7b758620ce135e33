//! What goes wrong with a server over HTTP+SSE, by name.

use super::line::{assert_closed, endpoint};
use super::line_server::{known_line, message, named};
use super::streams::{progress, sent_progress};
use super::upstreams::{Canned, Piece};
use portcullis::error::UpstreamFault;
use portcullis::limits::{CLIENT_EVENT_BYTES_MAX, UPSTREAM_EVENT_BYTES_MAX};
use portcullis::mcp::Era;
use serde_json::json;

#[test]
fn a_call_that_goes_wrong_is_named() {
    let text = |text: &str| Piece::Bytes(text.as_bytes().to_vec());
    let rows: Vec<(&str, Vec<Piece>, &str)> = vec![
        (
            "the end",
            vec![Piece::Fault(UpstreamFault::Cut)],
            "upstream_cut",
        ),
        ("silence", vec![], "upstream_timed_out"),
        (
            "a second endpoint",
            vec![named("endpoint", "/messages?c=9")],
            "upstream_bad_answer",
        ),
        (
            "a second endpoint elsewhere",
            vec![named("endpoint", "//evil.example/")],
            "upstream_bad_answer",
        ),
        (
            "no message",
            vec![named("message", "hello")],
            "upstream_bad_answer",
        ),
        (
            "another answer",
            vec![message(&json!({"jsonrpc":"2.0","id":"other","result":{}}))],
            "upstream_bad_answer",
        ),
        (
            "no UTF-8",
            vec![Piece::Bytes(b"data: \xff\n\n".to_vec())],
            "upstream_bad_answer",
        ),
        (
            "an endless event",
            vec![text(&format!(
                "data: {}",
                "x".repeat(UPSTREAM_EVENT_BYTES_MAX)
            ))],
            "upstream_bad_answer",
        ),
        (
            "events of no name of ours",
            vec![named(
                "other",
                "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}",
            )],
            "upstream_timed_out",
        ),
    ];
    for (what, pieces, label) in rows {
        for era in [Era::Modern, Era::Legacy] {
            let (scene, server) = known_line();
            server.mcp.will_answer(Canned::events(pieces.clone()));
            let got = scene.call(era, "jira_set").messages();
            assert_eq!(got.len(), 1, "{what}: {got:?}");
            assert_eq!(got[0]["error"]["code"], -32000, "{what}: {got:?}");
            assert_eq!(
                scene.rows(),
                [
                    "intent pending -",
                    &format!("outcome upstream_failed {label}")
                ],
                "{what}"
            );
            assert_closed(&scene);
            assert_eq!(
                scene.world.upstreams.of("tools/call").len(),
                1,
                "never again"
            );
            let told = scene.world.upstreams.of("notifications/cancelled");
            assert_eq!(
                told.len(),
                usize::from(label == "upstream_timed_out"),
                "{what}"
            );
            assert!(told.iter().all(|sent| sent.to == Some(endpoint(1))));
        }
    }
}

/// The server's stream closes in good order, without the answer.
#[test]
fn a_stream_that_ends_is_cut() {
    let (scene, server) = known_line();
    server
        .mcp
        .will_answer(Canned::messages(&[sent_progress(1)]));
    let mut got = scene.call(Era::Legacy, "jira_get");
    assert_eq!(got.next(), Some(progress(1)));
    server.feed().close();
    let ended = got.next().unwrap();
    assert!(
        ended["error"]["message"]
            .as_str()
            .unwrap()
            .contains("ended its stream")
    );
    assert_eq!(got.next(), None);
    drop(got);
    assert_closed(&scene);
}

/// The status of a POST is the fault it means.
#[test]
fn a_call_that_is_not_taken_is_named() {
    for (refused, label, words) in [
        (Canned::status(400), "upstream_status", "400"),
        (Canned::status(401), "upstream_unauthorized", "credential"),
        (Canned::status(404), "upstream_status", "404"),
        (Canned::status(413), "upstream_status", "413"),
        (Canned::status(429), "upstream_rate_limited", "wait"),
        (Canned::status(500), "upstream_status", "500"),
        (Canned::status(307), "upstream_redirected", "redirect"),
        (
            Canned::fault(UpstreamFault::Unreachable),
            "upstream_unreachable",
            "reached",
        ),
        // Neither a reply nor an answer.
        (Canned::hang(), "upstream_timed_out", "within 4000 ms"),
    ] {
        let (scene, server) = known_line();
        *server.refuses.borrow_mut() = Some(("tools/call", refused));
        let got = scene.call(Era::Modern, "jira_set").messages();
        let message = got[0]["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
        assert_eq!(
            scene.rows(),
            [
                "intent pending -",
                &format!("outcome upstream_failed {label}")
            ]
        );
        assert_closed(&scene);
    }
}

/// Like every server's: whole as JSON, refused by name where it would have to be an event.
#[test]
fn a_large_answer_is_json_or_an_error() {
    let large = json!({"jsonrpc":"2.0","id":"$ID","result":{"content":[{"type":"text","text":"x".repeat(CLIENT_EVENT_BYTES_MAX)}]}});
    let (scene, server) = known_line();
    server
        .mcp
        .will_answer(Canned::messages(std::slice::from_ref(&large)));
    let got = scene.call(Era::Legacy, "jira_get");
    assert_eq!(
        got.result()["content"][0]["text"].as_str().unwrap().len(),
        CLIENT_EVENT_BYTES_MAX
    );
    drop(got);
    let (scene, server) = known_line();
    server
        .mcp
        .will_answer(Canned::messages(&[sent_progress(1), large]));
    let got = scene.call(Era::Legacy, "jira_get").messages();
    assert!(
        got[1]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("too large")
    );
    assert_closed(&scene);
}
