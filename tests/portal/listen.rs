//! A listening modern client: what is pushed, what is noticed, and when it ends.

use std::rc::Rc;

use futures::StreamExt as _;
use portcullis::error::UpstreamFault;
use portcullis::limits::{
    EPOCH_AGE_MAX_MS, FAN_OUT_MAX, FEED_ATTEMPTS_MAX, LISTEN_STREAMS_MAX, SUBSCRIBE_MS_MAX,
    SUBSCRIPTIONS_MAX,
};
use portcullis::mcp::Era;
use portcullis::portal::ports::BodyKind;
use serde_json::{Value, json};

use super::listen_ends::{closed, ends_after};
use super::mcp_server::{Mcp, Speaks, rpc_error};
use super::scene::{Got, Scene, document};
use super::upstreams::{Canned, Piece, event};

const EVERYTHING: [(&str, bool); 3] = [
    ("toolsListChanged", true),
    ("promptsListChanged", true),
    ("resourcesListChanged", true),
];

pub fn scene() -> Scene {
    Scene::new(Speaks::Modern, Speaks::Modern).synced()
}

pub fn filter(uris: &[&str]) -> Value {
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

pub fn listen(scene: &Scene, notifications: Value) -> Got {
    scene.ask(
        "alice",
        Era::Modern,
        "subscriptions/listen",
        json!({"notifications":notifications}),
    )
}

pub fn notice(method: &str, params: Value) -> Value {
    json!({"jsonrpc":"2.0","method":method,"params":params})
}

/// A modern server's stream: its acknowledgment of resources, then what follows.
pub fn standing(uris: &[&str], pieces: Vec<Piece>) -> Canned {
    let acknowledged = notice(
        "notifications/subscriptions/acknowledged",
        json!({"notifications":{"resourceSubscriptions":uris}}),
    );
    let mut all = vec![Piece::Bytes(event(&acknowledged).into_bytes())];
    all.extend(pieces);
    Canned::events(all)
}

pub fn updated(uri: &str) -> Value {
    notice("notifications/resources/updated", json!({"uri":uri}))
}

pub fn said(message: &Value) -> Piece {
    Piece::Bytes(event(message).into_bytes())
}

/// A server's stream that sends the same message every so often, for as long as anybody listens.
pub fn pushes(message: &Value, every_ms: u64) -> Canned {
    let piece = || [Piece::Wait(every_ms), said(message)];
    standing(&["jira://a"], (0..2_000).flat_map(|_| piece()).collect())
}

pub fn quiet(uris: &[&str]) -> Canned {
    standing(uris, vec![Piece::Hang])
}

#[test]
fn the_first_message_says_what_is_honoured() {
    let scene = scene();
    scene.jira.will_answer(quiet(&["jira://a"]));
    let uris = ["nobody://x", "jira://page/2", "jira://a"];
    let mut got = listen(&scene, filter(&uris));
    let first = got.next().unwrap();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(
        first["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        1
    );
    assert_eq!(
        first["params"]["notifications"],
        filter(&["jira://a"]),
        "nobody offers the first, and the server does not honour the second"
    );
    let sent = scene.world.upstreams.of("subscriptions/listen");
    let asked: Vec<_> = sent
        .iter()
        .map(|s| (&*s.server, s.json()["params"]["notifications"].clone()))
        .collect();
    assert_eq!(
        asked,
        [("jira", filter(&["jira://page/2", "jira://a"]))],
        "only where resources are wanted"
    );
    assert_eq!(scene.rows(), ["outcome ok -"]);
    let rows = scene.world.ledger.rows();
    assert_eq!(rows[0].server.as_deref(), Some("jira"));
    assert_eq!(rows[0].target.as_deref(), Some("jira://a"));
    drop(got);
    assert_eq!(scene.world.upstreams.open(), 0);
}

/// Listings are looked at, never listened to.
#[test]
fn no_stream_is_opened_for_listings() {
    let scene = scene();
    let mut got = listen(&scene, filter(&[]));
    let first = got.next().unwrap();
    assert_eq!(first["params"]["notifications"], filter(&[]));
    assert_eq!(got.next_until(scene.world.timers.now_ms() + 20_000), None);
    assert_eq!(scene.sent(), [""; 0]);
}

/// A scene with so many more modern servers, each with its resources: `s0`, `s1` and so on.
pub fn crowd(count: usize) -> (Scene, Vec<Rc<Mcp>>) {
    let mut document = document();
    let ids: Vec<String> = (0..count).map(|at| format!("s{at}")).collect();
    let in_portal = document["portals"]["main"]["servers"].as_array_mut();
    in_portal.unwrap().extend(ids.iter().map(|id| json!(id)));
    for id in &ids {
        document["servers"][id] = json!({"url":format!("http://127.0.0.1:9103/{id}")});
    }
    let scene = Scene::of(&document, Speaks::Modern, Speaks::Modern);
    let mut servers = Vec::new();
    for id in &ids {
        let server = Mcp::new(Speaks::Modern).with_resources(id);
        scene.world.upstreams.serve(id, server.answering());
        servers.push(server);
    }
    (scene, servers)
}

/// Resources of more servers than connections allow are left out of the acknowledgment.
#[test]
fn so_many_servers_are_listened_to_at_once() {
    let (scene, servers) = crowd(LISTEN_STREAMS_MAX + 1);
    let mut uris = Vec::new();
    for (at, server) in servers.iter().enumerate() {
        let uri = format!("s{at}://a");
        server.will_answer(quiet(&[&uri]));
        uris.push(uri);
    }
    let scene = scene.synced();
    let mut got = listen(&scene, json!({"resourceSubscriptions":uris}));
    let first = got.next().unwrap();
    let honoured = &first["params"]["notifications"]["resourceSubscriptions"];
    assert_eq!(*honoured, json!(uris[..LISTEN_STREAMS_MAX]));
    assert_eq!(scene.world.upstreams.open(), LISTEN_STREAMS_MAX);
}

/// Many listings that are due at once are fetched a few at a time, also where some servers hang.
#[test]
fn listings_are_read_again_a_few_at_a_time() {
    let (scene, servers) = crowd(20);
    for server in &servers {
        *server.page.borrow_mut() = json!({});
    }
    let scene = scene.synced();
    for server in servers.iter().take(10) {
        server.hangs.set(true);
    }
    scene.world.upstreams.open_max.set(0);
    let mut got = listen(&scene, filter(&[]));
    got.next();
    let until_ms = scene.world.timers.now_ms() + 119_000;
    assert_eq!(got.next_beside(until_ms), None);
    let sent = scene.world.upstreams.of("tools/list");
    for (at, server) in servers.iter().enumerate() {
        let asked = sent.iter().filter(|s| s.server == format!("s{at}")).count();
        assert_eq!(asked, usize::from(!server.hangs.get()), "s{at}");
    }
    assert_eq!(scene.world.upstreams.open_max.get(), FAN_OUT_MAX);
}

#[test]
fn servers_that_cannot_be_had_are_left_out() {
    let wanted = filter(&["jira://a", "wiki://a"]);
    let refusal = |id: &Value| Canned::with(404, BodyKind::Json, rpc_error(id, -32601, "no"));
    let none = |answers: Vec<Canned>| {
        let scene = scene();
        for canned in answers {
            scene.jira.will_answer(canned);
        }
        scene.wiki.will_answer(quiet(&["wiki://a"]));
        let began_ms = scene.world.timers.now_ms();
        let mut got = listen(&scene, wanted.clone());
        let first = got.next().unwrap();
        assert_eq!(first["params"]["notifications"], filter(&["wiki://a"]));
        let waited_ms = scene.world.timers.now_ms() - began_ms;
        assert!(waited_ms <= SUBSCRIBE_MS_MAX, "{waited_ms}");
        drop(got);
        assert_eq!(scene.world.upstreams.open(), 0);
    };
    none(vec![refusal(&json!("portcullis-listen"))]);
    none(vec![Canned::status(502)]);
    none(vec![Canned::hang()]);
    none(vec![Canned::fault(UpstreamFault::Unreachable)]);
    none(vec![Canned::events(vec![Piece::Hang])]);
    none(vec![quiet(&[])]);
    none(vec![Canned::messages(&[
        json!({"jsonrpc":"2.0","id":"portcullis-listen","result":{"resultType":"complete"}}),
    ])]);
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
    let pushed = [
        notice(
            "notifications/resources/updated",
            json!({"uri":"jira://a","_meta":{"x":1}}),
        ),
        updated("jira://page/9"),
        notice("notifications/message", json!({"level":"info","data":"x"})),
        updated("jira://a/part"),
    ];
    let pieces = pushed.iter().map(said).chain([Piece::Hang]).collect();
    scene.jira.will_answer(standing(&["jira://a"], pieces));
    let mut got = listen(&scene, filter(&["jira://a"]));
    got.next();
    let id = json!({"io.modelcontextprotocol/subscriptionId":1});
    for uri in ["jira://a", "jira://a/part"] {
        let told = json!({"uri":uri,"_meta":id});
        assert_eq!(
            got.next(),
            Some(notice("notifications/resources/updated", told))
        );
    }
    // The rest was not asked for: nothing follows within a minute.
    assert_eq!(got.next_until(scene.world.timers.now_ms() + 50_000), None);
}

/// What a server says of its listings on a stream that is open anyway is looked into at once.
#[test]
fn a_changed_listing_is_noticed_sooner_where_the_server_says_so() {
    let scene = scene();
    let changed = notice("notifications/tools/list_changed", json!({}));
    let pieces = vec![Piece::Wait(5_000), said(&changed), Piece::Hang];
    scene.jira.will_answer(standing(&["jira://a"], pieces));
    let began_ms = scene.world.timers.now_ms();
    let mut got = listen(&scene, filter(&["jira://a"]));
    got.next();
    let new = json!({"name":"new","inputSchema":{}});
    scene.jira.tools.borrow_mut().push(new);
    let told = got.next_beside(began_ms + 30_000).flatten().unwrap();
    assert_eq!(told["method"], "notifications/tools/list_changed");
    let after_ms = scene.world.timers.now_ms() - began_ms;
    assert!(
        (5_000..5_000 + EPOCH_AGE_MAX_MS + 1_000).contains(&after_ms),
        "{after_ms}"
    );
    assert_eq!(got.next_beside(began_ms + 50_000), None, "once");
}

#[test]
fn what_was_not_asked_for_is_not_sent() {
    let scene = scene();
    let mut got = listen(&scene, json!({"promptsListChanged":true}));
    got.next();
    let new = json!({"name":"new","inputSchema":{}});
    scene.jira.tools.borrow_mut().push(new);
    scene.outdate("jira");
    let until_ms = scene.world.timers.now_ms() + 20_000;
    assert_eq!(got.next_beside(until_ms), None);
    assert_eq!(scene.world.upstreams.of("tools/list").len(), 1);
}

/// A server that says nothing of how long its listing holds is asked once a minute while somebody listens, and as often
/// as before while nobody does. One that says so is taken at its word.
#[test]
fn a_listing_is_read_again_while_somebody_listens() {
    for (page, fetches) in [
        (json!({}), 3),
        (json!({"ttlMs":300_000}), 0),
        (json!({"ttlMs":100_000}), 1),
        (json!({"ttlMs":20_000}), 9),
    ] {
        let scene = Scene::new(Speaks::Modern, Speaks::Modern);
        *scene.jira.page.borrow_mut() = page.clone();
        let scene = scene.synced();
        let until_ms = scene.world.timers.now_ms() + 199_000;
        // Several who listen are one who asks.
        let mut others: Vec<Got> = (0..3).map(|_| listen(&scene, filter(&[]))).collect();
        let mut got = listen(&scene, filter(&[]));
        got.next();
        for other in &mut others {
            other.next();
        }
        let pending = async {
            let mut streams: Vec<_> = others.iter_mut().map(Got::events).collect();
            let all = futures::stream::select_all(streams.drain(..));
            all.for_each(|_| std::future::ready(())).await;
        };
        scene.world.alongside(
            futures::future::join(pending, async {
                while got.events().next().await.is_some() {}
            }),
            until_ms,
        );
        let asked = scene.world.upstreams.of("tools/list");
        let asked = asked.iter().filter(|sent| sent.server == "jira").count();
        assert_eq!(asked, fetches, "{page}");
    }
    // Nobody listens.
    let scene = Scene::new(Speaks::Modern, Speaks::Modern);
    *scene.jira.page.borrow_mut() = json!({});
    let scene = scene.synced();
    scene.world.play(199_000);
    assert_eq!(scene.sent(), [""; 0]);
}

/// A change that another isolate saw is noticed by looking at the snapshots.
#[test]
fn a_changed_snapshot_is_noticed() {
    let scene = Scene::new(Speaks::Legacy, Speaks::Legacy).synced();
    let mut got = listen(&scene, filter(&[]));
    got.next();
    let new = json!({"name":"new","inputSchema":{}});
    scene.jira.tools.borrow_mut().push(new);
    scene
        .world
        .catalogs
        .kept
        .borrow_mut()
        .retain(|key, _| key.server != "jira");
    let until = scene.world.timers.now_ms() + EPOCH_AGE_MAX_MS * 2;
    let next = got.next_beside(until).flatten().expect("noticed");
    assert_eq!(next["method"], "notifications/tools/list_changed");
    assert_eq!(got.next_beside(until + 60_000), None, "once");
}

/// A server that hangs holds up nobody who listens, and one that comes back is noticed.
#[test]
fn a_server_that_is_down_holds_nothing_up() {
    let scene = Scene::new(Speaks::Modern, Speaks::Modern);
    scene.jira.down.set(Some(503));
    let scene = scene.synced();
    let mut got = listen(&scene, filter(&[]));
    got.next();
    let began_ms = scene.world.timers.now_ms();
    assert_eq!(got.next_beside(began_ms + 20_000), None);
    scene.jira.down.set(None);
    let told = got.next_beside(began_ms + 45_000).flatten().unwrap();
    assert_eq!(told["method"], "notifications/tools/list_changed");
    scene.jira.hangs.set(true);
    scene.outdate("jira");
    *scene.world.active.borrow_mut() = Some(closed(8));
    let ended = ends_after(&scene, &mut got, 20_000);
    assert!(ended.is_some_and(|ms| ms <= 5_000), "{ended:?}");
}

/// A stream that breaks off is taken up again, and what may have been missed is told.
#[test]
fn a_feed_that_breaks_off_is_taken_up_again() {
    let scene = scene();
    scene
        .jira
        .will_answer(standing(&["jira://a"], vec![Piece::Wait(20_000)]));
    scene.jira.will_answer(Canned::status(503));
    let later = vec![Piece::Wait(30_000), said(&updated("jira://a")), Piece::Hang];
    scene.jira.will_answer(standing(&["jira://a"], later));
    let began_ms = scene.world.timers.now_ms();
    let mut got = listen(&scene, json!({"resourceSubscriptions":["jira://a"]}));
    got.next();
    // Broken at 20 s, refused at 21 s, and again at 23 s.
    for at_ms in [23_000, 53_000] {
        let told = got.next().unwrap();
        assert_eq!(told["params"]["uri"], "jira://a");
        assert_eq!(scene.world.timers.now_ms() - began_ms, at_ms);
    }
}

/// What was acknowledged and cannot be kept ends the client's stream, so that it may listen to what there is.
#[test]
fn a_feed_that_is_lost_ends_the_stream() {
    let scene = scene();
    scene.jira.will_answer(standing(&["jira://a"], vec![]));
    for _ in 0..FEED_ATTEMPTS_MAX {
        scene.jira.will_answer(Canned::status(503));
    }
    let mut got = listen(&scene, json!({"resourceSubscriptions":["jira://a"]}));
    got.next();
    let ended = ends_after(&scene, &mut got, 200_000);
    assert!(ended.is_some_and(|ms| ms >= 60_000), "{ended:?}");
    let sent = scene.world.upstreams.of("subscriptions/listen").len();
    assert_eq!(sent, 1 + FEED_ATTEMPTS_MAX as usize);
}
