//! Freshness and patience: what is stale, outdated, failing or hanging.

use portcullis::catalog::SnapshotKey;
use portcullis::error::UpstreamFault;
use portcullis::limits::{
    FAN_OUT_MAX, SNAPSHOT_TTL_DEFAULT_MS, SYNC_COOLDOWN_MS, SYNC_DEADLINE_MS,
};
use portcullis::mcp::Era;
use portcullis::portal::ports::Catalogs as _;
use serde_json::{Value, json};

use super::mcp_server::{Mcp, Speaks};
use super::scene::{Got, Scene, document};

fn scene() -> Scene {
    Scene::new(Speaks::Modern, Speaks::Modern).synced()
}

fn list(scene: &Scene) -> Got {
    scene.ask("alice", Era::Modern, "tools/list", json!({}))
}

fn names(got: &Got) -> Vec<String> {
    let tools = got.result()["tools"].as_array().expect("tools");
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

fn tool(name: &str) -> Value {
    json!({"name":name,"inputSchema":{}})
}

const BOTH: [&str; 4] = ["jira_get", "jira_set", "wiki_get", "wiki_set"];

#[test]
fn a_stale_listing_is_served_and_refreshed_behind() {
    let scene = scene();
    scene.world.timers.pass(SNAPSHOT_TTL_DEFAULT_MS);
    *scene.jira.tools.borrow_mut() = vec![tool("new")];
    let before = scene.world.timers.now_ms();
    assert_eq!(names(&list(&scene)), BOTH, "at once, as it was");
    assert_eq!(scene.world.timers.now_ms(), before);
    assert_eq!(scene.sent(), [""; 0], "nothing is asked before the reply");
    // Whoever comes meanwhile is served too, and asks nothing more.
    assert_eq!(names(&list(&scene)), BOTH);
    scene.world.settle();
    assert_eq!(
        scene.world.upstreams.of("server/discover").len(),
        2,
        "each server once"
    );
    assert_eq!(names(&list(&scene)), ["jira_new", "wiki_get", "wiki_set"]);
}

#[test]
fn a_stale_listing_outlives_its_server() {
    let scene = scene();
    scene.jira.down.set(Some(500));
    for _ in 0..5 {
        scene.world.timers.pass(SNAPSHOT_TTL_DEFAULT_MS);
        assert_eq!(names(&list(&scene)), BOTH);
        scene.world.settle();
    }
    assert_eq!(
        scene.call(Era::Modern, "jira_get").code(),
        -32000,
        "the call says what is wrong"
    );
}

#[test]
fn an_outdated_listing_is_fetched_before_it_is_served() {
    let scene = scene();
    scene.world.timers.run(scene.world.outdate("jira"));
    *scene.jira.tools.borrow_mut() = vec![tool("new")];
    assert_eq!(names(&list(&scene)), ["jira_new", "wiki_get", "wiki_set"]);
    assert!(
        scene.sent().iter().all(|line| line.starts_with("jira")),
        "wiki's is still good"
    );
}

#[test]
fn an_outdated_listing_is_the_last_resort_of_a_dead_server() {
    let scene = scene();
    scene.world.timers.run(scene.world.outdate("jira"));
    scene.jira.down.set(Some(500));
    assert_eq!(names(&list(&scene)), BOTH);
}

/// Within the cool-down a dead server is not asked again, also where an outdated listing of it is kept.
#[test]
fn a_dead_server_with_an_outdated_listing_is_left_alone_for_a_while() {
    let scene = scene();
    scene.world.timers.run(scene.world.outdate("jira"));
    scene.jira.down.set(Some(500));
    list(&scene);
    let asked = scene.sent().len();
    for _ in 0..3 {
        list(&scene);
    }
    assert_eq!(scene.sent().len(), asked);
}

/// Also where it hangs, what is kept is served, and the wait is paid once.
#[test]
fn a_hanging_server_with_an_outdated_listing_is_served_from_it() {
    let scene = scene();
    scene.world.timers.run(scene.world.outdate("jira"));
    scene.jira.hangs.set(true);
    let begun = scene.world.timers.now_ms();
    assert_eq!(names(&list(&scene)), BOTH);
    assert!(scene.world.timers.now_ms() - begun <= SYNC_DEADLINE_MS);
}

/// A name that is newer than a stale snapshot is looked for before it is called unknown.
#[test]
fn a_tool_newer_than_the_snapshot_is_found() {
    let scene = scene();
    scene.jira.tools.borrow_mut().push(tool("new"));
    scene.world.timers.pass(SNAPSHOT_TTL_DEFAULT_MS);
    let got = scene.call(Era::Modern, "jira_new");
    assert_eq!(got.result()["content"][0]["text"], "done", "{}", got.json());
}

#[test]
fn a_failed_server_rests_and_is_asked_again() {
    let scene = Scene::new(Speaks::Modern, Speaks::Modern);
    scene.jira.down.set(Some(500));
    assert_eq!(names(&list(&scene)), ["wiki_get", "wiki_set"]);
    assert_eq!(scene.world.upstreams.of("server/discover").len(), 2);
    scene.world.clear();
    scene.world.timers.pass(SYNC_COOLDOWN_MS - 1);
    list(&scene);
    assert_eq!(scene.call(Era::Modern, "jira_get").code(), -32000);
    assert_eq!(scene.sent(), [""; 0]);
    scene.world.timers.pass(1);
    scene.jira.down.set(None);
    assert_eq!(names(&list(&scene)), BOTH);
}

#[test]
fn what_is_missing_is_said_to_the_client_and_in_the_audit() {
    let scene = Scene::new(Speaks::Modern, Speaks::Modern);
    scene.jira.down.set(Some(500));
    let got = list(&scene);
    let missing = &got.result()["_meta"]["portcullis/unavailableServers"];
    assert_eq!(missing[0]["server"], "jira");
    assert_eq!(scene.rows(), ["outcome ok unavailable: jira"]);
    // An empty list would be a lie.
    let scene = Scene::new(Speaks::Modern, Speaks::Modern);
    scene.jira.down.set(Some(500));
    scene.wiki.down.set(Some(401));
    assert_eq!(list(&scene).code(), -32000);
    assert_eq!(
        scene.rows(),
        ["outcome upstream_failed unavailable: jira, wiki"]
    );
}

/// A portal with this many servers, all hanging; the last `healthy` of them answer.
fn many(count: usize, healthy: usize) -> Scene {
    let mut document = document();
    let ids: Vec<String> = (0..count).map(|index| format!("s{index}")).collect();
    document["portals"]["main"]["servers"] = json!(ids);
    for (index, id) in ids.iter().enumerate() {
        document["servers"][id] = json!({"url":format!("http://127.0.0.1:{}/mcp", 9200 + index)});
    }
    let scene = Scene::of(&document, Speaks::Modern, Speaks::Modern);
    for (index, id) in ids.iter().enumerate() {
        let server = Mcp::new(Speaks::Modern);
        server.hangs.set(index < count - healthy);
        let mut answering = server.answering();
        scene
            .world
            .upstreams
            .serve(id, move |sent| answering(sent).after(100));
    }
    scene
}

#[test]
fn hanging_servers_cost_one_deadline_six_connections_at_a_time() {
    for count in [1, 5, 6, 7, 20] {
        let scene = many(count, 0);
        let begun = scene.world.timers.now_ms();
        assert_eq!(list(&scene).code(), -32000);
        let took_ms = scene.world.timers.now_ms() - begun;
        assert!(took_ms <= SYNC_DEADLINE_MS, "{count} servers: {took_ms} ms");
        assert!(
            scene.world.upstreams.open_max.get() <= FAN_OUT_MAX,
            "{count} servers"
        );
        assert_eq!(
            scene.world.upstreams.open(),
            0,
            "{count} servers: nothing is left open"
        );
        scene.world.clear();
        let begun = scene.world.timers.now_ms();
        list(&scene);
        assert_eq!(scene.world.timers.now_ms(), begun, "they rest");
        assert_eq!(scene.sent(), [""; 0]);
    }
}

/// One hanging server, whatever its place, costs its own listing only.
#[test]
fn one_hanging_server_hides_no_other() {
    let scene = many(20, 19);
    let got = list(&scene);
    let missing = got.result()["_meta"]["portcullis/unavailableServers"]
        .as_array()
        .unwrap();
    assert_eq!(missing.len(), 1, "{missing:?}");
}

#[test]
fn healthy_servers_are_listed_beside_hanging_ones() {
    let scene = many(8, 3);
    assert_eq!(
        names(&list(&scene)).len(),
        3 * 2,
        "read-only tools of three servers"
    );
    assert!(scene.world.upstreams.open_max.get() <= FAN_OUT_MAX);
    let scene = many(30, 30);
    list(&scene);
    assert!(scene.world.upstreams.open_max.get() <= FAN_OUT_MAX);
    assert_eq!(
        scene.world.catalogs.trips.get(),
        1,
        "one trip to the store for all of them"
    );
}

/// A call may wait for a missing listing as long as a listing may, not for the server's whole time-out each time.
#[test]
fn a_call_waits_for_a_missing_listing_no_longer_than_the_deadline() {
    let scene = Scene::new(Speaks::Modern, Speaks::Modern);
    scene.jira.hangs.set(true);
    let begun = scene.world.timers.now_ms();
    assert_eq!(scene.call(Era::Modern, "jira_get").code(), -32000);
    let took_ms = scene.world.timers.now_ms() - begun;
    assert!(took_ms <= SYNC_DEADLINE_MS, "{took_ms} ms");
}

/// A private listing that hangs rests as a shared one does.
#[test]
fn a_hanging_private_listing_rests_too() {
    let scene = Scene::new(Speaks::Modern, Speaks::Modern);
    *scene.jira.page.borrow_mut() = json!({"ttlMs":300_000,"cacheScope":"private"});
    list(&scene);
    scene.jira.hangs.set(true);
    let bob = |scene: &Scene| scene.ask("bob", Era::Modern, "tools/list", json!({}));
    assert_eq!(names(&bob(&scene)), ["wiki_get", "wiki_set"]);
    let begun = scene.world.timers.now_ms();
    bob(&scene);
    assert_eq!(
        scene.world.timers.now_ms() - begun,
        0,
        "the wait is paid once"
    );
}

/// A notice of the server in the middle of a call outdates its listing for the next look.
#[test]
fn a_notice_outdates_every_snapshot_of_the_server() {
    let scene = scene();
    let keys = [
        SnapshotKey::shared("jira"),
        SnapshotKey::of("jira", "idp|alice"),
    ];
    let copy = scene.world.catalogs.kept.borrow()[&keys[0]].clone();
    scene
        .world
        .catalogs
        .kept
        .borrow_mut()
        .insert(keys[1].clone(), copy);
    let changed = json!({"jsonrpc":"2.0","method":"notifications/tools/list_changed"}).to_string();
    let passed = portcullis::portal::session::from_server(&scene.world, "jira", changed.as_bytes());
    assert!(scene.world.timers.run(passed).is_some());
    let kept = scene.world.catalogs.kept.borrow();
    assert!(keys.iter().all(|key| kept[key].fetched_at_ms == 0));
    assert!(kept[&SnapshotKey::shared("wiki")].fetched_at_ms > 0);
}

/// The reason of a failure survives its rest.
#[test]
fn a_resting_server_says_why() {
    let scene = Scene::new(Speaks::Modern, Speaks::Modern);
    scene.jira.down.set(Some(401));
    list(&scene);
    let key = SnapshotKey::shared("jira");
    assert_eq!(
        scene.world.recent_failure(&key),
        Some(UpstreamFault::Unauthorized)
    );
    let got = scene.call(Era::Modern, "jira_get");
    assert!(
        got.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("credential")
    );
}
