//! Fetching what servers offer: which eras they speak.

use std::cell::Cell;
use std::rc::Rc;

use portcullis::error::UpstreamFault;
use portcullis::limits::SNAPSHOT_TTL_DEFAULT_MS;
use portcullis::mcp::Era;
use serde_json::{Value, json};

use super::mcp_server::{Mcp, Speaks, rpc_error};
use super::scene::{Scene, document};
use super::upstreams::{Canned, Sent};

pub const LISTS: [&str; 4] = [
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
];

/// A portal with `jira` alone.
pub fn alone(speaks: Speaks, era: &str) -> Scene {
    let mut document = document();
    document["portals"]["main"]["servers"] = json!(["jira"]);
    document["servers"]["jira"]["era"] = era.into();
    Scene::of(&document, speaks, Speaks::Modern)
}

pub fn list(scene: &Scene, who: &str) -> super::scene::Got {
    scene.ask(who, Era::Modern, "tools/list", json!({}))
}

pub fn names(scene: &Scene, who: &str) -> Vec<String> {
    let got = list(scene, who);
    let tools = got.result()["tools"]
        .as_array()
        .unwrap_or_else(|| panic!("{}", got.json()));
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

pub fn methods(scene: &Scene) -> Vec<String> {
    scene.world.settle();
    let sent = scene.world.upstreams.sent.borrow();
    sent.iter().map(Sent::method).collect()
}

/// Replaces some answers of a server.
pub fn serve(scene: &Scene, mut answer: impl FnMut(&Sent) -> Option<Canned> + 'static) {
    let mut others = scene.jira.answering();
    scene.world.upstreams.serve("jira", move |sent| {
        answer(sent).unwrap_or_else(|| others(sent))
    });
}

pub fn result(sent: &Sent, result: Value) -> Canned {
    Canned::json(json!({"jsonrpc":"2.0","id":sent.json()["id"],"result":result}))
}

pub fn tool(name: &str) -> Value {
    json!({"name":name,"inputSchema":{}})
}

#[test]
fn eras_are_probed_in_order() {
    let handshake = ["initialize", "notifications/initialized"];
    let modern = [&["server/discover"], &LISTS[..]].concat();
    let legacy = [&handshake[..], &LISTS, &["DELETE"]].concat();
    for (speaks, era, expected) in [
        (Speaks::Modern, "auto", modern.clone()),
        (Speaks::Both, "auto", modern.clone()),
        (Speaks::Modern, "modern", modern.clone()),
        (
            Speaks::Legacy,
            "auto",
            [&["server/discover"], &legacy[..]].concat(),
        ),
        (Speaks::Legacy, "legacy", legacy.clone()),
        (Speaks::Both, "legacy", legacy.clone()),
        (Speaks::Legacy, "modern", vec!["server/discover"]),
        (Speaks::Modern, "legacy", vec!["initialize"]),
    ] {
        let scene = alone(speaks, era);
        let got = list(&scene, "alice");
        let what = format!("{speaks:?} {era}");
        assert_eq!(methods(&scene), expected, "{what}");
        assert_eq!(
            got.json().get("result").is_some(),
            expected.len() > 2,
            "{what}"
        );
        for sent in scene.world.upstreams.sent.borrow().iter() {
            let ends = sent.verb == portcullis::portal::ports::Verb::Delete;
            let rule = if ends { "take_back" } else { "sync" };
            assert_eq!((&*sent.rule, sent.is_write), (rule, false), "{what}");
        }
    }
}

/// Only what says nothing about the era ends the probing.
#[test]
fn a_server_that_cannot_be_asked_is_not_called_legacy() {
    for (canned, goes_on) in [
        (Canned::status(404), true),
        (Canned::status(405), true),
        (Canned::status(400), true),
        (
            Canned::with(
                200,
                portcullis::portal::ports::BodyKind::Json,
                rpc_error(&json!(1), -32601, "x"),
            ),
            true,
        ),
        (Canned::status(401), false),
        (Canned::status(429), false),
        (Canned::status(503), false),
        (Canned::status(302), false),
        (Canned::fault(UpstreamFault::Unreachable), false),
        (Canned::hang(), false),
    ] {
        let scene = alone(Speaks::Legacy, "auto");
        serve(&scene, move |sent| {
            (sent.method() == "server/discover").then(|| canned.clone())
        });
        list(&scene, "alice");
        assert_eq!(
            scene.world.upstreams.of("initialize").len(),
            usize::from(goes_on)
        );
    }
}

/// A known server is asked in its era again, but a server may change: what it was must not hold for ever.
#[test]
fn a_server_that_changed_its_era_is_found_again() {
    for (before, after) in [
        (Speaks::Modern, Speaks::Legacy),
        (Speaks::Legacy, Speaks::Modern),
        (Speaks::Both, Speaks::Legacy),
    ] {
        let scene = alone(before, "auto").synced();
        scene.jira.speaks.set(after);
        *scene.jira.tools.borrow_mut() = vec![tool("new")];
        for _ in 0..3 {
            scene.world.timers.pass(SNAPSHOT_TTL_DEFAULT_MS + 1);
            names(&scene, "alice");
            scene.world.settle();
        }
        assert_eq!(
            names(&scene, "alice"),
            ["jira_new"],
            "{before:?} to {after:?}"
        );
        let era = if after == Speaks::Legacy {
            Era::Legacy
        } else {
            Era::Modern
        };
        assert_eq!(
            scene.call(era, "jira_new").result()["content"][0]["text"],
            "done"
        );
    }
}

#[test]
fn a_modern_server_is_asked_once_whether_it_is_legacy_too() {
    for (speaks, calls_as) in [(Speaks::Both, false), (Speaks::Modern, true)] {
        let scene = alone(speaks, "auto").synced();
        for _ in 0..2 {
            scene.call(Era::Legacy, "jira_get");
        }
        let calls = scene.world.upstreams.of("tools/call");
        let is_modern = calls.iter().all(|sent| sent.header("Mcp-Method").is_some());
        assert_eq!((calls.len(), is_modern), (2, calls_as), "{speaks:?}");
        let asked = scene.world.upstreams.of("initialize").len();
        // The question, and for a server of both eras the session of the calls.
        assert_eq!(
            asked,
            if speaks == Speaks::Both { 2 } else { 1 },
            "{speaks:?}"
        );
    }
}

/// A failure to answer is no answer: the question is asked again later.
#[test]
fn a_failure_does_not_settle_the_era() {
    let scene = alone(Speaks::Both, "auto").synced();
    let fails = Rc::new(Cell::new(true));
    let now_fails = fails.clone();
    serve(&scene, move |sent| {
        (now_fails.get() && sent.method() == "initialize").then(|| Canned::status(503))
    });
    scene.call(Era::Legacy, "jira_get");
    fails.set(false);
    scene.world.timers.pass(60_000);
    scene.world.clear();
    scene.call(Era::Legacy, "jira_get");
    let calls = scene.world.upstreams.of("tools/call");
    assert!(
        calls[0].header("Mcp-Session-Id").is_some(),
        "{:?}",
        scene.sent()
    );
}

#[test]
fn a_mcp_answers_its_own_era_only() {
    // The fake itself: a modern server refuses what is legacy, or the tests above prove nothing.
    let server = Mcp::new(Speaks::Modern);
    let scene = alone(Speaks::Legacy, "legacy");
    scene.world.upstreams.serve("jira", server.answering());
    assert!(list(&scene, "alice").json().get("error").is_some());
}
