//! Calls of a session whose object begins anew: a round goes on where it waited, a stream where its server lets it, and
//! everything else ends by name. No call is made twice.

use portcullis::limits::{INPUT_WAIT_MS, KEEP_ALIVE_MS};
use portcullis::mcp::Era;
use portcullis::portal::rounds;
use serde_json::{Value, json};

use super::asking::{
    answer, assert_nothing_left, begin_anew, calls, kept_call, revived, revived_by_answer, roots,
    sample, sampled, scene, will_ask,
};
use super::mcp_server::Speaks;
use super::scene::{Scene, document};
use super::upstreams::{Canned, Piece};

/// A call that asked two things in an object that began anew since; the first is answered already.
fn asked(tool: &str) -> (Scene, [Value; 2]) {
    let scene = scene();
    will_ask(&scene, &json!({"a":sample("1"),"b":roots()}), Some("s"));
    let mut got = scene.call(Era::Legacy, tool);
    let questions = [got.next().unwrap(), got.next().unwrap()];
    answer(&scene, &questions[0], &sampled("1"));
    begin_anew(&scene, got);
    (scene, questions)
}

#[track_caller]
fn assert_interrupted(got: &[Value]) {
    assert_eq!(got.len(), 1, "{got:?}");
    assert_eq!(
        (&got[0]["id"], &got[0]["error"]["code"]),
        (&json!(1), &json!(-32000))
    );
    let text = got[0]["error"]["message"].as_str().unwrap();
    assert!(
        text.contains("interrupted") && text.contains("not repeated"),
        "{text}"
    );
}

#[test]
fn a_round_goes_on_when_the_client_answers() {
    let (scene, [_, question]) = asked("jira_set");
    assert_eq!(answer(&scene, &question, &json!({"roots":[]})).status, 202);
    let got = revived_by_answer(&scene);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0]["id"], 1);
    assert_eq!(got[0]["result"]["content"][0]["text"], "done");
    let calls = calls(&scene);
    assert_eq!(calls.len(), 2);
    assert_eq!(
        calls[1]["params"]["inputResponses"],
        json!({"a":sampled("1"),"b":{"roots":[]}}),
        "what was answered before is kept"
    );
    assert_eq!(calls[1]["params"]["requestState"], "s");
    assert_eq!(
        scene.rows(),
        [
            "intent pending -",
            "outcome input_required -",
            "outcome ok -"
        ]
    );
    let rows = scene.world.ledger.rows();
    assert!(rows.iter().all(|row| row.request_id == rows[0].request_id));
    assert_nothing_left(&scene);
}

/// The client comes back for its stream before it answers.
#[test]
fn a_round_goes_on_when_the_client_comes_back() {
    let (scene, [_, question]) = asked("jira_set");
    let world = &scene.world;
    let call = kept_call(&scene);
    let mut events = world.run(rounds::revive(world, &call)).expect("goes on");
    let soon = world.timers.now_ms() + 1_000;
    let next = futures::StreamExt::next(&mut events);
    assert!(world.run_until(next, soon).is_none(), "waits");
    answer(&scene, &question, &json!({"roots":[]}));
    assert!(
        world.keeper.revived.borrow().is_empty(),
        "it is here already"
    );
    let end = world.run(futures::StreamExt::next(&mut events)).unwrap();
    let portcullis::portal::Outgoing::Message(end) = end else {
        panic!("no message")
    };
    let end: Value = serde_json::from_slice(&end).unwrap();
    assert_eq!(end["result"]["content"][0]["text"], "done");
    assert_eq!(calls(&scene).len(), 2);
}

#[test]
fn a_further_round_follows_in_the_new_object() {
    let (scene, [_, question]) = asked("jira_set");
    will_ask(&scene, &json!({"c":roots()}), Some("t"));
    answer(&scene, &question, &json!({"roots":[]}));
    let mut events = scene.world.keeper.revived.borrow_mut().pop().unwrap();
    let next = scene
        .world
        .run(futures::StreamExt::next(&mut events))
        .unwrap();
    let portcullis::portal::Outgoing::Message(next) = next else {
        panic!("no message")
    };
    let next: Value = serde_json::from_slice(&next).unwrap();
    assert_eq!(next["method"], "roots/list");
    std::mem::forget(events);
    scene.world.begin_anew();
    answer(&scene, &next, &json!({"roots":[]}));
    let got = revived_by_answer(&scene);
    assert_eq!(got[0]["result"]["content"][0]["text"], "done");
    let calls = calls(&scene);
    let mut ids: Vec<&Value> = calls.iter().map(|call| &call["id"]).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3, "rounds go on counting: {ids:?}");
    assert_nothing_left(&scene);
}

/// As quiet as it is, the stream is kept open.
#[test]
fn a_stream_that_goes_on_is_kept_open() {
    let (scene, _) = asked("jira_get");
    let world = &scene.world;
    let call = kept_call(&scene);
    let mut events = world.run(rounds::revive(world, &call)).expect("goes on");
    let begun = world.timers.now_ms();
    let next = world.run(futures::StreamExt::next(&mut events));
    assert_eq!(next, Some(portcullis::portal::Outgoing::KeepAlive));
    assert_eq!(world.timers.now_ms(), begun + KEEP_ALIVE_MS);
}

#[test]
fn an_error_after_that_ends_the_call() {
    let (scene, [_, question]) = asked("jira_set");
    let refusal = json!({"jsonrpc":"2.0","id":question["id"],"error":{"code":-1,"message":"no"}});
    assert_eq!(scene.send("alice", Era::Legacy, &refusal).status, 202);
    let got = revived_by_answer(&scene);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0]["error"]["code"], -32000);
    assert_eq!(
        scene.rows().last().unwrap(),
        "outcome refused input_refused"
    );
    assert_nothing_left(&scene);
}

#[test]
fn a_cancellation_after_that_ends_the_call() {
    let (scene, [_, question]) = asked("jira_set");
    let world = &scene.world;
    let call = kept_call(&scene);
    let mut events = world.run(rounds::revive(world, &call)).expect("goes on");
    let cancel =
        json!({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}});
    scene.send("alice", Era::Legacy, &cancel);
    assert_eq!(world.run(futures::StreamExt::next(&mut events)), None);
    drop(events);
    assert_eq!(scene.rows().last().unwrap(), "outcome cancelled -");
    assert_eq!(
        answer(&scene, &question, &json!({"roots":[]})).code(),
        -32600
    );
    assert_eq!(calls(&scene).len(), 1);
    assert_nothing_left(&scene);
}

/// The time to answer is the round's, however often its object begins anew.
#[test]
fn the_time_to_answer_goes_on() {
    let (scene, [_, question]) = asked("jira_set");
    let begun = scene.world.timers.now_ms();
    scene.world.timers.pass(INPUT_WAIT_MS - 1_000);
    let mut got = revived(&scene);
    assert_eq!(got.pop().unwrap()["error"]["code"], -32000);
    let taken_back = |notice: &Value| notice["params"]["requestId"] == question["id"];
    assert!(
        got.iter().any(taken_back),
        "a person need not answer any more"
    );
    assert_eq!(
        scene.rows().last().unwrap(),
        "outcome cancelled input_expired"
    );
    assert!(scene.world.timers.now_ms() <= begun + INPUT_WAIT_MS);
    assert_nothing_left(&scene);
}

/// The answers were on their way to the server: nobody knows what became of them.
#[test]
fn a_call_that_had_left_is_not_made_again() {
    for reply in [Canned::hang(), Canned::events(vec![Piece::Hang])] {
        let scene = scene();
        will_ask(&scene, &json!({"a":roots()}), Some("s"));
        scene.jira.will_answer(reply);
        let mut got = scene.call(Era::Legacy, "jira_set");
        let question = got.next().unwrap();
        answer(&scene, &question, &json!({"roots":[]}));
        let soon = scene.world.timers.now_ms() + 1_000;
        assert!(got.next_until(soon).is_none());
        assert_eq!(calls(&scene).len(), 2);
        begin_anew(&scene, got);
        assert_interrupted(&revived(&scene));
        assert_eq!(calls(&scene).len(), 2);
        assert_eq!(
            scene.rows(),
            [
                "intent pending -",
                "outcome input_required -",
                "outcome interrupted call_interrupted"
            ]
        );
        let session = scene.world.session();
        assert!(session.parked.is_empty() && session.in_flight.is_empty());
        assert!(scene.world.keeper.calls.borrow().is_empty());
    }
}

/// A first request to a modern server that was on its way, with its stream open.
#[test]
fn a_stream_of_a_modern_server_cannot_be_taken_up() {
    let scene = scene();
    let progress = json!({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"$TOKEN","progress":1}});
    let text = super::upstreams::event(&progress);
    scene.jira.will_reply(move |request| {
        let bytes = super::upstreams::about(format!("id: e1\n{text}").as_bytes(), request);
        Canned::events(vec![Piece::Bytes(bytes), Piece::Hang])
    });
    let mut got = scene.call(Era::Legacy, "jira_set");
    assert!(got.next().is_some());
    begin_anew(&scene, got);
    assert_interrupted(&revived(&scene));
    assert_eq!(scene.sent(), ["jira tools/call"]);
}

/// A call of a legacy client on a legacy server, with its stream open, in an object that began anew.
fn plain(event_id: Option<&str>, asks: bool) -> Scene {
    let scene = Scene::new(Speaks::Legacy, Speaks::Legacy).synced();
    scene.world.with_session();
    scene.call(Era::Legacy, "jira_get");
    scene.world.clear();
    let message = if asks {
        json!({"jsonrpc":"2.0","id":5,"method":"roots/list","params":{}})
    } else {
        json!({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"$TOKEN","progress":1}})
    };
    let id = event_id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    let text = format!("{id}{}", super::upstreams::event(&message));
    scene.jira.will_reply(move |request| {
        let bytes = super::upstreams::about(text.as_bytes(), request);
        Canned::events(vec![Piece::Bytes(bytes), Piece::Hang])
    });
    let mut got = scene.call(Era::Legacy, "jira_set");
    assert!(got.next().is_some());
    begin_anew(&scene, got);
    scene
}

#[test]
fn a_legacy_servers_stream_is_taken_up() {
    let scene = plain(Some("e1"), false);
    let end = json!({"jsonrpc":"2.0","id":1,"result":{"content":[]}});
    scene
        .jira
        .will_answer(Canned::messages(std::slice::from_ref(&end)));
    assert_eq!(revived(&scene), [end]);
    assert_eq!(scene.sent(), ["jira tools/call", "jira GET"]);
    let get = &scene.world.upstreams.of("GET")[0];
    assert_eq!(get.header("Last-Event-ID"), Some("e1"));
    assert_eq!(scene.rows(), ["intent pending -", "outcome ok -"]);
    let session = scene.world.session();
    assert!(session.in_flight.is_empty(), "{:?}", session.in_flight);
    assert!(scene.world.keeper.calls.borrow().is_empty());
}

/// What goes on can be cancelled there too.
#[test]
fn a_stream_that_was_taken_up_can_be_cancelled() {
    let scene = plain(Some("e1"), false);
    scene.jira.will_answer(Canned::events(vec![Piece::Hang]));
    let world = &scene.world;
    let call = kept_call(&scene);
    let events = world.run(rounds::revive(world, &call)).expect("goes on");
    let cancel =
        json!({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}});
    scene.send("alice", Era::Legacy, &cancel);
    let heard = world.upstreams.of("notifications/cancelled");
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].json(), cancel);
    drop(events);
}

#[test]
fn a_legacy_servers_stream_without_event_ids_ends_by_name() {
    for (event_id, asks) in [(None, false), (None, true), (Some("e1"), true)] {
        let scene = plain(event_id, asks);
        if event_id.is_some() {
            scene.jira.will_answer(Canned::status(404));
        }
        assert_interrupted(&revived(&scene));
        assert_eq!(scene.world.upstreams.of("tools/call").len(), 1);
        let row = "outcome interrupted call_interrupted";
        assert_eq!(scene.rows(), ["intent pending -", row]);
        let session = scene.world.session();
        assert_eq!(session.parked, [], "nobody waits for an answer any more");
        assert!(session.in_flight.is_empty(), "{:?}", session.in_flight);
        assert!(scene.world.keeper.calls.borrow().is_empty());
    }
}

/// The rules changed against it: the call ends by name, and so it is recorded, whoever may still be here.
#[test]
fn rules_that_changed_since_end_the_call() {
    let change = |change: fn(&mut Value)| {
        let mut changed = document();
        change(&mut changed);
        changed
    };
    for changed in [
        change(|d| d["servers"]["jira"]["tools"]["deny"] = json!(["set"])),
        change(|d| d["portals"]["main"]["servers"] = json!(["wiki"])),
        change(|d| d["servers"]["jira"]["enabled"] = json!(false)),
        change(|d| {
            d["portals"]["main"]["access"][0]["include"] = json!([{"email":"other@acme.example"}]);
        }),
    ] {
        let (mut scene, _) = asked("jira_set");
        scene.apply(&changed);
        assert_interrupted(&revived(&scene));
        assert_eq!(calls(&scene).len(), 1, "{changed}");
        assert_eq!(
            scene.rows(),
            [
                "intent pending -",
                "outcome input_required -",
                "outcome interrupted call_interrupted"
            ],
            "{changed}"
        );
        assert_nothing_left(&scene);
    }
}

#[test]
fn a_row_that_cannot_be_read_is_nobodys() {
    let (scene, _) = asked("jira_set");
    let call = kept_call(&scene);
    scene
        .world
        .keeper
        .calls
        .borrow_mut()
        .get_mut(&call)
        .unwrap()
        .text = "{}".to_owned();
    let world = &scene.world;
    assert!(world.run(rounds::revive(world, &call)).is_none());
    assert!(world.run(rounds::revive(world, "no such call")).is_none());
}
