//! Subscriptions: what is pushed, what is noticed, and when it ends.

use std::rc::Rc;

use portcullis::limits::{EPOCH_AGE_MAX_MS, LISTEN_MS_MAX, SUBSCRIPTIONS_MAX};
use portcullis::mcp::Era;
use portcullis::portal::Caller;
use portcullis::portal::caller::Active;
use portcullis::portal::watch::still_admitted;
use serde_json::{Value, json};

use super::mcp_server::Speaks;
use super::scene::{Got, Scene, active, document, person, request};
use super::upstreams::{Canned, Piece, event};

const EVERYTHING: [(&str, bool); 3] = [
    ("toolsListChanged", true),
    ("promptsListChanged", true),
    ("resourcesListChanged", true),
];

fn scene() -> Scene {
    Scene::new(Speaks::Modern, Speaks::Modern).synced()
}

fn filter(uris: &[&str]) -> Value {
    let mut filter: Value = EVERYTHING
        .iter()
        .map(|(key, on)| ((*key).to_owned(), Value::Bool(*on)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    if !uris.is_empty() {
        filter["resourceSubscriptions"] = json!(uris);
    }
    filter
}

fn listen(scene: &Scene, notifications: Value) -> Got {
    scene.ask(
        "alice",
        Era::Modern,
        "subscriptions/listen",
        json!({"notifications":notifications}),
    )
}

fn notice(method: &str, params: Value) -> Value {
    json!({"jsonrpc":"2.0","method":method,"params":params})
}

/// A server's stream that sends the same message every so often, for as long as anybody listens.
fn pushes(message: &Value, every_ms: u64) -> Canned {
    let piece = || {
        [
            Piece::Wait(every_ms),
            Piece::Bytes(event(message).into_bytes()),
        ]
    };
    Canned::events((0..2_000).flat_map(|_| piece()).collect())
}

fn quiet() -> Canned {
    Canned::events(vec![Piece::Hang])
}

#[test]
fn the_first_message_says_what_is_honoured() {
    let scene = scene();
    scene.jira.will_answer(quiet());
    scene.wiki.will_answer(quiet());
    let mut got = listen(&scene, filter(&["jira://a", "nobody://x"]));
    let first = got.next().unwrap();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(
        first["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        1
    );
    assert_eq!(
        first["params"]["notifications"],
        filter(&["jira://a"]),
        "nobody offers the other"
    );
    let sent = scene.world.upstreams.of("subscriptions/listen");
    let asked = |server: &str| {
        sent.iter().find(|s| s.server == server).unwrap().json()["params"]["notifications"].clone()
    };
    assert_eq!(asked("jira"), filter(&["jira://a"]));
    assert_eq!(
        asked("wiki"),
        filter(&[]),
        "each server hears of its own resources only"
    );
    assert_eq!(scene.rows(), ["outcome ok -"]);
    drop(got);
    assert_eq!(scene.world.upstreams.open(), 0);
}

#[test]
fn filters_that_do_not_fit_are_refused() {
    let scene = scene();
    let got = scene.ask("alice", Era::Modern, "subscriptions/listen", json!({}));
    assert_eq!(got.code(), -32602);
    let many: Vec<String> = (0..=SUBSCRIPTIONS_MAX)
        .map(|index| format!("jira://{index}"))
        .collect();
    let got = listen(&scene, json!({"resourceSubscriptions":many}));
    assert_eq!(got.status, 429);
    assert_eq!(
        scene.rows(),
        ["refusal refused bad_params", "refusal refused too_many"]
    );
    assert_eq!(scene.sent(), [""; 0]);
}

#[test]
fn what_a_server_pushes_is_passed_on_under_the_clients_subscription() {
    let scene = scene();
    let text = [
        notice(
            "notifications/subscriptions/acknowledged",
            json!({"notifications":{}}),
        ),
        notice(
            "notifications/resources/updated",
            json!({"uri":"jira://a","_meta":{"x":1}}),
        ),
        notice(
            "notifications/resources/updated",
            json!({"uri":"jira://page/9"}),
        ),
        notice("notifications/tools/list_changed", json!({})),
        notice("notifications/message", json!({"level":"info","data":"x"})),
    ]
    .iter()
    .map(event)
    .collect::<String>();
    scene.jira.will_answer(Canned::events(vec![
        Piece::Bytes(text.into_bytes()),
        Piece::Hang,
    ]));
    let mut got = listen(&scene, filter(&["jira://a"]));
    got.next();
    let id = json!({"io.modelcontextprotocol/subscriptionId":1});
    assert_eq!(
        got.next(),
        Some(notice(
            "notifications/resources/updated",
            json!({"uri":"jira://a","_meta":id})
        ))
    );
    assert_eq!(
        got.next(),
        Some(notice(
            "notifications/tools/list_changed",
            json!({"_meta":id})
        ))
    );
    let outdated = |scene: &Scene| {
        scene
            .world
            .catalogs
            .kept
            .borrow()
            .values()
            .any(|s| s.key.server == "jira" && s.fetched_at_ms == 0)
    };
    assert!(outdated(&scene), "the next look fetches it anew");
    // The rest was not asked for: nothing follows within a minute.
    assert_eq!(got.next_until(scene.world.timers.now_ms() + 60_000), None);
}

#[test]
fn what_was_not_asked_for_is_not_sent() {
    let scene = scene();
    let text = event(&notice("notifications/tools/list_changed", json!({})));
    scene.jira.will_answer(Canned::events(vec![
        Piece::Bytes(text.into_bytes()),
        Piece::Hang,
    ]));
    let mut got = listen(&scene, json!({"promptsListChanged":true}));
    got.next();
    assert_eq!(got.next_until(scene.world.timers.now_ms() + 60_000), None);
}

/// A change that another isolate saw is noticed by looking at the snapshots.
#[test]
fn a_changed_snapshot_is_noticed() {
    let scene = Scene::new(Speaks::Legacy, Speaks::Legacy).synced();
    let mut got = listen(&scene, filter(&[]));
    got.next();
    scene
        .jira
        .tools
        .borrow_mut()
        .push(json!({"name":"new","inputSchema":{}}));
    scene
        .world
        .catalogs
        .kept
        .borrow_mut()
        .retain(|key, _| key.server != "jira");
    let until = scene.world.timers.now_ms() + EPOCH_AGE_MAX_MS * 2;
    let next = got.next_until(until).flatten().expect("noticed");
    assert_eq!(next["method"], "notifications/tools/list_changed");
    assert_eq!(got.next_until(until + 60_000), None, "once");
}

/// The same document without anybody's access.
fn closed(revision: u64) -> Rc<Active> {
    let mut document = document();
    document["portals"]["main"]["access"] = json!([]);
    active(revision, &document)
}

/// How many milliseconds after a revocation the stream ends with its result.
fn ends_after(scene: &Scene, got: &mut Got, within_ms: u64) -> Option<u64> {
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
    let updated = notice("notifications/resources/updated", json!({"uri":"jira://a"}));
    for every_ms in [u64::MAX, 60_000, 3_100, 2_900, 1_000, 10] {
        let scene = scene();
        let source = if every_ms == u64::MAX {
            quiet()
        } else {
            pushes(&updated, every_ms)
        };
        scene.jira.will_answer(source);
        scene.wiki.will_answer(quiet());
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
    let updated = notice("notifications/resources/updated", json!({"uri":"jira://a"}));
    for source in [quiet(), pushes(&updated, 1_000)] {
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
    let updated = notice("notifications/resources/updated", json!({"uri":"jira://a"}));
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
