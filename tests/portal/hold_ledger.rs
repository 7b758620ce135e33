//! Held calls while the audit trail or the object's own rows cannot be written: nothing is delivered twice, and where
//! nothing left, nothing is lost.

use serde_json::json;

use super::bridge::{Bridge, accept, asked, assert_done, done, form};
use super::ledger::Break;
use super::upstreams::Canned;

const FAULTS: [Break; 2] = [Break::Before, Break::AfterPersist];

/// The intent is not durable: the call does not leave.
#[test]
fn a_call_that_cannot_be_recorded_is_not_made() {
    for fault in FAULTS {
        let bridge = Bridge::new();
        bridge.scene.world.ledger.break_next(&[Some(fault)]);
        let got = bridge.call("jira_set");
        assert_eq!((got.status, got.code()), (503, -32603));
        assert_eq!(bridge.calls(), 0);
        assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
    }
}

/// The round's end is not recorded: its questions are withheld, and the call ends.
#[test]
fn a_round_that_cannot_be_recorded_is_not_shown() {
    for fault in FAULTS {
        let bridge = Bridge::new();
        bridge.live.say(&form(5));
        bridge.scene.world.ledger.break_next(&[None, Some(fault)]);
        let got = bridge.call("jira_set");
        assert_eq!(got.code(), -32603, "{fault:?}");
        assert!(!got.json().to_string().contains("number 5"));
        bridge
            .scene
            .world
            .play(portcullis::limits::INPUT_WAIT_MS + 1);
        assert_eq!(
            bridge.cancels().len(),
            1,
            "the server does not wait for ever"
        );
        assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
        let rows = bridge.scene.rows();
        assert!(
            rows.contains(&"outcome input_required -".to_owned()),
            "{rows:?}"
        );
    }
}

/// The intent of a round of answers is not durable: nothing leaves, and the same state is good for another attempt.
#[test]
fn answers_that_cannot_be_recorded_do_not_leave() {
    for fault in FAULTS {
        let bridge = Bridge::new();
        bridge.ends_when_answered();
        let first = bridge.asked("jira_set");
        bridge.scene.world.ledger.break_next(&[Some(fault)]);
        let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
        assert_eq!((got.status, got.code()), (503, -32603), "{fault:?}");
        assert_eq!(bridge.delivered(), []);
        let got = bridge.retry("jira_set", &first.state, &first.all(&accept(2)));
        assert_done(&got);
        assert_eq!(bridge.delivered(), [(json!(5), accept(2))]);
        assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
    }
}

/// Also in an object that began anew in between.
#[test]
fn answers_that_cannot_be_recorded_do_not_leave_a_new_object_either() {
    for fault in FAULTS {
        let bridge = Bridge::new();
        bridge.live.say_as("e1", &form(5));
        let first = asked(&bridge.call("jira_set"));
        bridge.scene.world.begin_anew();
        let live = super::live::Live::default();
        let opened = live.clone();
        bridge
            .scene
            .jira
            .will_reply(move |request| opened.opened(request));
        bridge.scene.jira.when_answered(move |_| {
            live.say(&done());
            Canned::status(202)
        });
        bridge.scene.world.ledger.break_next(&[Some(fault)]);
        let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
        assert_eq!(got.code(), -32603, "{fault:?}");
        assert_eq!(bridge.delivered(), []);
        let got = bridge.retry("jira_set", &first.state, &first.all(&accept(2)));
        assert_done(&got);
        assert_eq!(bridge.delivered(), [(json!(5), accept(2))]);
        assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
    }
}

/// And where nobody tries again, the call still ends in its time.
#[test]
fn a_call_whose_answers_did_not_leave_still_ends_in_its_time() {
    for anew in [false, true] {
        let bridge = Bridge::new();
        bridge.live.say_as("e1", &form(5));
        let first = asked(&bridge.call("jira_set"));
        if anew {
            bridge.scene.world.begin_anew();
            let live = bridge.live.clone();
            bridge
                .scene
                .jira
                .will_reply(move |request| live.opened(request));
        }
        bridge.scene.world.ledger.break_next(&[Some(Break::Before)]);
        let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
        assert_eq!(got.code(), -32603);
        bridge.scene.world.clear();
        bridge
            .scene
            .world
            .play(portcullis::limits::INPUT_WAIT_MS + 1);
        assert_eq!(
            bridge.scene.rows(),
            ["outcome cancelled input_expired"],
            "{anew}"
        );
        assert_eq!(bridge.cancels().len(), 1, "{anew}");
        assert_eq!((bridge.holds(), bridge.kept()), (0, 0), "{anew}");
    }
}

/// The outcome of a write is not recorded: its answer is withheld, and nobody gets it by asking again.
#[test]
fn an_answer_that_cannot_be_recorded_is_withheld() {
    for fault in FAULTS {
        let bridge = Bridge::new();
        bridge.ends_when_answered();
        let first = bridge.asked("jira_set");
        bridge.scene.world.ledger.break_next(&[None, Some(fault)]);
        let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
        assert_eq!(got.code(), -32603, "{fault:?}");
        assert!(!got.json().to_string().contains("done"));
        let got = bridge.retry("jira_set", &first.state, &first.all(&accept(2)));
        assert_eq!(got.code(), -32602);
        assert_eq!(bridge.delivered(), [(json!(5), accept(1))], "once");
        assert_eq!(bridge.calls(), 1);
        let rows = bridge.scene.rows();
        let outcomes = rows.iter().filter(|row| *row == "outcome ok -").count();
        assert_eq!(outcomes, 1, "{rows:?}");
    }
}

/// Reads are recorded soon after; an audit trail that is away does not stop them.
#[test]
fn reads_go_on_without_the_ledger() {
    let bridge = Bridge::new();
    bridge.ends_when_answered();
    bridge
        .scene
        .world
        .ledger
        .break_next(&[Some(Break::Before); 8]);
    let first = bridge.asked("jira_get");
    assert_done(&bridge.retry("jira_get", &first.state, &first.all(&accept(1))));
    assert_eq!(bridge.scene.world.ledger.breaks.borrow().len(), 8);
}

/// Rows that cannot be stored: nobody is asked what could not be answered later, and the server hears so.
#[test]
fn questions_that_cannot_be_kept_are_declined() {
    let bridge = Bridge::new();
    bridge.scene.world.keeper.is_broken.set(true);
    bridge.live.say(&form(5));
    bridge.live.say(&form(6));
    let got = bridge.call("jira_set");
    assert_eq!((got.code(), got.status), (-32603, 200));
    bridge.scene.world.play(10);
    let sent = bridge.scene.world.upstreams.of("response");
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|sent| sent.json()["error"].is_object()));
    assert_eq!(bridge.cancels().len(), 1);
    assert_eq!(
        bridge.scene.rows(),
        ["intent pending -", "outcome interrupted session_state"]
    );
    assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
    assert_eq!(bridge.scene.world.upstreams.open(), 0);
}

#[test]
fn questions_of_a_later_round_that_cannot_be_kept_leave_nothing() {
    let bridge = Bridge::new();
    let first = bridge.asked("jira_set");
    let (live, world) = (bridge.live.clone(), bridge.scene.world.clone());
    bridge.scene.jira.when_answered(move |answer| {
        if answer.get("result").is_some() {
            world.keeper.is_broken.set(true);
            live.say(&form(6));
        }
        Canned::status(202)
    });
    let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
    assert_eq!(got.code(), -32603);
    bridge.scene.world.play(10);
    assert_eq!(bridge.cancels().len(), 1);
    assert_eq!(
        (bridge.holds(), bridge.kept()),
        (0, 0),
        "no row of a call that ended"
    );
}

/// Rows that cannot be stored when answers come: nothing leaves, and the state stays good.
#[test]
fn answers_that_cannot_be_noted_do_not_leave() {
    let bridge = Bridge::new();
    bridge.ends_when_answered();
    let first = bridge.asked("jira_set");
    bridge.scene.world.keeper.is_broken.set(true);
    let got = bridge.retry("jira_set", &first.state, &first.all(&accept(1)));
    assert_eq!(got.code(), -32603);
    assert_eq!(bridge.delivered(), []);
    bridge.scene.world.keeper.is_broken.set(false);
    let got = bridge.retry("jira_set", &first.state, &first.all(&accept(2)));
    assert_done(&got);
    assert_eq!(bridge.delivered(), [(json!(5), accept(2))]);
}

/// What is asked again cannot be kept: the call ends, and its server is told.
#[test]
fn what_cannot_be_asked_again_ends_the_call() {
    let bridge = Bridge::new();
    bridge.live.say(&form(5));
    bridge.live.say(&form(6));
    let first = asked(&bridge.call("jira_set"));
    let world = bridge.scene.world.clone();
    bridge.scene.jira.when_answered(move |_| {
        world.keeper.is_broken.set(true);
        Canned::status(202)
    });
    let got = bridge.retry("jira_set", &first.state, &json!({first.key(0): accept(1)}));
    assert_eq!(got.code(), -32603);
    bridge.scene.world.play(10);
    assert_eq!(bridge.cancels().len(), 1);
    assert_eq!((bridge.holds(), bridge.kept()), (0, 0));
    let rows = bridge.scene.rows();
    assert_eq!(
        rows.iter().filter(|row| row.starts_with("intent")).count(),
        2
    );
}
