//! How a listening stream ends: by the rules, by time, by its servers.

use super::listen::{filter, listen, pushes, quiet, scene, updated};
use super::scene::{Got, Scene, active, document, person, request};
use portcullis::limits::LISTEN_MS_MAX;
use portcullis::mcp::Era;
use portcullis::portal::Caller;
use portcullis::portal::caller::Active;
use portcullis::portal::watch::still_admitted;
use serde_json::json;
use std::rc::Rc;

/// The same document without anybody's access.
pub fn closed(revision: u64) -> Rc<Active> {
    let mut document = document();
    document["portals"]["main"]["access"] = json!([]);
    active(revision, &document)
}

/// How many milliseconds after a revocation the stream ends with its result.
pub fn ends_after(scene: &Scene, got: &mut Got, within_ms: u64) -> Option<u64> {
    let begun = scene.world.timers.now_ms();
    loop {
        let next = got.next_until(begun + within_ms)?;
        match next {
            Some(message) if message.get("result").is_none() => {}
            Some(result) => {
                assert_eq!(result["result"]["resultType"], "complete");
                assert_eq!(result["id"], 1);
                assert_eq!(got.next(), None);
                return Some(scene.world.timers.now_ms() - begun);
            }
            None => return None,
        }
    }
}

#[test]
fn a_revocation_ends_the_stream_within_five_seconds() {
    let updated = updated("jira://a");
    for every_ms in [u64::MAX, 60_000, 3_100, 2_900, 1_000, 10] {
        let scene = scene();
        let source = if every_ms == u64::MAX {
            quiet(&["jira://a"])
        } else {
            pushes(&updated, every_ms)
        };
        scene.jira.will_answer(source);
        let mut got = listen(&scene, filter(&["jira://a"]));
        got.next();
        *scene.world.active.borrow_mut() = Some(closed(8));
        let ended = ends_after(&scene, &mut got, 20_000);
        assert!(
            ended.is_some_and(|ms| ms <= 5_000),
            "a push every {every_ms} ms: {ended:?}"
        );
        drop(got);
        assert_eq!(scene.world.upstreams.open(), 0);
    }
}

#[test]
fn a_stream_has_a_longest_life() {
    let updated = updated("jira://a");
    for source in [quiet(&["jira://a"]), pushes(&updated, 1_000)] {
        let scene = scene();
        scene.jira.will_answer(source);
        let mut got = listen(&scene, filter(&["jira://a"]));
        got.next();
        let ended = ends_after(&scene, &mut got, LISTEN_MS_MAX + 10_000);
        assert!(ended.is_some());
    }
}

/// What a server pushes after it was taken out of the portal, or switched off, is not passed on.
#[test]
fn a_server_that_was_switched_off_pushes_nothing() {
    let updated = updated("jira://a");
    let scene = scene();
    scene.jira.will_answer(pushes(&updated, 4_000));
    let mut got = listen(&scene, filter(&["jira://a"]));
    got.next();
    let mut document = document();
    document["servers"]["jira"]["enabled"] = false.into();
    *scene.world.active.borrow_mut() = Some(active(8, &document));
    let begun = scene.world.timers.now_ms();
    while let Some(Some(message)) = got.next_until(begun + 60_000) {
        let after = scene.world.timers.now_ms() - begun;
        let is_update = message["method"] == "notifications/resources/updated";
        assert!(!is_update || after <= 5_000, "an update {after} ms later");
    }
}

#[test]
fn who_may_go_on_is_judged_by_the_rules_in_force() {
    let scene = scene();
    let body = request(Era::Modern, "subscriptions/listen", json!({}));
    let caller = scene.caller("alice", Era::Modern, &body);
    let now = scene.world.timers.now_ms();
    let judge = |caller: &Rc<Caller>, active: Option<Rc<Active>>, now_ms| {
        *scene.world.active.borrow_mut() = active;
        scene
            .world
            .timers
            .run(still_admitted(&scene.world, caller, now_ms))
    };
    let same = scene.active.clone();
    assert!(judge(&caller, Some(same.clone()), now).is_some());
    assert!(judge(&caller, None, now).is_none(), "no rules can be read");
    assert!(judge(&caller, Some(closed(8)), now).is_none());
    let newer = judge(&caller, Some(active(8, &document())), now).unwrap();
    assert_eq!(newer.active.revision, 8);
    let mut expiring = person("alice");
    expiring.expires_at_ms = now;
    let expiring = Rc::new(Caller {
        principal: Rc::new(expiring),
        ..(*caller).clone()
    });
    assert!(judge(&expiring, Some(same.clone()), now - 1).is_some());
    assert!(
        judge(&expiring, Some(same), now).is_none(),
        "the token's own end"
    );
}
