//! Legacy sessions that callers without one of their own share: whatever ids and progress tokens the callers choose, the
//! server sees the portal's, and each caller its own.

use std::rc::Rc;

use portcullis::mcp::Era;
use portcullis::portal::Caller;
use portcullis::portal::ports::BodyKind;
use serde_json::{Value, json};

use super::mcp_server::Speaks;
use super::scene::{Scene, request};
use super::streams::{progress, progress_on, sent_done, sent_progress};
use super::upstreams::{Canned, Piece, event};

const ERAS: [Era; 2] = [Era::Modern, Era::Legacy];
const BAD_ANSWER: &str = "outcome upstream_failed upstream_bad_answer";

fn legacy() -> Scene {
    let scene = Scene::new(Speaks::Legacy, Speaks::Legacy).synced();
    scene.call(Era::Legacy, "jira_get");
    scene.world.clear();
    scene
}

fn call_of(era: Era, id: &Value, token: Option<&Value>, tool: &str) -> Value {
    let mut params = json!({"name":tool,"arguments":{}});
    if let Some(token) = token {
        params["_meta"]["progressToken"] = token.clone();
    }
    let mut body = request(era, "tools/call", params);
    body["id"] = id.clone();
    body
}

fn said(id: &Value, text: &str) -> Value {
    json!({"jsonrpc":"2.0","id":id,"result":{"content":[{"type":"text","text":text}],"resultType":"complete"}})
}

fn events(messages: &[Value]) -> Piece {
    Piece::Bytes(messages.iter().map(event).collect::<String>().into_bytes())
}

/// A call whose caller's id on the portal is known before it is made.
struct Call {
    caller: Rc<Caller>,
    body: String,
}

impl Call {
    /// Under the id 1 and the token `p`, as everybody's.
    fn prepare(scene: &Scene, era: Era, tool: &str) -> Self {
        let body = call_of(era, &json!(1), Some(&json!("p")), tool);
        Self {
            caller: scene.caller("alice", era, &body),
            body: body.to_string(),
        }
    }

    fn own_id(&self) -> Value {
        json!(self.caller.request_id)
    }

    fn make(&self, scene: &Scene) -> super::scene::Got {
        scene.send_as(&self.caller, &self.body)
    }
}

/// Who shares a session is known by the portal's ids; everybody else stays as they are.
#[test]
fn a_shared_session_sees_ids_of_the_portals_own() {
    let (big, odd) = (json!(9_007_199_254_740_993_u64), json!("é\"\\ r1"));
    let ids = [json!(1), json!("1"), json!("r1"), json!(-7), big, odd];
    let tokens = [Some(json!("p")), Some(json!(7)), Some(json!("\"")), None];
    for (era, with_session, speaks, is_shared) in [
        (Era::Modern, false, Speaks::Legacy, true),
        (Era::Legacy, false, Speaks::Legacy, true),
        (Era::Legacy, true, Speaks::Legacy, false),
        (Era::Modern, false, Speaks::Modern, false),
        (Era::Legacy, false, Speaks::Modern, false),
        (Era::Legacy, true, Speaks::Modern, false),
    ] {
        for (id, token) in ids
            .iter()
            .flat_map(|id| tokens.iter().map(move |t| (id, t)))
        {
            let what = format!("{era:?} {with_session} {speaks:?} {id} {token:?}");
            let scene = Scene::new(speaks, speaks).synced();
            if with_session {
                scene.world.with_session();
            }
            let mut messages = vec![sent_done()];
            if token.is_some() {
                messages.insert(0, sent_progress(1));
            }
            scene.jira.will_answer(Canned::messages(&messages));
            let body = call_of(era, id, token.as_ref(), "jira_set");
            let got = scene.send("alice", era, &body).messages();
            let (end, before) = got.split_last().unwrap();
            assert_eq!(end["id"], *id, "{what}");
            assert_eq!(end["result"]["content"][0]["text"], "é", "{what}");
            let tokens = before.iter().map(|m| m["params"]["progressToken"].clone());
            let tokens: Vec<Value> = tokens.collect();
            assert_eq!(tokens, token.iter().cloned().collect::<Vec<_>>(), "{what}");

            let sent = scene.world.upstreams.of("tools/call");
            assert_eq!(sent.len(), 1, "{what}");
            let sent = sent[0].json();
            let own = json!(scene.last_request_id());
            let (sent_id, sent_token) = if is_shared {
                (&own, token.as_ref().map(|_| &own))
            } else {
                (id, token.as_ref())
            };
            assert_eq!(sent["id"], *sent_id, "{what}");
            let found = sent["params"]["_meta"].get("progressToken");
            assert_eq!(found, sent_token, "{what}");
            assert_eq!(scene.rows(), ["intent pending -", "outcome ok -"], "{what}");
        }
    }
}

/// An error finds its way back too, and says what the server said.
#[test]
fn errors_come_back_under_the_callers_id() {
    let error = json!({"code":-32602,"message":"no é","data":{"why":[1,"$"]}});
    for era in ERAS {
        for id in [Some(json!("$ID")), Some(Value::Null), None] {
            for framed in [false, true] {
                let scene = legacy();
                let mut answer = json!({"jsonrpc":"2.0","error":error});
                if let Some(id) = &id {
                    answer["id"] = id.clone();
                }
                scene.jira.will_answer(if framed {
                    Canned::messages(&[answer])
                } else {
                    Canned::json(answer)
                });
                let got = scene.call(era, "jira_set");
                let expected = json!({"jsonrpc":"2.0","id":1,"error":error});
                assert_eq!(*got.json(), expected, "{era:?} {id:?} {framed}");
                assert_eq!(scene.rows(), ["intent pending -", "outcome rpc_error -"]);
            }
        }
    }
}

/// Two calls under the same id and progress token, at the same time, in one session of the server.
#[test]
fn two_callers_with_equal_ids_never_see_each_others_messages() {
    for (first_era, second_era) in [
        (Era::Modern, Era::Modern),
        (Era::Modern, Era::Legacy),
        (Era::Legacy, Era::Modern),
        (Era::Legacy, Era::Legacy),
    ] {
        let scene = legacy();
        let first = Call::prepare(&scene, first_era, "jira_set");
        let second = Call::prepare(&scene, second_era, "jira_set");
        let (one, two) = (first.own_id(), second.own_id());
        assert_ne!(one, two);
        // Each stream also carries what belongs to the other call, and what the caller's own token would look like.
        for (own, other, text, step) in [(&one, &two, "for one", 10), (&two, &one, "for two", 20)] {
            let (own, other) = (own.as_str().unwrap(), other.as_str().unwrap());
            scene.jira.will_answer(Canned::events(vec![
                events(&[progress_on(other, 1), progress_on(own, step)]),
                Piece::Wait(2_000),
                events(&[progress_on("p", 2), progress_on(other, 3)]),
                Piece::Wait(2_000),
                events(&[progress_on(own, step + 1), said(&json!(own), text)]),
            ]));
        }
        let (mut got_one, mut got_two) = (first.make(&scene), second.make(&scene));
        assert_eq!(scene.world.upstreams.open(), 2, "both are under way");
        let (mut seen_one, mut seen_two) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            seen_one.extend(got_one.next());
            seen_two.extend(got_two.next());
        }
        let expected = |step, text| [progress(step), progress(step + 1), said(&json!(1), text)];
        assert_eq!(seen_one, expected(10, "for one"), "{first_era:?}");
        assert_eq!(seen_two, expected(20, "for two"), "{second_era:?}");
        assert_eq!((got_one.next(), got_two.next()), (None, None));

        assert_eq!(scene.sent(), ["jira tools/call"; 2], "each exactly once");
        let sent = scene.world.upstreams.of("tools/call");
        let ids: Vec<Value> = sent.iter().map(|sent| sent.json()["id"].clone()).collect();
        assert_eq!(ids, [one.clone(), two.clone()]);
        let session = sent[0].header("Mcp-Session-Id");
        assert!(session.is_some());
        assert_eq!(session, sent[1].header("Mcp-Session-Id"), "one session");
        for id in [one, two] {
            let rows = scene.world.ledger.rows();
            let own = rows.iter().filter(|row| row.request_id == id);
            assert_eq!(own.count(), 2, "an intent and an outcome of {id}");
        }
    }
}

/// A server that mixes up its callers: the answer is nobody's, and the other call has its own.
#[test]
fn another_calls_answer_ends_the_call_and_is_not_shown() {
    for era in ERAS {
        for framed in [false, true] {
            let scene = legacy();
            let first = Call::prepare(&scene, era, "jira_set");
            let second = Call::prepare(&scene, era, "jira_set");
            let answer = said(&second.own_id(), "secret of two");
            scene.jira.will_answer(if framed {
                Canned::messages(&[sent_progress(1), answer, said(&first.own_id(), "late")])
            } else {
                Canned::json(answer)
            });
            let pieces = vec![
                events(&[sent_progress(1)]),
                Piece::Wait(5_000),
                events(&[said(&json!("$ID"), "for two")]),
            ];
            scene.jira.will_answer(Canned::events(pieces));
            let (got_one, got_two) = (first.make(&scene), second.make(&scene));
            let seen = got_one.messages();
            let end = seen.last().unwrap();
            assert_eq!(end["id"], 1, "{era:?} {framed}");
            assert_eq!(end["error"]["code"], -32000, "{era:?} {framed}");
            assert_eq!(seen.len(), if framed { 2 } else { 1 });
            let text = json!(seen).to_string();
            assert!(!text.contains("secret") && !text.contains("late"), "{text}");
            let seen = got_two.messages();
            assert_eq!(seen, [progress(1), said(&json!(1), "for two")]);
            let rows = scene.world.ledger.rows();
            let reasons = |call: &Call| -> Vec<String> {
                let id = &call.caller.request_id;
                let own = rows.iter().filter(|row| row.request_id == *id);
                own.map(|row| row.reason.clone().unwrap_or_default())
                    .collect()
            };
            assert_eq!(reasons(&first), ["", "upstream_bad_answer"]);
            assert_eq!(reasons(&second), ["", ""]);
        }
    }
}

/// The server never heard the caller's own id: what comes under it answers something else.
#[test]
fn an_answer_under_an_id_that_was_never_sent_is_none() {
    for era in ERAS {
        for framed in [false, true] {
            let scene = legacy();
            let answer = said(&json!(1), "whose");
            scene.jira.will_answer(if framed {
                Canned::messages(&[answer])
            } else {
                Canned::json(answer)
            });
            let got = scene.call(era, "jira_set").messages();
            assert_eq!(got.len(), 1);
            assert_eq!(got[0]["error"]["code"], -32000, "{era:?} {framed}");
            assert_eq!(scene.rows(), ["intent pending -", BAD_ANSWER]);
        }
    }
}

/// Who goes away takes back its own call and no other.
#[test]
fn a_caller_that_goes_away_cancels_its_own_call() {
    for era in ERAS {
        let scene = legacy();
        let first = Call::prepare(&scene, era, "jira_set");
        let second = Call::prepare(&scene, era, "jira_set");
        scene.jira.will_answer(Canned::events(vec![
            events(&[sent_progress(1)]),
            Piece::Hang,
        ]));
        scene.jira.will_answer(Canned::events(vec![
            events(&[sent_progress(1)]),
            Piece::Wait(5_000),
            events(&[said(&json!("$ID"), "for two")]),
        ]));
        let (mut got_one, got_two) = (first.make(&scene), second.make(&scene));
        assert_eq!(got_one.next(), Some(progress(1)));
        drop(got_one);
        scene.world.settle();
        let cancelled = scene.world.upstreams.of("notifications/cancelled");
        assert_eq!(cancelled.len(), 1);
        let params = &cancelled[0].json()["params"];
        assert_eq!(*params, json!({"requestId":first.own_id()}));
        let seen = got_two.messages();
        assert_eq!(seen, [progress(1), said(&json!(1), "for two")]);
        scene.world.settle();
        let cancelled = scene.world.upstreams.of("notifications/cancelled");
        assert_eq!(cancelled.len(), 1, "the other call ended by its answer");
        let mut rows = scene.rows();
        rows.sort();
        let expected = [
            "intent pending -",
            "intent pending -",
            "outcome cancelled -",
        ];
        assert_eq!(rows, [&expected[..], &["outcome ok -"]].concat());
    }
}

/// A caller cannot name another one's call either: without a session of its own there is nothing it could cancel.
#[test]
fn nobody_cancels_a_call_by_its_id() {
    let scene = legacy();
    let call = Call::prepare(&scene, Era::Legacy, "jira_set");
    let pieces = vec![events(&[sent_progress(1)]), Piece::Wait(5_000)];
    let end = events(&[said(&json!("$ID"), "done")]);
    scene
        .jira
        .will_answer(Canned::events([pieces, vec![end]].concat()));
    let got = call.make(&scene);
    for id in [json!(1), call.own_id()] {
        let notice =
            json!({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":id}});
        assert_eq!(scene.send("alice", Era::Legacy, &notice).status, 202);
    }
    assert_eq!(scene.sent(), ["jira tools/call"]);
    assert_eq!(got.messages(), [progress(1), said(&json!(1), "done")]);
}

/// A lost session is renewed; the call goes out again under the same id, and is answered once.
#[test]
fn a_renewed_session_sees_the_same_id() {
    for era in ERAS {
        let scene = legacy();
        scene.jira.restart();
        scene
            .jira
            .will_answer(Canned::messages(&[sent_progress(1), sent_done()]));
        let got = scene.call(era, "jira_set").messages();
        assert_eq!(got[0], progress(1));
        assert_eq!((got.len(), &got[1]["id"]), (2, &json!(1)));
        let sent = scene.world.upstreams.of("tools/call");
        assert_eq!(
            sent.len(),
            2,
            "the first was not done: its session was unknown"
        );
        for sent in &sent {
            assert_eq!(sent.json()["id"], scene.last_request_id(), "{era:?}");
        }
        assert_eq!(scene.rows(), ["intent pending -", "outcome ok -"]);
    }
}

/// What is forbidden is refused and recorded under the caller's own request, whoever else uses its id.
#[test]
fn a_denied_call_is_recorded_beside_one_with_the_same_id() {
    for era in ERAS {
        let scene = legacy();
        let allowed = Call::prepare(&scene, era, "jira_set");
        let denied = Call::prepare(&scene, era, "jira_secret_get");
        let pieces = vec![events(&[sent_progress(1)]), Piece::Wait(5_000)];
        let end = events(&[said(&json!("$ID"), "done")]);
        scene
            .jira
            .will_answer(Canned::events([pieces, vec![end]].concat()));
        let got = allowed.make(&scene);
        let refused = denied.make(&scene);
        assert_eq!((refused.code(), &refused.json()["id"]), (-32602, &json!(1)));
        assert_eq!(got.messages(), [progress(1), said(&json!(1), "done")]);
        assert_eq!(
            scene.sent(),
            ["jira tools/call"],
            "nothing of what is denied"
        );
        let rows = scene.world.ledger.rows();
        let row = rows
            .iter()
            .find(|row| row.request_id == denied.caller.request_id)
            .expect("a row of the refusal");
        assert_eq!(row.reason.as_deref(), Some("unknown_tool"));
        let deny = "portals.main/servers.jira.tools.deny[0]";
        assert_eq!(row.rule.as_deref(), Some(deny));
        let rows = scene.rows();
        let refusals = rows.iter().filter(|row| row.starts_with("refusal"));
        assert_eq!((rows.len(), refusals.count()), (3, 1), "{rows:?}");
    }
}

/// A body that is no stream is translated as well, and only there.
#[test]
fn a_json_answer_keeps_everything_but_its_id() {
    let scene = legacy();
    let text =
        r#"{ "result" : {"content":[ ],"id":"$","n":1.50} , "jsonrpc":"2.0", "id" : "$ID" }"#;
    scene
        .jira
        .will_answer(Canned::with(200, BodyKind::Json, text));
    let call = Call::prepare(&scene, Era::Legacy, "jira_get");
    let message = portcullis::mcp::Message::parse(call.body.as_bytes()).unwrap();
    let handled = portcullis::portal::handle(&scene.world, &call.caller, &message);
    let reply = scene.world.timers.run(handled);
    let portcullis::portal::ReplyBody::Json(bytes) = reply.body else {
        panic!("changed")
    };
    let expected = text.replace(r#""$ID""#, "1");
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}
