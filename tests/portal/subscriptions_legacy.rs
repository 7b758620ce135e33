//! Older clients' subscriptions to resources of servers of 2026-07-28, and what a portal offers.

use super::listen::{quiet, said, standing, updated};
use super::mcp_server::{Speaks, rpc_error};
use super::scene::{Got, Scene, active, document, request};
use super::subscriptions::READ;
use super::upstreams::{Canned, Piece, Sent};
use portcullis::limits::{
    EPOCH_AGE_MAX_MS, FEED_ATTEMPTS_MAX, LISTEN_MS_MAX, SUBSCRIBE_MS_MAX, SUBSCRIPTIONS_MAX,
};
use portcullis::mcp::Era;
use portcullis::portal::Caller;
use portcullis::portal::ports::BodyKind;
use portcullis::portal::subscriptions::take_up;
use serde_json::{Value, json};
use std::rc::Rc;

fn legacy_modern() -> Scene {
    let scene = Scene::new(Speaks::Modern, Speaks::Modern).synced();
    scene.world.with_session();
    // The first call asks whether the server also speaks the client's era.
    scene.call(Era::Legacy, "jira_get");
    scene.call(Era::Legacy, "wiki_get");
    scene.world.clear();
    scene
}

fn subscription(scene: &Scene, method: &str, uri: &str) -> Got {
    scene.ask("alice", Era::Legacy, method, json!({"uri":uri}))
}

fn subscribe(scene: &Scene, uri: &str) -> Got {
    subscription(scene, "resources/subscribe", uri)
}

fn unsubscribe(scene: &Scene, uri: &str) -> Got {
    subscription(scene, "resources/unsubscribe", uri)
}

/// What each upstream stream was opened for.
fn opened(scene: &Scene) -> Vec<Value> {
    let sent = scene.world.upstreams.of("subscriptions/listen");
    let uris = |s: &Sent| s.json()["params"]["notifications"]["resourceSubscriptions"].clone();
    sent.iter().map(uris).collect()
}

fn told(scene: &Scene) -> Vec<String> {
    let told = scene.world.subscribed.told();
    let uri = |message: &Value| {
        assert_eq!(message["method"], "notifications/resources/updated");
        assert!(message["params"].get("_meta").is_none());
        message["params"]["uri"].as_str().unwrap().to_owned()
    };
    told.iter().map(uri).collect()
}

fn end(scene: &Scene) {
    scene.world.subscribed.feeds.borrow().release();
    scene.world.play(100);
    assert_eq!(scene.world.upstreams.open(), 0, "everything is let go");
}

fn caller(scene: &Scene) -> Rc<Caller> {
    let body = request(Era::Legacy, "ping", json!({}));
    scene.caller("alice", Era::Legacy, &body)
}

#[test]
fn a_legacy_client_hears_of_a_modern_servers_resource() {
    let scene = legacy_modern();
    let pieces = vec![
        Piece::Wait(1_000),
        said(&updated("jira://a")),
        said(&updated("jira://page/9")),
        Piece::Hang,
    ];
    scene.jira.will_answer(standing(&["jira://a"], pieces));
    let got = subscribe(&scene, "jira://a");
    assert_eq!(*got.result(), json!({}));
    assert_eq!(scene.rows(), ["outcome ok -"]);
    let row = &scene.world.ledger.rows()[0];
    assert_eq!(row.method, "resources/subscribe");
    assert_eq!(row.rule.as_deref(), Some(READ));
    assert_eq!(
        (row.server.as_deref(), row.target.as_deref()),
        (Some("jira"), Some("jira://a"))
    );
    assert_eq!(opened(&scene), [json!(["jira://a"])]);
    assert_eq!(told(&scene), [""; 0]);
    scene.world.play(2_000);
    assert_eq!(told(&scene), ["jira://a"]);
    // The same once more changes nothing.
    assert_eq!(*subscribe(&scene, "jira://a").result(), json!({}));
    assert_eq!(opened(&scene).len(), 1);
    end(&scene);
}

#[test]
fn one_stream_carries_all_of_a_servers_resources() {
    let scene = legacy_modern();
    scene.jira.will_answer(quiet(&["jira://a"]));
    subscribe(&scene, "jira://a");
    let both = ["jira://a", "jira://page/1"];
    let pieces = vec![
        Piece::Wait(1_000),
        said(&updated("jira://a")),
        said(&updated("jira://page/1")),
        Piece::Wait(5_000),
        said(&updated("jira://a")),
        said(&updated("jira://page/1")),
        Piece::Hang,
    ];
    scene.jira.will_answer(standing(&both, pieces));
    subscribe(&scene, "jira://page/1");
    scene.wiki.will_answer(quiet(&["wiki://a"]));
    subscribe(&scene, "wiki://a");
    scene.world.play(2_000);
    assert_eq!(
        opened(&scene),
        [json!(["jira://a"]), json!(both), json!(["wiki://a"])]
    );
    assert_eq!(scene.world.upstreams.open(), 2, "one for each server");
    assert_eq!(told(&scene), both, "nothing was missed in between");
    // A server that does not answer to the narrower stream pushes on, and nothing of it is passed on.
    scene.jira.will_answer(Canned::status(503));
    assert_eq!(*unsubscribe(&scene, "jira://a").result(), json!({}));
    scene.world.play(8_000);
    assert_eq!(told(&scene), ["jira://page/1"]);
    assert_eq!(*unsubscribe(&scene, "jira://page/1").result(), json!({}));
    assert_eq!(*unsubscribe(&scene, "wiki://a").result(), json!({}));
    scene.world.play(100);
    assert_eq!(scene.world.upstreams.open(), 0);
    assert_eq!(scene.world.subscribed.rows.borrow().len(), 0);
    let rows = scene.world.ledger.rows();
    assert_eq!(scene.rows(), ["outcome ok -"; 6]);
    assert_eq!(rows[3].method, "resources/unsubscribe");
    assert_eq!(rows[3].rule.as_deref(), Some(READ));
    // What is not subscribed can be let go all the same.
    assert_eq!(*unsubscribe(&scene, "jira://a").result(), json!({}));
}

#[test]
fn what_a_server_does_not_promise_is_not_subscribed() {
    let rejected = |canned: Canned, code: i64, row: &str| {
        let scene = legacy_modern();
        scene.jira.will_answer(quiet(&["jira://a"]));
        subscribe(&scene, "jira://a");
        scene.world.ledger.clear();
        scene.jira.will_answer(canned);
        let began_ms = scene.world.timers.now_ms();
        let got = subscribe(&scene, "jira://page/1");
        assert_eq!(got.code(), code, "{row}");
        assert!(scene.world.timers.now_ms() - began_ms <= SUBSCRIBE_MS_MAX);
        assert_eq!(scene.rows(), [row]);
        // What was subscribed before still is.
        assert_eq!(scene.world.subscribed.rows.borrow().len(), 1);
        scene.world.play(10);
        assert_eq!(scene.world.upstreams.open(), 1);
        end(&scene);
    };
    let refused = "refusal refused not_subscribable";
    rejected(quiet(&["jira://a"]), -32602, refused);
    rejected(
        Canned::with(
            404,
            BodyKind::Json,
            rpc_error(&json!("portcullis-listen"), -32601, "no"),
        ),
        -32602,
        refused,
    );
    let failed = |what: &str| format!("outcome upstream_failed upstream_{what}");
    rejected(Canned::status(503), -32000, &failed("status"));
    rejected(Canned::hang(), -32000, &failed("timed_out"));
    rejected(Canned::events(vec![]), -32000, &failed("cut"));
    // Nobody's resource, and a session that cannot be written.
    let scene = legacy_modern();
    assert_eq!(subscribe(&scene, "nobody://x").code(), -32002);
    scene.world.subscribed.is_broken.set(true);
    scene.jira.will_answer(quiet(&["jira://a"]));
    assert_eq!(subscribe(&scene, "jira://a").code(), -32603);
    assert_eq!(scene.world.upstreams.open(), 0);
}

#[test]
fn a_session_has_so_many_subscriptions() {
    let scene = legacy_modern();
    let rows: Vec<_> = (0..SUBSCRIPTIONS_MAX)
        .map(|at| ("jira".to_owned(), format!("jira://page/{at}")))
        .collect();
    scene.world.subscribed.rows.borrow_mut().extend(rows);
    let got = subscribe(&scene, "jira://a");
    assert_eq!(got.status, 429);
    assert_eq!(scene.rows(), ["refusal refused too_many"]);
    assert_eq!(scene.sent(), [""; 0]);
}

#[test]
fn a_stream_that_breaks_off_is_opened_again_and_what_was_missed_is_told() {
    let scene = legacy_modern();
    scene
        .jira
        .will_answer(standing(&["jira://a"], vec![Piece::Wait(2_000)]));
    subscribe(&scene, "jira://a");
    scene.jira.will_answer(Canned::status(503));
    let later = vec![
        Piece::Wait(20_000),
        said(&updated("jira://a")),
        Piece::Wait(1),
    ];
    scene.jira.will_answer(standing(&["jira://a"], later));
    scene.world.play(10_000);
    assert_eq!(told(&scene), ["jira://a"], "perhaps missed");
    scene.world.play(20_000);
    assert_eq!(told(&scene)[0], "jira://a", "pushed");
    // The server is gone: a bounded number of attempts, and again when the client is here again.
    scene.jira.down.set(Some(503));
    scene.world.upstreams.clear();
    scene.world.play(600_000);
    let attempts = opened(&scene).len();
    assert!(attempts <= FEED_ATTEMPTS_MAX as usize, "{attempts}");
    scene.world.subscribed.told();
    scene.jira.down.set(None);
    scene.jira.will_answer(quiet(&["jira://a"]));
    take_up(&scene.world, &caller(&scene));
    scene.world.play(1_000);
    assert_eq!(told(&scene), ["jira://a"]);
    // It stands: another request of the client opens nothing.
    take_up(&scene.world, &caller(&scene));
    scene.world.play(1_000);
    assert_eq!(scene.world.upstreams.open(), 1);
    end(&scene);
}

#[test]
fn after_an_eviction_the_rows_say_what_is_subscribed() {
    let scene = legacy_modern();
    scene.jira.will_answer(quiet(&["jira://a"]));
    subscribe(&scene, "jira://a");
    scene.world.subscribed.evict();
    scene.world.play(100);
    assert_eq!(scene.world.upstreams.open(), 0);
    scene.world.upstreams.clear();
    scene.jira.will_answer(quiet(&["jira://a"]));
    take_up(&scene.world, &caller(&scene));
    scene.world.play(100);
    assert_eq!(opened(&scene), [json!(["jira://a"])]);
    assert_eq!(told(&scene), ["jira://a"], "perhaps missed");
    // Unsubscribed before the stream stands again: it never does.
    scene.world.subscribed.evict();
    take_up(&scene.world, &caller(&scene));
    unsubscribe(&scene, "jira://a");
    scene.world.play(100);
    assert_eq!(scene.world.upstreams.open(), 0);
}

#[test]
fn a_revocation_ends_the_stream_within_five_seconds() {
    let mut closed = document();
    closed["portals"]["main"]["access"] = json!([]);
    let mut without = document();
    without["servers"]["jira"]["enabled"] = false.into();
    for document in [closed, without] {
        let scene = legacy_modern();
        let piece = || [Piece::Wait(100), said(&updated("jira://a"))];
        let pieces = (0..2_000).flat_map(|_| piece()).collect();
        scene.jira.will_answer(standing(&["jira://a"], pieces));
        subscribe(&scene, "jira://a");
        scene.world.play(10_000);
        *scene.world.active.borrow_mut() = Some(active(8, &document));
        scene.world.play(EPOCH_AGE_MAX_MS + 500);
        assert_eq!(scene.world.upstreams.open(), 0);
        scene.world.subscribed.told();
        scene.world.play(10_000);
        assert_eq!(told(&scene), [""; 0]);
        // The subscription waits for better times.
        assert_eq!(scene.world.subscribed.rows.borrow().len(), 1);
    }
}

#[test]
fn a_stream_for_a_client_that_left_is_let_go() {
    let scene = legacy_modern();
    let piece = || [Piece::Wait(30_000), said(&json!({}))];
    let pieces = (0..200).flat_map(|_| piece()).collect();
    scene.jira.will_answer(standing(&["jira://a"], pieces));
    subscribe(&scene, "jira://a");
    scene.world.play(LISTEN_MS_MAX * 2);
    assert_eq!(scene.world.upstreams.open(), 1, "somebody is there");
    scene.world.subscribed.is_listening.set(false);
    scene.world.play(LISTEN_MS_MAX - 10_000);
    assert_eq!(scene.world.upstreams.open(), 1, "or was a moment ago");
    scene.world.play(20_000);
    assert_eq!(scene.world.upstreams.open(), 0);
}

/// What the portal says it can is what some server can.
#[test]
fn subscriptions_are_offered_where_any_server_has_them() {
    for (era, method) in [
        (Era::Modern, "server/discover"),
        (Era::Legacy, "initialize"),
    ] {
        for server in [Speaks::Modern, Speaks::Legacy] {
            for (jira, wiki, offered) in [
                (false, false, false),
                (false, true, true),
                (true, false, true),
            ] {
                let scene = Scene::new(server, server);
                scene.jira.subscribes.set(jira);
                scene.wiki.subscribes.set(wiki);
                let scene = scene.synced();
                let got = scene.ask(
                    "alice",
                    era,
                    method,
                    json!({"protocolVersion":"2025-11-25"}),
                );
                let says = &got.result()["capabilities"]["resources"]["subscribe"];
                assert_eq!(*says, json!(offered), "{era:?} {server:?} {jira} {wiki}");
            }
        }
    }
}
