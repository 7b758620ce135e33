//! Held calls whose object begins anew: taken up where the server lets them be, else ended by name, never made again.

use portcullis::limits::INPUT_WAIT_MS;
use portcullis::portal::hold::sweep;
use serde_json::{Value, json};

use super::bridge::{Asked, Bridge, accept, asked, assert_done, done, form};
use super::ledger::Break;
use super::live::Live;
use super::upstreams::Canned;

/// A call that waits, with an event id on its stream, in an object that began anew.
fn anew(event_id: Option<&str>) -> (Bridge, Asked) {
    let bridge = Bridge::new();
    match event_id {
        Some(id) => bridge.live.say_as(id, &form(5)),
        None => bridge.live.say(&form(5)),
    }
    let first = asked(&bridge.call("jira_set"));
    bridge.scene.world.clear();
    bridge.scene.world.begin_anew();
    assert_eq!((bridge.holds(), bridge.kept()), (0, 1));
    (bridge, first)
}

/// What the server sends on the stream that is taken up.
fn resumed(bridge: &Bridge) -> Live {
    let live = Live::default();
    let opened = live.clone();
    bridge
        .scene
        .jira
        .will_reply(move |request| opened.opened(request));
    live
}

#[test]
fn a_stream_with_event_ids_is_taken_up() {
    let (bridge, first) = anew(Some("e1"));
    let live = resumed(&bridge);
    let again = live.clone();
    bridge.scene.jira.when_answered(move |_| {
        again.say(&done());
        Canned::status(202)
    });
    let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
    assert_done(&got);
    assert_eq!(bridge.scene.sent(), ["jira GET", "jira response"]);
    let get = &bridge.scene.world.upstreams.of("GET")[0];
    assert_eq!(get.header("Last-Event-ID"), Some("e1"));
    assert!(get.header("Mcp-Session-Id").is_some());
    assert_eq!(bridge.scene.rows(), ["intent pending -", "outcome ok -"]);
    assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
}

/// The last id counts, also one that came while nobody was there.
#[test]
fn event_ids_are_noted_while_a_call_waits() {
    let bridge = Bridge::new();
    bridge.live.say_as("e1", &form(5));
    let first = asked(&bridge.call("jira_set"));
    bridge.live.say_as("e2", &super::bridge::progress(1));
    bridge.scene.world.play(10);
    bridge.scene.world.begin_anew();
    let live = resumed(&bridge);
    live.say(&done());
    let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
    assert_done(&got);
    let get = &bridge.scene.world.upstreams.of("GET")[0];
    assert_eq!(get.header("Last-Event-ID"), Some("e2"));
}

#[test]
fn further_rounds_go_on_in_the_new_object() {
    let (bridge, first) = anew(Some("e1"));
    let live = resumed(&bridge);
    let again = live.clone();
    bridge.scene.jira.when_answered(move |_| {
        again.say_as("e2", &form(6));
        Canned::status(202)
    });
    let second = asked(&bridge.retry("jira_set", &first.state, &first.all(&accept(1))));
    assert_eq!((bridge.holds(), bridge.kept()), (1, 1));
    assert_ne!(second.key(0), first.key(0));
    // And once more.
    bridge.scene.world.begin_anew();
    let last = resumed(&bridge);
    bridge.scene.jira.when_answered(move |_| {
        last.say(&done());
        Canned::status(202)
    });
    let got = bridge.retry("jira_set", &second.state, &second.all(&accept(2)));
    assert_done(&got);
    assert_eq!(
        bridge.delivered(),
        [(json!(5), accept(1)), (json!(6), accept(2))]
    );
    assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
}

/// Without event ids, or with a server that does not know them any more, nobody can go on: the call is not made again.
#[test]
fn a_stream_that_cannot_be_taken_up_ends_the_call_by_name() {
    for (event_id, status) in [
        (None, 0),
        (Some("e1"), 404),
        (Some("e1"), 405),
        (Some("e1"), 500),
    ] {
        let (bridge, first) = anew(event_id);
        if status > 0 {
            bridge.scene.jira.will_answer(Canned::status(status));
        }
        let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
        assert_eq!(got.code(), -32000, "{status}");
        let text = got.json()["error"]["message"].as_str().unwrap();
        assert!(
            text.contains("interrupted") && text.contains("not repeated"),
            "{text}"
        );
        bridge.scene.world.play(10);
        assert_eq!(
            bridge.scene.rows(),
            ["refusal refused call_interrupted"],
            "{status}"
        );
        assert_eq!((bridge.calls(), bridge.delivered().len()), (0, 0));
        assert_eq!(bridge.cancels().len(), 1, "the server may stop");
        assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
    }
}

#[test]
fn a_state_is_good_once_also_in_a_new_object() {
    let (bridge, first) = anew(Some("e1"));
    let live = resumed(&bridge);
    live.say(&done());
    let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
    assert_done(&got);
    let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
    assert_eq!(got.code(), -32602);
    let rows = bridge.scene.rows();
    assert_eq!(rows.last().unwrap(), "refusal refused input_taken");
}

/// The object ended after it noted what a round answered: the same state goes on, since the client never heard of it.
#[test]
fn a_round_that_was_cut_off_can_be_repeated() {
    let bridge = Bridge::new();
    bridge.live.say_as("e1", &form(5));
    bridge.live.say_as("e2", &form(6));
    let first = asked(&bridge.call("jira_set"));
    // One of two, and the server takes its time.
    let one = json!({first.key(0): accept(1)});
    bridge.scene.jira.when_answered(|_| Canned::hang());
    let body = bridge.retry_body("jira_set", &first.state, &one);
    let caller = bridge
        .scene
        .caller("alice", portcullis::mcp::Era::Modern, &body);
    let text = body.to_string();
    let message = portcullis::mcp::Message::parse(text.as_bytes()).unwrap();
    let world = &bridge.scene.world;
    let soon = world.timers.now_ms() + 100;
    let cut = Box::pin(portcullis::portal::handle(world, &caller, &message));
    assert!(world.run_until(cut, soon).is_none());
    world.begin_anew();
    bridge.scene.world.clear();
    let live = resumed(&bridge);
    let mut heard = 0;
    bridge.scene.jira.when_answered(move |_| {
        heard += 1;
        if heard == 2 {
            live.say(&done());
        }
        Canned::status(202)
    });
    // Also where the first attempt in the new object could not be recorded.
    bridge.scene.world.ledger.break_next(&[Some(Break::Before)]);
    let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
    assert_eq!(got.code(), -32603);
    let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
    assert_done(&got);
    let ids: Vec<Value> = bridge.delivered().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [5, 6]);
    assert_eq!(bridge.calls(), 0);
}

/// Nobody comes back to the new object either: what is left of the call ends there.
#[test]
fn what_nobody_comes_back_for_is_swept() {
    let (bridge, first) = anew(None);
    let world = &bridge.scene.world;
    let (call, text) = {
        let calls = world.keeper.calls.borrow();
        let (call, row) = calls.iter().next().unwrap();
        (call.clone(), row.text.clone())
    };
    world.play(INPUT_WAIT_MS - 1_000);
    world.run(sweep(world, &call, &text));
    assert_eq!(
        (bridge.kept(), bridge.scene.rows().len()),
        (1, 0),
        "not yet"
    );
    world.play(1_000);
    world.run(sweep(world, &call, &text));
    world.play(10);
    assert_eq!(bridge.kept(), 0);
    assert_eq!(bridge.scene.rows(), ["outcome cancelled input_expired"]);
    assert_eq!(bridge.cancels().len(), 1);
    let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
    assert_eq!(got.code(), -32602);
    assert_eq!(
        bridge.scene.rows().last().unwrap(),
        "refusal refused input_expired"
    );
}

/// A call that is here is its own task's to end.
#[test]
fn what_is_here_is_not_swept() {
    let bridge = Bridge::new();
    bridge.asked("jira_set");
    let world = &bridge.scene.world;
    let (call, text) = {
        let calls = world.keeper.calls.borrow();
        let (call, row) = calls.iter().next().unwrap();
        (call.clone(), row.text.clone())
    };
    world.clear();
    world.timers.pass(INPUT_WAIT_MS);
    let swept = Box::pin(sweep(world, &call, &text));
    world.timers.run(swept);
    world.play(10);
    assert_eq!(
        bridge.scene.rows(),
        ["outcome cancelled input_expired"],
        "once"
    );
    assert_eq!(bridge.cancels().len(), 1, "once");
}

/// Two retries with one state, while the stream is being taken up: one goes on with the call, the other is told.
#[test]
fn of_two_retries_in_a_new_object_one_is_taken() {
    let (bridge, first) = anew(Some("e1"));
    let (live, slower) = (resumed(&bridge), resumed(&bridge));
    bridge.scene.jira.when_answered(move |_| {
        live.say(&done());
        slower.say(&done());
        Canned::status(202)
    });
    let mut codes = bridge.race("jira_set", &first).map(|got| {
        let end = got.messages().pop().unwrap_or_default();
        end["error"]["code"].as_i64()
    });
    codes.sort_unstable();
    assert_eq!(codes, [None, Some(-32602)]);
    assert_eq!(bridge.delivered().len(), 1, "the answers leave once");
    assert!(bridge.scene.rows().contains(&"outcome ok -".to_owned()));
}
