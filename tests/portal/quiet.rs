//! Streams on which nothing happens: kept open for the client, and ended when the call has lasted too long.

use portcullis::limits::{CALL_TIMEOUTS_MAX, KEEP_ALIVE_MS};
use portcullis::mcp::Era;
use serde_json::{Value, json};

use super::mcp_server::Speaks;
use super::scene::{Scene, document};
use super::streams::{done, done_for, progress, sent_done, sent_progress};
use super::upstreams::{Canned, Piece, event};

const PAIRINGS: [(Era, Speaks); 4] = [
    (Era::Modern, Speaks::Modern),
    (Era::Modern, Speaks::Legacy),
    (Era::Legacy, Speaks::Legacy),
    (Era::Legacy, Speaks::Modern),
];

const TIMED_OUT: [&str; 2] = [
    "intent pending -",
    "outcome upstream_failed upstream_timed_out",
];

/// Servers with this time-out; the call is the next thing sent.
fn scene(speaks: Speaks, timeout_ms: u64) -> Scene {
    let mut document = document();
    document["servers"]["jira"]["timeout_ms"] = timeout_ms.into();
    let scene = Scene::of(&document, speaks, speaks).synced();
    scene.call(Era::Legacy, "jira_get");
    scene.world.clear();
    scene
}

/// What a client sees and when, in milliseconds since it called; nothing stands for a keep-alive.
fn seen(scene: &Scene, era: Era, pieces: Vec<Piece>) -> Vec<(u64, Option<Value>)> {
    scene.jira.will_answer(Canned::events(pieces));
    let begun = scene.world.timers.now_ms();
    let timed = scene.call(era, "jira_set").timed().into_iter();
    timed.map(|(at, message)| (at - begun, message)).collect()
}

fn bytes(message: &Value) -> Piece {
    Piece::Bytes(event(message).into_bytes())
}

/// Every moment a quiet stream is kept open at, before a moment.
fn beats(until_ms: u64) -> Vec<(u64, Option<Value>)> {
    let count = (until_ms - 1) / KEEP_ALIVE_MS;
    (1..=count)
        .map(|beat| (beat * KEEP_ALIVE_MS, None))
        .collect()
}

#[track_caller]
fn assert_timed_out(message: Option<&Value>) {
    let message = message.expect("a message");
    assert_eq!(message["id"], 1);
    assert_eq!(message["error"]["code"], -32000, "{message}");
    let text = message["error"]["message"].as_str().unwrap();
    assert!(text.contains("did not answer within"), "{text}");
}

#[test]
fn a_quiet_stream_is_kept_open() {
    for (era, speaks) in PAIRINGS {
        let scene = scene(speaks, 60_000);
        let answer_at = 3 * KEEP_ALIVE_MS + 5_000;
        let got = seen(
            &scene,
            era,
            vec![Piece::Wait(answer_at), bytes(&sent_done())],
        );
        let mut expected = beats(answer_at);
        assert_eq!(expected.len(), 3);
        expected.push((answer_at, Some(done_for(era, speaks))));
        assert_eq!(got, expected, "{era:?} {speaks:?}");
        assert_eq!(scene.rows(), ["intent pending -", "outcome ok -"]);
        assert_eq!(scene.sent(), ["jira tools/call"]);
    }
}

/// The clock starts again with each message.
#[test]
fn a_stream_that_is_not_quiet_is_left_alone() {
    for (era, speaks) in PAIRINGS {
        let scene = scene(speaks, 60_000);
        let pieces = vec![
            Piece::Wait(KEEP_ALIVE_MS - 1),
            bytes(&sent_progress(1)),
            Piece::Wait(KEEP_ALIVE_MS - 1),
            bytes(&sent_progress(2)),
            Piece::Wait(KEEP_ALIVE_MS + 1),
            bytes(&sent_done()),
        ];
        let first = KEEP_ALIVE_MS - 1;
        let expected = [
            (first, Some(progress(1))),
            (2 * first, Some(progress(2))),
            (2 * first + KEEP_ALIVE_MS, None),
            (2 * first + KEEP_ALIVE_MS + 1, Some(done_for(era, speaks))),
        ];
        assert_eq!(seen(&scene, era, pieces), expected, "{era:?} {speaks:?}");
    }
}

/// What is kept alive is the client's connection: a server that keeps its own alive, or speaks to others, does nothing
/// for it.
#[test]
fn what_never_reaches_the_client_keeps_nothing_open() {
    let other = json!({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"other","progress":1}});
    for noise in [": ping\n\n".to_owned(), event(&other)] {
        let scene = scene(Speaks::Legacy, 60_000);
        let mut pieces = Vec::new();
        for _ in 0..10 {
            pieces.extend([
                Piece::Wait(10_000),
                Piece::Bytes(noise.clone().into_bytes()),
            ]);
        }
        pieces.push(bytes(&sent_done()));
        let got = seen(&scene, Era::Modern, pieces);
        let mut before = 0;
        for (at, _) in &got {
            assert!(
                at - before <= KEEP_ALIVE_MS,
                "{noise}: silent from {before} to {at} ms"
            );
            before = *at;
        }
        assert_eq!(got.last(), Some(&(100_000, Some(done()))));
    }
}

/// Nor does a pause before a stream is taken up again, however long the server asks for.
#[test]
fn a_stream_is_kept_open_while_it_is_taken_up_again() {
    let scene = scene(Speaks::Legacy, 60_000);
    let text = format!("id: e1\nretry: 30000\n{}", event(&sent_progress(1)));
    scene
        .jira
        .will_answer(Canned::events(vec![Piece::Bytes(text.into_bytes())]));
    scene.jira.will_answer(Canned::messages(&[sent_done()]));
    let begun = scene.world.timers.now_ms();
    let got = scene.call(Era::Legacy, "jira_set").timed();
    let got: Vec<_> = got.into_iter().map(|(at, m)| (at - begun, m)).collect();
    assert_eq!(
        got,
        [
            (0, Some(progress(1))),
            (KEEP_ALIVE_MS, None),
            (30_000, Some(done())),
        ]
    );
}

/// A client that goes away from a quiet stream is noticed like any other.
#[test]
fn who_leaves_a_quiet_stream_is_noticed() {
    for (era, speaks) in PAIRINGS {
        let scene = scene(speaks, 60_000);
        scene
            .jira
            .will_answer(Canned::events(vec![Piece::Wait(1_000_000)]));
        let mut got = scene.call(era, "jira_set");
        let now = scene.world.timers.now_ms();
        assert_eq!(got.next_until(now + 2 * KEEP_ALIVE_MS), None, "still quiet");
        drop(got);
        scene.world.settle();
        assert_eq!(scene.rows(), ["intent pending -", "outcome cancelled -"]);
        assert_eq!(scene.world.upstreams.open(), 0);
        let mut expected = vec!["jira tools/call"];
        if speaks == Speaks::Legacy {
            expected.push("jira notifications/cancelled");
        }
        assert_eq!(scene.sent(), expected, "{era:?} {speaks:?}");
    }
}

/// Silence is bounded by the time-out, and kept open until then.
#[test]
fn a_silent_server_is_given_up_after_its_time_out() {
    for (era, speaks) in PAIRINGS {
        let timeout_ms = 40_000;
        let scene = scene(speaks, timeout_ms);
        let mut got = seen(&scene, era, vec![Piece::Hang]);
        let (at, end) = got.pop().unwrap();
        assert_eq!((at, got), (timeout_ms, beats(timeout_ms)));
        assert_timed_out(end.as_ref());
        assert_eq!(scene.rows(), TIMED_OUT);
    }
}

/// Progress without end is no reason to go on for ever.
#[test]
fn a_call_ends_after_its_longest_life_whatever_the_server_sends() {
    for (era, speaks) in PAIRINGS {
        let timeout_ms = 7_000;
        let life_ms = timeout_ms * CALL_TIMEOUTS_MAX;
        let scene = scene(speaks, timeout_ms);
        let mut pieces = Vec::new();
        for step in 1..200 {
            pieces.extend([Piece::Wait(6_000), bytes(&sent_progress(step))]);
        }
        let mut got = seen(&scene, era, pieces);
        let (at, end) = got.pop().unwrap();
        assert_eq!(at, life_ms, "{era:?} {speaks:?}");
        assert_timed_out(end.as_ref());
        let steps = 1..=(life_ms - 1) / 6_000;
        let expected: Vec<_> = steps
            .map(|step| (step * 6_000, Some(progress(step))))
            .collect();
        got.retain(|(at, message)| *at < life_ms || message.is_some());
        assert_eq!(got, expected, "{era:?} {speaks:?}");
        assert_eq!(scene.rows(), TIMED_OUT, "{era:?} {speaks:?}");
        assert_eq!(scene.world.upstreams.open(), 0, "its connection ends");
        assert_eq!(scene.world.upstreams.of("tools/call").len(), 1);
    }
}

/// Nor are bytes that are no messages.
#[test]
fn a_call_ends_after_its_longest_life_also_where_nothing_is_said() {
    let life_ms = 7_000 * CALL_TIMEOUTS_MAX;
    for (era, speaks) in PAIRINGS {
        let scene = scene(speaks, 7_000);
        let mut pieces = Vec::new();
        for _ in 0..200 {
            pieces.extend([Piece::Wait(6_000), Piece::Bytes(b": ping\n\n".to_vec())]);
        }
        let mut got = seen(&scene, era, pieces);
        let (at, end) = got.pop().unwrap();
        assert_eq!(at, life_ms, "{era:?} {speaks:?}");
        assert_timed_out(end.as_ref());
        assert!(got.iter().all(|(_, message)| message.is_none()), "{got:?}");
        assert_eq!(scene.rows(), TIMED_OUT);
        assert_eq!(scene.world.upstreams.open(), 0);
    }
}

/// An answer in the last moment counts, one after it does not.
#[test]
fn an_answer_within_the_longest_life_counts() {
    let life_ms = 1_000 * CALL_TIMEOUTS_MAX;
    for (era, speaks) in PAIRINGS {
        for (at, is_in_time) in [(life_ms - 1, true), (life_ms + 1, false)] {
            let scene = scene(speaks, 1_000);
            let mut got = seen(&scene, era, vec![Piece::Wait(at), bytes(&sent_done())]);
            // Whether the stream is kept open in its last moment is nobody's concern.
            got.retain(|(at, message)| *at < life_ms || message.is_some());
            if is_in_time {
                assert_eq!(
                    got,
                    [(at, Some(done_for(era, speaks)))],
                    "{era:?} {speaks:?}"
                );
            } else {
                assert_eq!((got.len(), got[0].0), (1, life_ms), "{era:?} {speaks:?}");
                assert_timed_out(got[0].1.as_ref());
                assert_eq!(scene.rows(), TIMED_OUT);
            }
        }
    }
}

/// Pauses between the pieces of a stream count as life too.
#[test]
fn taking_a_stream_up_again_lengthens_no_life() {
    let life_ms = 1_000 * CALL_TIMEOUTS_MAX;
    let scene = scene(Speaks::Legacy, 1_000);
    for _ in 0..20 {
        let cut = Piece::Bytes(b"id: e1\nretry: 4000\ndata:\n\n".to_vec());
        scene.jira.will_answer(Canned::events(vec![cut]));
    }
    let begun = scene.world.timers.now_ms();
    let got = scene.call(Era::Legacy, "jira_set").timed();
    let (at, end) = got.last().unwrap();
    assert_eq!(at - begun, life_ms);
    assert_timed_out(end.as_ref());
    assert_eq!(scene.rows(), TIMED_OUT);
}

/// A legacy server that is given up is told, so that it does not go on for nobody (MCP 2025-11-25, basic/lifecycle).
#[test]
fn a_legacy_server_that_is_given_up_is_told() {
    for (era, with_session) in [
        (Era::Modern, false),
        (Era::Legacy, false),
        (Era::Legacy, true),
    ] {
        for piece in [Piece::Hang, Piece::Wait(1_000_000)] {
            let scene = Scene::new(Speaks::Legacy, Speaks::Legacy).synced();
            if with_session {
                scene.world.with_session();
            }
            scene.call(Era::Legacy, "jira_get");
            scene.world.clear();
            scene.jira.will_answer(Canned::events(vec![piece]));
            let got = scene.call(era, "jira_set").timed();
            assert_timed_out(got.last().unwrap().1.as_ref());
            scene.world.settle();
            assert_eq!(
                scene.sent(),
                ["jira tools/call", "jira notifications/cancelled"],
                "{era:?} {with_session}"
            );
            let sent = scene.world.upstreams.sent.borrow();
            let id = &sent[0].json()["id"];
            assert_eq!(sent[1].json()["params"]["requestId"], *id);
        }
    }
}
