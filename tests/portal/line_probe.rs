//! When HTTP+SSE is tried, and what is remembered of it.

use portcullis::catalog::SnapshotKey;
use portcullis::error::UpstreamFault;
use portcullis::limits::SNAPSHOT_TTL_DEFAULT_MS;
use portcullis::mcp::Era;
use portcullis::portal::ports::{BodyKind, Catalogs as _, Verb};
use serde_json::{Value, json};

use super::line_server::{known_line, line_scene, message, named};
use super::mcp_server::{Mcp, Speaks, rpc_error};
use super::scene::Scene;
use super::sync::{LISTS, list, methods, names};
use super::upstreams::{Canned, Piece, event};

const HANDSHAKE: [&str; 3] = ["GET", "initialize", "notifications/initialized"];

fn on_line() -> Vec<&'static str> {
    [&HANDSHAKE[..], &LISTS].concat()
}

fn tools() -> Vec<&'static str> {
    vec!["jira_get", "jira_set"]
}

fn gets(scene: &Scene) -> usize {
    let sent = scene.world.upstreams.sent.borrow();
    sent.iter().filter(|sent| sent.verb == Verb::Get).count()
}

fn is_known_as_line(scene: &Scene) -> bool {
    let key = SnapshotKey::shared("jira");
    let found = scene.world.timers.run(scene.world.snapshot(&key));
    found.expect("a snapshot").facts.events
}

#[test]
fn the_documented_order_ends_at_the_stream() {
    for (transport, era, before) in [
        ("auto", "auto", vec!["server/discover", "initialize"]),
        ("auto", "legacy", vec!["initialize"]),
        ("http_sse", "auto", vec![]),
        ("http_sse", "legacy", vec![]),
    ] {
        let (scene, _) = line_scene(transport, era);
        assert_eq!(names(&scene, "alice"), tools());
        assert_eq!(
            methods(&scene),
            [before.clone(), on_line()].concat(),
            "{transport} {era}"
        );
        assert!(is_known_as_line(&scene));
        for (index, sent) in scene.world.upstreams.sent.borrow().iter().enumerate() {
            let is_posted = sent.verb == Verb::Post && index >= before.len();
            let expected = is_posted.then_some("http://127.0.0.1:9101/messages?c=0");
            assert_eq!(sent.to.as_deref(), expected, "{}", sent.method());
            assert_eq!((&*sent.rule, sent.is_write), ("sync", false));
        }
        assert_eq!(scene.world.upstreams.open(), 0, "closed when it is done");
    }
}

#[test]
fn no_other_configuration_opens_a_stream() {
    for (transport, era) in [
        ("streamable_http", "auto"),
        ("streamable_http", "legacy"),
        ("streamable_http", "modern"),
        ("auto", "modern"),
    ] {
        let (scene, _) = line_scene(transport, era);
        list(&scene, "alice");
        assert_eq!(gets(&scene), 0, "{transport} {era}");
    }
}

/// A refusal, a limit, a redirect, an error or silence says nothing about the transport; 400 is what a server of the newer
/// one says. An answer of the protocol comes from a server that took the POST.
#[test]
fn only_a_server_that_takes_no_post_is_asked_for_a_stream() {
    let json = |status, body: String| Canned::with(status, BodyKind::Json, body);
    let rows: Vec<(&str, Canned, bool, &str)> = vec![
        ("404", Canned::status(404), true, ""),
        ("405", Canned::status(405), true, ""),
        ("406", Canned::status(406), true, ""),
        (
            "404 with a page",
            Canned::with(404, BodyKind::Other, "<h1>Cannot POST</h1>"),
            true,
            "",
        ),
        (
            "404 with other JSON",
            json(404, json!({"error":"not found"}).to_string()),
            true,
            "",
        ),
        (
            "405 with an error",
            json(405, rpc_error(&Value::Null, -32000, "x")),
            false,
            "revision",
        ),
        (
            "404 with an error",
            json(404, rpc_error(&Value::Null, -32601, "x")),
            false,
            "revision",
        ),
        ("400", Canned::status(400), false, "400"),
        ("401", Canned::status(401), false, "credential"),
        ("402", Canned::status(402), false, "402"),
        ("403", Canned::status(403), false, "credential"),
        ("407", Canned::status(407), false, "407"),
        ("408", Canned::status(408), false, "408"),
        ("409", Canned::status(409), false, "409"),
        ("410", Canned::status(410), false, "410"),
        ("415", Canned::status(415), false, "415"),
        ("422", Canned::status(422), false, "422"),
        ("429", Canned::status(429), false, "wait"),
        ("500", Canned::status(500), false, "500"),
        ("501", Canned::status(501), false, "501"),
        ("502", Canned::status(502), false, "502"),
        ("503", Canned::status(503), false, "503"),
        ("301", Canned::status(301), false, "redirect"),
        ("302", Canned::status(302), false, "redirect"),
        ("307", Canned::status(307), false, "redirect"),
        ("200 and nothing", Canned::status(200), false, "message"),
        ("202", Canned::status(202), false, "message"),
        ("silence", Canned::hang(), false, "within"),
        (
            "no connection",
            Canned::fault(UpstreamFault::Unreachable),
            false,
            "reached",
        ),
    ];
    for (what, canned, is_tried, words) in &rows {
        for era in ["auto", "legacy"] {
            let (scene, server) = line_scene("auto", era);
            *server.own_address.borrow_mut() = canned.clone();
            let got = list(&scene, "alice");
            assert_eq!(gets(&scene), usize::from(*is_tried), "{what} {era}");
            let is_listed = got.json()["result"]["tools"][0].is_object();
            assert_eq!(is_listed, *is_tried, "{what} {era}: {}", got.json());
            let is_named = got.json().to_string().contains(words);
            assert!(is_named, "{what} {era}: {}", got.json());
        }
    }
    // A server that is known is asked the handshake first, and the same holds of it.
    for (what, canned, is_tried, _) in rows {
        let (scene, server) = line_scene("auto", "auto");
        scene.world.upstreams.serve("jira", {
            let mcp = Mcp::new(Speaks::Legacy);
            mcp.answering()
        });
        names(&scene, "alice");
        assert!(!is_known_as_line(&scene));
        *server.own_address.borrow_mut() = canned;
        scene.world.upstreams.serve("jira", server.answering());
        scene.world.timers.pass(SNAPSHOT_TTL_DEFAULT_MS + 1);
        scene.world.clear();
        list(&scene, "alice");
        scene.world.settle();
        assert_eq!(gets(&scene), usize::from(is_tried), "{what}");
    }
}

/// Both questions have to be answered so: a server that answers only one of them this way takes POST.
#[test]
fn one_question_alone_is_not_enough() {
    for (discover, initialize) in [(405, 400), (400, 405), (404, 500), (405, 401)] {
        let (scene, server) = line_scene("auto", "auto");
        let mut others = server.answering();
        scene
            .world
            .upstreams
            .serve("jira", move |sent| match &*sent.method() {
                "server/discover" => Canned::status(discover),
                "initialize" if sent.to.is_none() => Canned::status(initialize),
                _ => others(sent),
            });
        list(&scene, "alice");
        assert_eq!(gets(&scene), 0, "{discover} {initialize}");
    }
}

#[test]
fn what_was_found_is_tried_first_the_next_time() {
    let (scene, _) = known_line();
    for _ in 0..2 {
        scene.world.timers.pass(SNAPSHOT_TTL_DEFAULT_MS + 1);
        names(&scene, "alice");
        assert_eq!(methods(&scene), on_line());
        scene.world.clear();
    }
}

#[test]
fn what_holds_no_more_is_found_out_anew() {
    let streams: [Option<Canned>; 5] = [
        Some(Canned::status(405)),
        Some(Canned::status(404)),
        Some(Canned::with(200, BodyKind::Other, "<h1>Hello</h1>")),
        Some(Canned::events(vec![Piece::Hang])),
        Some(Canned::events(vec![Piece::Bytes(
            event(&json!({"x":1})).into_bytes(),
        )])),
    ];
    for speaks in [Speaks::Legacy, Speaks::Modern, Speaks::Both] {
        for stream in &streams {
            let (scene, _) = known_line();
            let mcp = Mcp::new(speaks);
            *mcp.tools.borrow_mut() = vec![json!({"name":"new","inputSchema":{}})];
            let (mut answers, stream) = (mcp.answering(), stream.clone());
            scene.world.upstreams.serve("jira", move |sent| {
                let is_stream = sent.verb == Verb::Get;
                stream
                    .clone()
                    .filter(|_| is_stream)
                    .unwrap_or_else(|| answers(sent))
            });
            scene.world.timers.pass(SNAPSHOT_TTL_DEFAULT_MS + 1);
            names(&scene, "alice");
            scene.world.settle();
            assert_eq!(methods(&scene)[0], "GET");
            assert_eq!(names(&scene, "alice"), ["jira_new"], "{speaks:?}");
            // Nothing of what it was is held against it.
            let got = scene.call(Era::Legacy, "jira_new");
            assert_eq!(got.result()["content"][0]["text"], "done", "{speaks:?}");
            assert!(!is_known_as_line(&scene));
        }
    }
    // What says nothing about the transport leaves what is known.
    for stream in [
        Canned::status(401),
        Canned::status(503),
        Canned::status(302),
        Canned::hang(),
    ] {
        let (scene, server) = known_line();
        *server.stream.borrow_mut() = Some(stream);
        scene.world.timers.pass(SNAPSHOT_TTL_DEFAULT_MS + 1);
        assert_eq!(names(&scene, "alice"), tools(), "what is stored");
        assert_eq!(methods(&scene), ["GET"]);
        assert!(is_known_as_line(&scene));
    }
}

/// The call that finds the server changed fails by name, with nothing called; the next one succeeds.
#[test]
fn a_call_that_finds_another_transport_has_it_found_out() {
    let (scene, _) = known_line();
    scene
        .world
        .upstreams
        .serve("jira", Mcp::new(Speaks::Legacy).answering());
    let got = scene.call(Era::Legacy, "jira_set");
    assert_eq!(got.code(), -32000);
    assert!(
        got.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("404"),
        "{}",
        got.json()
    );
    assert_eq!(scene.sent(), ["jira GET"]);
    assert_eq!(
        scene.rows(),
        [
            "intent pending -",
            "outcome upstream_failed upstream_status"
        ]
    );
    let got = scene.call(Era::Legacy, "jira_set");
    assert_eq!(got.result()["content"][0]["text"], "done");
}

/// The configuration's word counts at once, whatever is stored.
#[test]
fn a_pinned_transport_does_not_wait_for_the_next_listing() {
    let (mut scene, server) = known_line();
    let mut document = super::scene::document();
    document["portals"]["main"]["servers"] = json!(["jira"]);
    document["servers"]["jira"]["transport"] = "streamable_http".into();
    scene.apply(&document);
    *server.own_address.borrow_mut() = Canned::status(405);
    assert_eq!(scene.call(Era::Legacy, "jira_get").code(), -32000);
    assert_eq!(scene.sent(), ["jira initialize"]);
}

/// What an administrator reads of a stream that is none.
#[test]
fn a_stream_that_is_none_is_named() {
    let text = |text: &str| Canned::events(vec![Piece::Bytes(text.as_bytes().to_vec())]);
    for (what, stream, words) in [
        (
            "silence",
            Canned::events(vec![Piece::Hang]),
            "names no endpoint",
        ),
        ("the end", Canned::events(vec![]), "names no endpoint"),
        (
            "comments",
            Canned::events(vec![Piece::Bytes(b": ping\n\n".to_vec()), Piece::Hang]),
            "names no endpoint",
        ),
        (
            "half an event",
            text("event: endpoint\ndata: /m"),
            "names no endpoint",
        ),
        (
            "a message",
            Canned::events(vec![message(
                &json!({"jsonrpc":"2.0","method":"ping","id":1}),
            )]),
            "does not begin",
        ),
        (
            "another event",
            Canned::events(vec![named("hello", "x"), named("endpoint", "/m?c=0")]),
            "does not begin",
        ),
        (
            "garbage",
            text("\u{fffd}\u{1}\u{2}\n\ngarbage\n\ndata: x\n\n"),
            "does not begin",
        ),
        (
            "no UTF-8",
            Canned::events(vec![Piece::Bytes(b"data: \xff\n\n".to_vec())]),
            "unreadable",
        ),
        (
            "no address",
            Canned::events(vec![named("endpoint", "/a b")]),
            "no address",
        ),
        (
            "nothing",
            Canned::events(vec![named("endpoint", "")]),
            "no address",
        ),
        (
            "another origin",
            Canned::events(vec![named("endpoint", "https://evil.example/m")]),
            "another origin",
        ),
        (
            "another port",
            Canned::events(vec![named("endpoint", "http://127.0.0.1:9102/m")]),
            "another origin",
        ),
        (
            "a page",
            Canned::with(200, BodyKind::Other, "x"),
            "no event stream",
        ),
        ("JSON", Canned::json(json!({})), "no event stream"),
        ("401", Canned::status(401), "credential"),
        ("503", Canned::status(503), "503"),
        ("a redirect", Canned::status(307), "redirect"),
        (
            "a cut",
            Canned::events(vec![Piece::Fault(UpstreamFault::Cut)]),
            "ended its stream",
        ),
    ] {
        let (scene, server) = line_scene("http_sse", "auto");
        *server.stream.borrow_mut() = Some(stream);
        let began_ms = scene.world.timers.now_ms();
        let got = list(&scene, "alice").json().to_string();
        assert!(got.contains(words), "{what}: {got}");
        assert!(scene.world.timers.now_ms() - began_ms <= 5_000, "{what}");
        assert_eq!(methods(&scene), ["GET"], "{what}: nothing is posted");
        assert_eq!(scene.world.upstreams.open(), 0, "{what}");
    }
    // Where nothing says that the server speaks the transport, what the documented one was answered is told.
    for (stream, words) in [
        (Canned::status(404), "405"),
        (Canned::with(200, BodyKind::Other, "x"), "405"),
        (Canned::status(401), "credential"),
        (Canned::events(vec![Piece::Hang]), "names no endpoint"),
        (
            Canned::events(vec![named("endpoint", "//evil.example/m")]),
            "another origin",
        ),
    ] {
        let (scene, server) = line_scene("auto", "auto");
        *server.stream.borrow_mut() = Some(stream);
        let got = list(&scene, "alice").json().to_string();
        assert!(got.contains(words), "{got}");
    }
}

/// A server may ask in the middle of a listing, and is not left waiting.
#[test]
fn a_server_that_asks_while_it_is_listed_is_declined() {
    for (method, expected) in [
        (
            "roots/list",
            json!({"jsonrpc":"2.0","id":5,"error":{"code":-32601,"message":"The client cannot be asked here."}}),
        ),
        ("ping", json!({"jsonrpc":"2.0","id":5,"result":{}})),
    ] {
        let (scene, server) = line_scene("auto", "auto");
        let question = json!({"jsonrpc":"2.0","id":5,"method":method});
        *server.before.borrow_mut() = Some(("tools/list", question));
        assert_eq!(names(&scene, "alice"), tools());
        let answers = scene.world.upstreams.of("response");
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].json(), expected);
        assert_eq!(
            answers[0].to.as_deref(),
            Some("http://127.0.0.1:9101/messages?c=0")
        );
    }
}

/// A server that does nothing but ask is answered a bounded number of times.
#[test]
fn a_server_that_does_nothing_but_ask_is_bounded() {
    let (scene, server) = line_scene("http_sse", "auto");
    let question = message(&json!({"jsonrpc":"2.0","id":5,"method":"ping"}));
    let mut pieces = vec![named("endpoint", "/messages?c=0")];
    pieces.extend(vec![question; 500]);
    pieces.push(Piece::Hang);
    *server.stream.borrow_mut() = Some(Canned::events(pieces));
    server
        .feeds
        .borrow_mut()
        .push(super::upstreams::Feed::default());
    let got = list(&scene, "alice").json().to_string();
    assert!(got.contains("within 4000 ms"), "{got}");
    assert_eq!(
        scene.world.upstreams.of("response").len(),
        portcullis::limits::DECLINED_MAX
    );
}

#[test]
fn a_faulty_handshake_is_named() {
    for (refused, words) in [
        (Canned::status(404), "404"),
        (Canned::status(401), "credential"),
        (Canned::status(500), "500"),
        (Canned::status(302), "redirect"),
        (Canned::hang(), "within 4000 ms"),
        (Canned::status(202), "within 4000 ms"),
    ] {
        let (scene, server) = line_scene("http_sse", "auto");
        *server.refuses.borrow_mut() = Some(("initialize", refused));
        let got = list(&scene, "alice").json().to_string();
        assert!(got.contains(words), "{got}");
        assert_eq!(methods(&scene), ["GET", "initialize"]);
        assert_eq!(scene.world.upstreams.open(), 0);
    }
    for (result, words) in [
        (
            json!({"protocolVersion":"2026-07-28"}),
            "no protocol revision",
        ),
        (
            json!({"protocolVersion":"1999-01-01"}),
            "no protocol revision",
        ),
        (json!({}), "without protocolVersion"),
    ] {
        let (scene, server) = line_scene("http_sse", "auto");
        let said = json!({"jsonrpc":"2.0","id":"portcullis-initialize","result":result});
        *server.before.borrow_mut() = Some(("initialize", said));
        let got = list(&scene, "alice").json().to_string();
        assert!(got.contains(words), "{got}");
    }
}

#[test]
fn a_snapshot_of_before_loads_and_says_nothing_of_the_transport() {
    let (scene, _) = known_line();
    let key = SnapshotKey::shared("jira");
    let snapshot = scene.world.timers.run(scene.world.snapshot(&key)).unwrap();
    let text = snapshot.to_json();
    let before = text.replace(",\"events\":true", "");
    assert_ne!(text, before);
    let loaded = portcullis::catalog::Snapshot::from_json(&before).expect("loads");
    assert!(!loaded.facts.events);
    assert!(!loaded.to_json().contains("events"));
}
