//! A modern server's questions to a client in a session: requests there, and the call made again with the answers.

use portcullis::limits::{CLIENT_EVENT_BYTES_MAX, QUESTIONS_MAX, ROUNDS_MAX, SESSION_PENDING_MAX};
use portcullis::mcp::Era;
use serde_json::{Map, Value, json};

use super::asking::{
    answer, asks, assert_nothing_left, calls, roots, sample, sampled, scene, will_ask,
};
use super::scene::{TOKEN, request};
use super::upstreams::{Canned, event};

#[test]
fn a_round_is_asked_in_the_session_and_the_call_goes_again() {
    for (tool, streamed) in [
        ("jira_get", false),
        ("jira_get", true),
        ("jira_set", false),
        ("jira_set", true),
    ] {
        let scene = scene();
        let requests = json!({"one":sample("1"),"t\"wo é":roots()});
        let asks = asks(&requests, Some("their \"state\" é"));
        scene.jira.will_answer(if streamed {
            Canned::messages(&[asks])
        } else {
            Canned::json(asks)
        });
        let mut got = scene.call(Era::Legacy, tool);
        assert!(got.is_stream());
        let (first, second) = (got.next().unwrap(), got.next().unwrap());
        assert_eq!(first["method"], "sampling/createMessage");
        assert_eq!(first["params"], requests["one"]["params"]);
        assert_eq!(
            (&second["method"], &second["params"]),
            (&json!("roots/list"), &json!({}))
        );
        assert_ne!(first["id"], second["id"]);
        let waits = scene.world.timers.now_ms() + 60_000;
        assert!(got.next_until(waits).is_none(), "waits for both");
        // In any order.
        assert_eq!(answer(&scene, &second, &json!({"roots":[]})).status, 202);
        let waits = scene.world.timers.now_ms() + 60_000;
        assert!(got.next_until(waits).is_none());
        assert_eq!(answer(&scene, &first, &sampled("yes")).status, 202);
        let end = got.next().unwrap();
        assert_eq!(end["id"], 1);
        assert_eq!(
            end["result"],
            json!({"content":[{"type":"text","text":"done"}]})
        );
        assert_eq!(got.next(), None);
        let calls = calls(&scene);
        assert_eq!(calls.len(), 2);
        let again = &calls[1]["params"];
        assert_eq!(again["requestState"], "their \"state\" é");
        assert_eq!(
            again["inputResponses"],
            json!({"one":sampled("yes"),"t\"wo é":{"roots":[]}})
        );
        assert_eq!(
            (&again["name"], &again["arguments"]),
            (
                &calls[0]["params"]["name"],
                &calls[0]["params"]["arguments"]
            )
        );
        assert_ne!(
            calls[0]["id"], calls[1]["id"],
            "requests of one call differ"
        );
        let rows = if tool == "jira_set" {
            &[
                "intent pending -",
                "outcome input_required -",
                "outcome ok -",
            ][..]
        } else {
            &["outcome input_required -", "outcome ok -"]
        };
        assert_eq!(scene.rows(), rows, "{tool} {streamed}");
        let rows = scene.world.ledger.rows();
        assert!(
            rows.iter()
                .all(|row| row.request_id == scene_request(&rows))
        );
        assert_nothing_left(&scene);
    }
}

fn scene_request(rows: &[portcullis::audit::Event]) -> String {
    rows[0].request_id.clone()
}

/// Should the object end right after the client was asked, its answers still find the call.
#[test]
fn questions_are_rows_before_they_go_out() {
    let scene = scene();
    will_ask(&scene, &json!({"a":sample("1"),"b":roots()}), None);
    let _got = scene.call(Era::Legacy, "jira_set");
    assert_eq!(
        scene.world.steps(),
        [
            "durable intent pending",
            "send jira tools/call",
            "durable outcome input_required",
            "parked",
            "parked",
            "kept",
        ]
    );
}

#[test]
fn the_server_learns_what_the_client_declared() {
    let scene = scene();
    will_ask(&scene, &json!({"a":roots()}), None);
    let mut got = scene.call(Era::Legacy, "jira_get");
    let question = got.next().unwrap();
    answer(&scene, &question, &json!({"roots":[]}));
    got.messages();
    let calls = calls(&scene);
    assert_eq!(calls.len(), 2);
    for call in calls {
        let meta = &call["params"]["_meta"];
        assert_eq!(
            meta["io.modelcontextprotocol/clientCapabilities"],
            json!({"roots":{},"sampling":{}})
        );
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "agent");
        assert_eq!(
            meta["io.modelcontextprotocol/protocolVersion"],
            "2026-07-28"
        );
    }
}

#[test]
fn prompts_and_resources_have_rounds_too() {
    for (method, params) in [
        ("prompts/get", json!({"name":"jira_greet"})),
        ("resources/read", json!({"uri":"jira://a"})),
    ] {
        let scene = scene();
        will_ask(&scene, &json!({"a":roots()}), Some("s"));
        let mut got = scene.ask("alice", Era::Legacy, method, params);
        let question = got.next().unwrap();
        answer(&scene, &question, &json!({"roots":[]}));
        let end = got.next().unwrap();
        assert!(end["result"].is_object(), "{end}");
        let sent = scene.world.upstreams.of(method);
        assert_eq!(sent[1].json()["params"]["requestState"], "s");
        assert_eq!(sent[0].header("Mcp-Name"), sent[1].header("Mcp-Name"));
        assert_nothing_left(&scene);
    }
}

/// A state without questions is a pause: nobody is asked, and the call goes again at once.
#[test]
fn a_state_alone_is_given_back_at_once() {
    let scene = scene();
    let pause = json!({"jsonrpc":"2.0","id":"$ID","result":{"resultType":"input_required","requestState":"later"}});
    scene.jira.will_answer(Canned::json(pause));
    let got = scene.call(Era::Legacy, "jira_set").messages();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0]["result"]["content"][0]["text"], "done");
    let calls = calls(&scene);
    assert_eq!(calls[1]["params"]["requestState"], "later");
    assert_nothing_left(&scene);
}

/// Each round has its own state and questions, and what an earlier one answered is not given again.
#[test]
fn rounds_follow_one_another_to_an_end() {
    let scene = scene();
    for round in 1..=ROUNDS_MAX {
        let requests = json!({"key":sample(&round.to_string())});
        will_ask(&scene, &requests, Some(&round.to_string()));
    }
    let mut got = scene.call(Era::Legacy, "jira_get");
    for round in 1..=ROUNDS_MAX {
        let question = got.next().unwrap();
        let text = &question["params"]["messages"][0]["content"]["text"];
        assert_eq!(*text, round.to_string());
        answer(&scene, &question, &sampled(&round.to_string()));
    }
    assert_eq!(got.next().unwrap()["result"]["content"][0]["text"], "done");
    let calls = calls(&scene);
    let rounds = usize::try_from(ROUNDS_MAX).unwrap();
    assert_eq!(calls.len(), rounds + 1);
    let mut ids: Vec<String> = calls.iter().map(|call| call["id"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), calls.len(), "requests of one call differ");
    for (round, call) in (1..=ROUNDS_MAX).zip(&calls[1..]) {
        assert_eq!(call["params"]["requestState"], round.to_string());
        assert_eq!(
            call["params"]["inputResponses"],
            json!({"key":sampled(&round.to_string())})
        );
    }
    assert_eq!(scene.rows().len(), rounds + 1);
    assert_nothing_left(&scene);
}

#[test]
fn questions_have_an_end() {
    // One round more than there may be.
    let scene = super::asking::scene();
    for _ in 0..=ROUNDS_MAX {
        will_ask(&scene, &json!({"key":roots()}), None);
    }
    let mut got = scene.call(Era::Legacy, "jira_get");
    for _ in 0..ROUNDS_MAX {
        let question = got.next().unwrap();
        answer(&scene, &question, &json!({"roots":[]}));
    }
    assert_eq!(got.next().unwrap()["error"]["code"], -32000);
    assert_eq!(got.next(), None);
    assert_eq!(
        scene.rows().last().unwrap(),
        "outcome upstream_failed upstream_bad_answer"
    );
    assert_nothing_left(&scene);

    // As many questions as a round takes, and one more.
    for (count, is_asked) in [(QUESTIONS_MAX, true), (QUESTIONS_MAX + 1, false)] {
        let scene = super::asking::scene();
        let requests: Map<String, Value> =
            (0..count).map(|key| (key.to_string(), roots())).collect();
        will_ask(&scene, &requests.into(), None);
        let mut got = scene.call(Era::Legacy, "jira_get");
        if is_asked {
            let questions: Vec<Value> = (0..count).map(|_| got.next().unwrap()).collect();
            for question in &questions {
                answer(&scene, question, &json!({"roots":[]}));
            }
            assert!(got.next().unwrap()["result"].is_object());
        } else {
            assert_eq!(got.code(), -32000);
            let rows = scene.rows();
            assert_eq!(rows, ["outcome upstream_failed upstream_bad_answer"]);
        }
        assert_nothing_left(&scene);
    }
}

/// A session has so many questions open: a round that does not fit is not begun, and leaves nothing of it.
#[test]
fn a_session_has_so_many_questions_open() {
    let scene = scene();
    let mut held = Vec::new();
    while SESSION_PENDING_MAX - scene.world.session().parked.len() >= 30 {
        let requests: Map<String, Value> = (0..30).map(|key| (key.to_string(), roots())).collect();
        will_ask(&scene, &requests.into(), None);
        let mut body = request(Era::Legacy, "tools/call", json!({"name":"jira_get"}));
        body["id"] = held.len().into();
        held.push(scene.send("alice", Era::Legacy, &body));
    }
    let open = scene.world.session().parked.len();
    let requests: Map<String, Value> = (0..30).map(|key| (key.to_string(), roots())).collect();
    will_ask(&scene, &requests.into(), None);
    let got = scene.call(Era::Legacy, "jira_get").messages();
    assert_eq!(got.len(), 1, "not one of its questions went out");
    assert_eq!(got[0]["error"]["code"], -32000);
    assert_eq!(scene.rows().last().unwrap(), "outcome refused too_many");
    assert_eq!(scene.world.session().parked.len(), open);
}

#[test]
fn what_the_client_did_not_declare_it_is_not_asked() {
    let form = json!({"method":"elicitation/create","params":{"message":"?","requestedSchema":{}}});
    let link = json!({"method":"elicitation/create","params":{"mode":"url","url":"https://a","message":"?"}});
    let mut tools = sample("1");
    tools["params"]["tools"] = json!([]);
    for (question, required) in [
        (form, json!({"elicitation":{}})),
        (link, json!({"elicitation":{"url":{}}})),
        (tools, json!({"sampling":{"tools":{}}})),
    ] {
        let scene = scene();
        // Beside one that could be asked.
        will_ask(&scene, &json!({"a":roots(),"b":question}), Some("secret"));
        let got = scene.call(Era::Legacy, "jira_set");
        assert_eq!((got.status, got.code()), (200, -32021));
        assert_eq!(
            got.json()["error"]["data"]["requiredCapabilities"],
            required
        );
        assert_eq!(
            scene.rows(),
            ["intent pending -", "outcome refused missing_capability"]
        );
        assert_eq!(calls(&scene).len(), 1);
        assert_nothing_left(&scene);
    }
}

/// What is no question ends the call; nobody is asked half of it.
#[test]
fn what_is_no_question_ends_the_call() {
    for requests in [
        json!({"a":roots(),"b":{"method":"tools/call","params":{"name":"x"}}}),
        json!({"a":{}}),
        json!({"a":"roots/list"}),
        json!({"a":{"method":"roots/list","params":[]}}),
        json!([]),
        json!({}),
    ] {
        let scene = scene();
        will_ask(&scene, &requests, None);
        let got = scene.call(Era::Legacy, "jira_get");
        assert_eq!(got.code(), -32000, "{requests}");
        assert_eq!(
            scene.rows(),
            ["outcome upstream_failed upstream_bad_answer"],
            "{requests}"
        );
        assert_nothing_left(&scene);
    }
    // Nor does one that no client could receive go out.
    let scene = super::asking::scene();
    let long = "x".repeat(CLIENT_EVENT_BYTES_MAX);
    will_ask(&scene, &json!({"a":roots(),"b":sample(&long)}), None);
    let got = scene.call(Era::Legacy, "jira_get").messages();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0]["error"]["code"], -32000);
    let rows = scene.rows();
    assert_eq!(
        rows.last().unwrap(),
        "outcome upstream_failed upstream_too_large"
    );
    assert_nothing_left(&scene);
}

/// Progress of each round is the client's own progress; a stream of notifications goes on across rounds.
#[test]
fn progress_goes_on_across_rounds() {
    let scene = scene();
    let progress = |step: u64| json!({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"$TOKEN","progress":step}});
    let seen = |step: u64| json!({"progressToken":TOKEN,"progress":step});
    scene.jira.will_answer(Canned::messages(&[
        progress(1),
        asks(&json!({"a":roots()}), Some("s")),
    ]));
    let end = json!({"jsonrpc":"2.0","id":"$ID","result":{"resultType":"complete","content":[]}});
    let text = [event(&progress(2)), event(&end)].concat();
    scene.jira.will_reply(move |request| {
        let bytes = super::upstreams::about(text.as_bytes(), request);
        Canned::events(vec![super::upstreams::Piece::Bytes(bytes)])
    });
    let mut got = scene.call(Era::Legacy, "jira_get");
    assert_eq!(got.next().unwrap()["params"], seen(1));
    let question = got.next().unwrap();
    answer(&scene, &question, &json!({"roots":[]}));
    assert_eq!(got.next().unwrap()["params"], seen(2));
    let end = got.next().unwrap();
    assert_eq!(
        (&end["id"], &end["result"]),
        (&json!(1), &json!({"content":[]}))
    );
    drop(got);
    assert_nothing_left(&scene);
}
