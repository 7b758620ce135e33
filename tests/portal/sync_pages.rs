//! Fetching what servers offer: page by page, once for everybody or once for each, and never in part.

use std::cell::Cell;

use portcullis::catalog::SnapshotKey;
use portcullis::error::UpstreamFault;
use portcullis::limits::{
    SNAPSHOT_TTL_DEFAULT_MS, SNAPSHOT_TTL_MAX_MS, SNAPSHOT_TTL_MIN_MS, UPSTREAM_PAGES_MAX,
};
use portcullis::mcp::Era;
use portcullis::portal::ports::BodyKind;
use serde_json::{Value, json};

use super::mcp_server::{Speaks, rpc_error};
use super::scene::{Scene, document};
use super::sync::{LISTS, alone, list, methods, names, result, serve, tool};
use super::upstreams::Canned;

#[test]
fn what_is_shared_is_fetched_once_for_everybody() {
    let scene = alone(Speaks::Modern, "auto");
    names(&scene, "alice");
    scene.world.clear();
    assert_eq!(names(&scene, "bob"), ["jira_get", "jira_set"]);
    assert_eq!(methods(&scene), [""; 0]);
}

#[test]
fn what_is_private_is_fetched_for_each_and_shown_to_no_other() {
    let scene = alone(Speaks::Modern, "auto");
    *scene.jira.page.borrow_mut() = json!({"ttlMs":300_000,"cacheScope":"private"});
    *scene.jira.tools.borrow_mut() = vec![tool("of_alice")];
    assert_eq!(names(&scene, "alice"), ["jira_of_alice"]);
    *scene.jira.tools.borrow_mut() = vec![tool("of_bob")];
    assert_eq!(names(&scene, "bob"), ["jira_of_bob"]);
    assert_eq!(
        names(&scene, "alice"),
        ["jira_of_alice"],
        "from her own snapshot"
    );
    assert_eq!(scene.world.upstreams.of("tools/list").len(), 2);
    let kept = scene.world.catalogs.kept.borrow();
    let shared = &kept[&SnapshotKey::shared("jira")];
    assert!(
        shared.facts.private && shared.tools.is_empty(),
        "nothing of anybody in the shared one"
    );
    assert_eq!(
        kept[&SnapshotKey::of("jira", "idp|alice")].tools[0].key,
        "of_alice"
    );
    drop(kept);
    // What only bob was offered is unknown to alice.
    scene.world.clear();
    let got = scene.call(Era::Modern, "jira_of_bob");
    assert_eq!(got.code(), -32602);
    assert_eq!(scene.sent(), [""; 0]);
}

/// One page that says private makes the whole listing private, whichever it is.
#[test]
fn one_private_page_makes_it_private() {
    for method in LISTS {
        let scene = alone(Speaks::Modern, "auto");
        serve(&scene, move |sent| {
            (sent.method() == method).then(|| {
                let member = if method == "resources/templates/list" {
                    "resourceTemplates"
                } else {
                    &method[..method.len() - 5]
                };
                result(
                    sent,
                    json!({member:[],"ttlMs":300_000,"cacheScope":"private"}),
                )
            })
        });
        list(&scene, "alice");
        scene.world.clear();
        list(&scene, "bob");
        assert!(!methods(&scene).is_empty(), "{method}");
    }
}

#[test]
fn freshness_is_what_the_server_says_within_bounds() {
    for (said, expected) in [
        (json!({}), SNAPSHOT_TTL_DEFAULT_MS),
        (json!({"ttlMs":0}), SNAPSHOT_TTL_MIN_MS),
        (json!({"ttlMs":-5}), SNAPSHOT_TTL_MIN_MS),
        (json!({"ttlMs":1.5e300}), SNAPSHOT_TTL_MAX_MS),
        (json!({"ttlMs":10_000}), 10_000),
        (json!({"ttlMs":null}), SNAPSHOT_TTL_DEFAULT_MS),
    ] {
        let scene = alone(Speaks::Modern, "auto");
        *scene.jira.page.borrow_mut() = said.clone();
        list(&scene, "alice");
        let kept = scene.world.catalogs.kept.borrow();
        assert_eq!(
            kept[&SnapshotKey::shared("jira")].ttl_ms,
            expected,
            "{said}"
        );
    }
    // The shortest of all pages counts.
    let scene = alone(Speaks::Modern, "auto");
    serve(&scene, |sent| {
        (sent.method() == "prompts/list").then(|| result(sent, json!({"prompts":[],"ttlMs":7_000})))
    });
    list(&scene, "alice");
    assert_eq!(
        scene.world.catalogs.kept.borrow()[&SnapshotKey::shared("jira")].ttl_ms,
        7_000
    );
}

/// A listing of this many pages, one tool each; `next` makes the cursor after a page.
fn paged(scene: &Scene, pages: usize, next: impl Fn(usize) -> Value + 'static) {
    let asked = Cell::new(0_usize);
    serve(scene, move |sent| {
        (sent.method() == "tools/list").then(|| {
            let page = asked.get();
            asked.set(page + 1);
            let cursor = if page + 1 < pages {
                next(page)
            } else {
                Value::Null
            };
            result(
                sent,
                json!({"tools":[tool(&format!("t{page}"))],"nextCursor":cursor}),
            )
        })
    });
}

#[test]
fn listings_are_read_page_by_page_up_to_a_bound() {
    let scene = alone(Speaks::Modern, "auto");
    paged(&scene, UPSTREAM_PAGES_MAX, |page| {
        format!("c\"{page}").into()
    });
    assert_eq!(names(&scene, "alice").len(), UPSTREAM_PAGES_MAX);
    let cursors: Vec<Value> = scene
        .world
        .upstreams
        .of("tools/list")
        .iter()
        .map(|s| s.json()["params"]["cursor"].clone())
        .collect();
    assert_eq!(
        (&cursors[0], &cursors[1], &cursors[2]),
        (&Value::Null, &json!("c\"0"), &json!("c\"1"))
    );
    let scene = alone(Speaks::Modern, "auto");
    paged(&scene, usize::MAX, |page| page.to_string().into());
    assert_eq!(list(&scene, "alice").code(), -32000);
    assert_eq!(
        scene.world.upstreams.of("tools/list").len(),
        UPSTREAM_PAGES_MAX
    );
    // A cursor that leads nowhere is an end, not a circle.
    for stuck in [json!("same"), json!("")] {
        let scene = alone(Speaks::Modern, "auto");
        paged(&scene, usize::MAX, move |_| stuck.clone());
        let count = names(&scene, "alice").len();
        assert!(count <= 2, "{count}");
    }
}

/// A server without a kind of thing says that there is no such method, and has the others all the same.
#[test]
fn a_server_may_lack_a_kind_of_thing() {
    for missing in ["prompts/list", "resources/list", "resources/templates/list"] {
        for speaks in [Speaks::Modern, Speaks::Legacy] {
            let scene = alone(speaks, "auto");
            serve(&scene, move |sent| {
                let body = rpc_error(&sent.json()["id"], -32601, "Method not found");
                (sent.method() == missing).then(|| Canned::with(404, BodyKind::Json, body))
            });
            assert_eq!(
                names(&scene, "alice"),
                ["jira_get", "jira_set"],
                "{missing} {speaks:?}"
            );
        }
    }
}

/// A listing that fails is no empty listing: for its whole freshness every tool would be unknown.
#[test]
fn a_failing_listing_fails_the_sync() {
    let rpc = |code| {
        Canned::with(
            200,
            BodyKind::Json,
            rpc_error(&json!("portcullis-list"), code, "x"),
        )
    };
    for (what, canned) in [
        ("status 500", Canned::status(500)),
        ("status 429", Canned::status(429)),
        ("unreachable", Canned::fault(UpstreamFault::Unreachable)),
        (
            "another shape",
            Canned::json(json!({"jsonrpc":"2.0","id":"portcullis-list","result":{"tools":7}})),
        ),
        ("internal error", rpc(-32603)),
        ("server error", rpc(-32000)),
    ] {
        let scene = alone(Speaks::Modern, "auto");
        let canned_now = canned.clone();
        serve(&scene, move |sent| {
            (sent.method() == "tools/list").then(|| canned_now.clone())
        });
        let got = list(&scene, "alice");
        assert!(got.json().get("error").is_some(), "{what}: {}", got.json());
        assert!(
            scene.world.catalogs.kept.borrow().is_empty(),
            "{what}: nothing is kept"
        );
    }
}

/// Half a listing is none either.
#[test]
fn a_listing_that_fails_in_the_middle_fails_the_sync() {
    let scene = alone(Speaks::Modern, "auto");
    serve(&scene, |sent| {
        (sent.method() == "tools/list").then(|| match sent.json()["params"].get("cursor") {
            None => result(sent, json!({"tools":[tool("a")],"nextCursor":"2"})),
            Some(_) => Canned::json(
                serde_json::from_str(&rpc_error(&sent.json()["id"], -32603, "x")).unwrap(),
            ),
        })
    });
    let got = list(&scene, "alice");
    assert!(got.json().get("error").is_some(), "{}", got.json());
}

/// A disabled server is not even asked.
#[test]
fn a_disabled_server_is_not_asked() {
    let mut document = document();
    document["servers"]["jira"]["enabled"] = false.into();
    let scene = Scene::of(&document, Speaks::Modern, Speaks::Modern);
    assert_eq!(names(&scene, "alice"), ["wiki_get", "wiki_set"]);
    assert_eq!(scene.call(Era::Modern, "jira_get").code(), -32602);
    assert!(scene.sent().iter().all(|line| line.starts_with("wiki")));
}
