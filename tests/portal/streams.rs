//! Event streams of servers on their way to the client.

use portcullis::limits::CLIENT_EVENT_BYTES_MAX;
use portcullis::mcp::Era;
use portcullis::portal::ports::BodyKind;
use serde_json::{Value, json};

use super::mcp_server::Speaks;
use super::scene::{Got, Scene, TOKEN};
use super::upstreams::{Canned, Piece, about, event};

const ERAS: [(Era, Speaks); 2] = [(Era::Modern, Speaks::Modern), (Era::Legacy, Speaks::Legacy)];

pub fn scene(speaks: Speaks) -> Scene {
    let scene = Scene::new(speaks, speaks).synced();
    scene.call(Era::Legacy, "jira_get");
    scene.world.clear();
    scene
}

/// Under a token.
pub fn progress_on(token: &str, step: u64) -> Value {
    json!({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":token,"progress":step}})
}

/// As the client sees it.
pub fn progress(step: u64) -> Value {
    progress_on(TOKEN, step)
}

/// As the server sends it: about the request as it received it.
pub fn sent_progress(step: u64) -> Value {
    progress_on("$TOKEN", step)
}

fn done_to(id: Value) -> Value {
    json!({"jsonrpc":"2.0","id":id,"result":{"content":[{"type":"text","text":"é"}],"resultType":"complete"}})
}

/// As the client sees it.
pub fn done() -> Value {
    done_to(json!(1))
}

/// As a client of an era sees it: only modern results say what they are, and only those of legacy servers stay as they
/// are for legacy clients.
pub fn done_for(client: Era, server: Speaks) -> Value {
    let mut done = done();
    if client == Era::Legacy && server == Speaks::Modern {
        done["result"].as_object_mut().unwrap().remove("resultType");
    }
    done
}

/// As the server sends it: about the request as it received it.
pub fn sent_done() -> Value {
    done_to(json!("$ID"))
}

fn answered(speaks: Speaks, era: Era, pieces: Vec<Piece>) -> (Scene, Got) {
    let scene = scene(speaks);
    scene.jira.will_answer(Canned::events(pieces));
    let got = scene.call(era, "jira_set");
    (scene, got)
}

#[test]
fn bytes_may_be_cut_anywhere() {
    let text = format!(
        ": hello\r\n\r\nid: 1\r\ndata:\r\n\r\n{}retry: 5\nevent: message\ndata: {}\n\n",
        event(&sent_progress(1)),
        sent_done()
    );
    for (era, speaks) in ERAS {
        for at in 0..=text.len() {
            let (scene, text) = (scene(speaks), text.clone());
            scene.jira.will_reply(move |request| {
                let mut first = about(text.as_bytes(), request);
                // The server's id and token may be shorter than their placeholders.
                let second = first.split_off(at.min(first.len()));
                Canned::events(vec![Piece::Bytes(first), Piece::Bytes(second)])
            });
            let got = scene.call(era, "jira_set");
            assert_eq!(got.messages(), [progress(1), done()], "cut at {at}");
            assert_eq!(
                scene.rows(),
                ["intent pending -", "outcome ok -"],
                "cut at {at}"
            );
        }
        let (scene, text) = (scene(speaks), text.clone());
        scene.jira.will_reply(move |request| {
            let bytes = about(text.as_bytes(), request);
            Canned::events(bytes.iter().map(|byte| Piece::Bytes(vec![*byte])).collect())
        });
        let got = scene.call(era, "jira_set");
        assert_eq!(got.messages(), [progress(1), done()]);
    }
}

#[test]
fn the_framing_of_an_answer_that_comes_first_is_json() {
    for (era, speaks) in ERAS {
        let (_, got) = answered(
            speaks,
            era,
            vec![Piece::Bytes(event(&sent_done()).into_bytes())],
        );
        assert_eq!(*got.json(), done());
    }
}

#[test]
fn a_notification_first_makes_it_a_stream_and_the_answer_ends_it() {
    for (era, speaks) in ERAS {
        let text = [
            event(&sent_progress(1)),
            event(&sent_done()),
            event(&sent_progress(2)),
        ]
        .concat();
        let (scene, mut got) = answered(speaks, era, vec![Piece::Bytes(text.into_bytes())]);
        assert!(got.is_stream());
        assert_eq!(got.next(), Some(progress(1)));
        assert_eq!(got.next(), Some(done()));
        assert_eq!(got.next(), None, "what follows an answer is nobody's");
        drop(got);
        scene.world.settle();
        assert_eq!(scene.rows(), ["intent pending -", "outcome ok -"]);
        assert_eq!(scene.sent(), ["jira tools/call"], "nothing is cancelled");
        assert_eq!(
            scene.world.upstreams.open(),
            0,
            "the connection is given back"
        );
    }
}

/// The outcome is durable before the client can have the answer.
#[test]
fn the_outcome_comes_before_the_answer() {
    let (scene, mut got) = answered(
        Speaks::Modern,
        Era::Modern,
        vec![Piece::Bytes(
            [event(&sent_progress(1)), event(&sent_done())]
                .concat()
                .into_bytes(),
        )],
    );
    assert_eq!(got.next(), Some(progress(1)));
    assert_eq!(scene.rows(), ["intent pending -"]);
    assert_eq!(got.next(), Some(done()));
    assert_eq!(scene.world.steps().last().unwrap(), "durable outcome ok");
}

/// The choice between JSON and a stream waits a second; nothing may be lost whenever the first message comes.
#[test]
fn nothing_is_lost_however_late_the_first_message_comes() {
    for (era, speaks) in ERAS {
        for wait_ms in [0, 500, 999, 1_000, 1_001, 2_500, 30_000] {
            let late = |text: String| vec![Piece::Wait(wait_ms), Piece::Bytes(text.into_bytes())];
            let (_, got) = answered(speaks, era, late(event(&sent_done())));
            assert_eq!(
                got.messages(),
                [done()],
                "{era:?} answer after {wait_ms} ms"
            );
            let both = [event(&sent_progress(1)), event(&sent_done())].concat();
            let (scene, got) = answered(speaks, era, late(both));
            assert_eq!(
                got.messages(),
                [progress(1), done()],
                "{era:?} both after {wait_ms} ms"
            );
            assert_eq!(scene.rows(), ["intent pending -", "outcome ok -"]);
        }
    }
}

/// The answer arrives just before the second is over, and recording it takes longer.
#[test]
fn an_answer_is_not_lost_while_it_is_being_recorded() {
    for (era, speaks) in ERAS {
        let scene = scene(speaks);
        let text = event(&sent_done()).into_bytes();
        scene
            .jira
            .will_answer(Canned::events(vec![Piece::Wait(900), Piece::Bytes(text)]));
        scene.world.ledger.slow_ms.set(200);
        let got = scene.call(era, "jira_set").messages();
        assert_eq!(got, [done()], "{era:?}");
        assert_eq!(
            scene.rows(),
            ["intent pending -", "outcome ok -"],
            "{era:?}"
        );
    }
}

/// The same for a notification whose handling takes a moment.
#[test]
fn a_notification_is_not_lost_while_it_is_being_handled() {
    let changed = json!({"jsonrpc":"2.0","method":"notifications/tools/list_changed"});
    let scene = scene(Speaks::Legacy);
    scene.world.catalogs.slow_ms.set(200);
    let pieces = vec![
        Piece::Wait(900),
        Piece::Bytes(event(&changed).into_bytes()),
        Piece::Bytes(event(&sent_done()).into_bytes()),
    ];
    scene.jira.will_answer(Canned::events(pieces));
    let got = scene.call(Era::Legacy, "jira_set").messages();
    assert_eq!(got, [changed, done()]);
}

#[test]
fn no_event_over_the_clients_bound_leaves() {
    let large = "x".repeat(CLIENT_EVENT_BYTES_MAX);
    let notice = json!({"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":large}});
    for (era, speaks) in ERAS {
        let text = [
            event(&sent_progress(1)),
            event(&notice),
            event(&sent_done()),
        ]
        .concat();
        let (_, got) = answered(speaks, era, vec![Piece::Bytes(text.into_bytes())]);
        assert_eq!(got.messages(), [progress(1), done()], "{era:?}");
    }
}

/// A large answer passes as JSON; on a stream it would end the client's call or its whole connection.
#[test]
fn a_large_answer_is_json_or_an_error() {
    let large = "x".repeat(CLIENT_EVENT_BYTES_MAX);
    let answer = |id: Value| json!({"jsonrpc":"2.0","id":id,"result":{"content":[{"type":"text","text":large}],"resultType":"complete"}});
    let sent = event(&answer(json!("$ID")));
    for (era, speaks) in ERAS {
        let (_, got) = answered(speaks, era, vec![Piece::Bytes(sent.clone().into_bytes())]);
        assert_eq!(*got.json(), answer(json!(1)));
        let text = [event(&sent_progress(1)), sent.clone()].concat();
        let (_, got) = answered(speaks, era, vec![Piece::Bytes(text.into_bytes())]);
        let messages = got.messages();
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0], progress(1));
        assert_eq!(messages[1]["id"], 1);
        assert_eq!(messages[1]["error"]["code"], -32000, "{era:?}");
        let length = messages[1].to_string().len();
        assert!(
            length <= CLIENT_EVENT_BYTES_MAX,
            "{era:?}: an event of {length} bytes"
        );
    }
}

#[test]
fn an_answer_to_something_else_ends_the_call() {
    for id in [json!(2), json!("1"), json!(null), json!(1.5)] {
        for (era, speaks) in ERAS {
            let other = json!({"jsonrpc":"2.0","id":id,"result":{}});
            let text = [event(&other), event(&sent_done())].concat();
            let (scene, got) = answered(speaks, era, vec![Piece::Bytes(text.into_bytes())]);
            let messages = got.messages();
            assert_eq!(messages.len(), 1, "{id}");
            assert_eq!(messages[0]["error"]["code"], -32000, "{id}");
            assert_eq!(messages[0]["id"], 1, "{id}");
            assert_eq!(
                scene.rows()[1],
                "outcome upstream_failed upstream_bad_answer",
                "{id}"
            );
        }
    }
}

/// JSON has many spellings of one text: a server that writes the id in another way answers the same request.
#[test]
fn an_id_may_be_spelled_in_another_way() {
    for spelled in [r#""caf\u00e9""#, r#""a\/b""#, r#""\u0061""#] {
        for with_session in [true, false] {
            let scene = Scene::new(Speaks::Legacy, Speaks::Legacy).synced();
            if with_session {
                scene.world.with_session();
            }
            scene.jira.will_reply(|request| {
                // As serde spells a text, and as nobody does.
                let text = request["id"].as_str().expect("a text").to_owned();
                let chars = text
                    .chars()
                    .map(|char| format!("\\u{:04x}", u32::from(char)));
                let escaped = chars.collect::<Vec<String>>().concat();
                let text =
                    format!(r#"{{"jsonrpc":"2.0","id":"{escaped}","result":{{"content":[]}}}}"#);
                Canned::with(200, BodyKind::Json, text)
            });
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":{spelled},"method":"tools/call","params":{{"name":"jira_set","arguments":{{}}}}}}"#
            );
            let caller = scene.caller("alice", Era::Legacy, &serde_json::from_str(&body).unwrap());
            let got = scene.send_as(&caller, &body);
            assert_eq!(
                got.json()["result"],
                json!({"content":[]}),
                "{spelled}: {}",
                got.json()
            );
            let id: Value = serde_json::from_str(spelled).unwrap();
            assert_eq!(got.json()["id"], id);
        }
    }
}

#[test]
fn events_that_are_no_messages_end_the_call() {
    for data in ["{}", "[]", "nonsense", "7", r#"{"jsonrpc":"2.0","id":1}"#] {
        let text = format!("data: {data}\n\n");
        let (scene, got) = answered(
            Speaks::Modern,
            Era::Modern,
            vec![Piece::Bytes(text.into_bytes())],
        );
        assert_eq!(got.messages()[0]["error"]["code"], -32000, "{data}");
        assert_eq!(
            scene.rows()[1],
            "outcome upstream_failed upstream_bad_answer",
            "{data}"
        );
    }
}

/// What a modern client requires is added on a stream as in a body, each member once.
#[test]
fn results_are_completed_for_modern_clients() {
    for (given, expected) in [
        (
            json!({"contents":[]}),
            json!({"contents":[],"resultType":"complete","ttlMs":0,"cacheScope":"private"}),
        ),
        (
            json!({}),
            json!({"resultType":"complete","ttlMs":0,"cacheScope":"private"}),
        ),
        (
            json!({"contents":[],"resultType":"complete","ttlMs":5,"cacheScope":"public"}),
            json!({"contents":[],"resultType":"complete","ttlMs":5,"cacheScope":"public"}),
        ),
    ] {
        for streamed in [false, true] {
            let scene = scene(Speaks::Legacy);
            let answer = json!({"jsonrpc":"2.0","id":"$ID","result":given});
            let canned = if streamed {
                Canned::messages(&[answer])
            } else {
                Canned::json(answer)
            };
            scene.jira.will_answer(canned);
            let got = scene.ask(
                "alice",
                Era::Modern,
                "resources/read",
                json!({"uri":"jira://a"}),
            );
            assert_eq!(*got.result(), expected, "{given}");
        }
    }
}

/// Where a server sent one of two members, the client gets each once, and the server's own.
#[test]
fn no_member_of_a_result_is_written_twice() {
    for given in [r#""ttlMs":5"#, r#""cacheScope":"public""#] {
        let scene = scene(Speaks::Modern);
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"contents":[],{given}}}}}"#);
        scene
            .jira
            .will_answer(Canned::with(200, BodyKind::Json, text));
        let body = super::scene::request(Era::Modern, "resources/read", json!({"uri":"jira://a"}));
        let caller = scene.caller("alice", Era::Modern, &body);
        let body = body.to_string();
        let message = portcullis::mcp::Message::parse(body.as_bytes()).unwrap();
        let reply =
            scene
                .world
                .timers
                .run(portcullis::portal::handle(&scene.world, &caller, &message));
        let portcullis::portal::ReplyBody::Json(bytes) = reply.body else {
            panic!("changed")
        };
        let text = String::from_utf8(bytes).unwrap();
        for member in ["\"ttlMs\"", "\"cacheScope\"", "\"resultType\""] {
            assert_eq!(text.matches(member).count(), 1, "{member} in {text}");
        }
        assert!(text.contains(given), "{text}");
    }
}
