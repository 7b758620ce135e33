//! Which calls an object does in the worker's place, and which object.

use portcullis::mcp::Era;
use portcullis::portal::hold::object_name;
use serde_json::{Value, json};

use super::bridge::{Bridge, CAPABILITIES, accept, asked, asking, call};
use super::mcp_server::Speaks;
use super::scene::{Scene, document, request};

/// A worker, with everything synced.
fn worker() -> Scene {
    Scene::new(Speaks::Legacy, Speaks::Modern).synced()
}

fn handed(scene: &Scene) -> Vec<(String, Value)> {
    let handed = scene.world.keeper.handed.borrow();
    let parse = |body: &[u8]| serde_json::from_slice(body).unwrap();
    handed
        .iter()
        .map(|(object, body)| (object.clone(), parse(body)))
        .collect()
}

#[test]
fn a_call_that_may_ask_is_an_objects() {
    let scene = worker();
    let body = call("jira_set");
    let got = scene.send("alice", Era::Modern, &body);
    assert_eq!(*got.json(), "handed over", "what the object answers");
    let handed = handed(&scene);
    assert_eq!(handed.len(), 1);
    assert!(handed[0].0.starts_with("bridge:"), "{}", handed[0].0);
    assert_eq!(handed[0].1, body, "as the client sent it");
    assert_eq!(scene.sent(), [""; 0]);
    assert_eq!(scene.rows(), [""; 0], "the object records it");
}

/// What cannot be asked needs no object.
#[test]
fn other_calls_stay_in_the_worker() {
    let declared = |declared: Value| {
        let mut body = call("jira_get");
        body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = declared;
        body
    };
    let scene = worker();
    let complete = json!({"ref":{"type":"ref/prompt","name":"jira_greet"},"argument":{"name":"a","value":"b"}});
    for (body, rows) in [
        (declared(json!({})), &["outcome ok -"][..]),
        (
            declared(json!({"extensions":{"a/b":{}}})),
            &["outcome ok -"],
        ),
        (declared(json!({"elicitation":true})), &["outcome ok -"]),
        // A modern server asks for itself.
        (call("wiki_get"), &["outcome ok -"]),
        (
            asking(request(Era::Modern, "completion/complete", complete)),
            &["outcome ok -"],
        ),
    ] {
        let got = scene.send("alice", Era::Modern, &body);
        assert!(got.json()["result"].is_object(), "{body}: {}", got.json());
        assert_eq!(scene.rows(), rows, "{body}");
        scene.world.clear();
    }
    assert_eq!(handed(&scene), []);
}

/// The worker decides before anything goes on: nobody learns of an object what they may not call.
#[test]
fn a_call_that_is_refused_is_not_handed_over() {
    let scene = worker();
    for tool in ["jira_secret_get", "jira_nothing"] {
        let got = scene.send("alice", Era::Modern, &call(tool));
        assert_eq!(got.code(), -32602);
        assert_eq!(scene.rows(), ["refusal refused unknown_tool"]);
        scene.world.clear();
    }
    // Nor one that could not be recorded, or not be decided.
    scene.world.ledger.is_full.set(true);
    assert_eq!(
        scene.send("alice", Era::Modern, &call("jira_get")).code(),
        -32603
    );
    scene.world.ledger.is_full.set(false);
    scene.world.store_away.set(true);
    assert_eq!(
        scene.send("alice", Era::Modern, &call("jira_set")).status,
        503
    );
    assert_eq!(handed(&scene), []);
    assert_eq!(scene.sent(), [""; 0]);
}

/// A session with a server is opened for what its client declared, and belongs to one agent of one person.
#[test]
fn an_object_is_of_one_grant_one_server_and_one_set_of_capabilities() {
    let scene = worker();
    let caller = |name: &str| scene.caller(name, Era::Modern, &Value::Null);
    let server = |id: &str| scene.active.config.servers[id].clone();
    let (alice, jira) = (caller("alice"), server("jira"));
    let one = object_name(&alice, &jira, CAPABILITIES);
    assert_eq!(one, object_name(&caller("alice"), &jira, CAPABILITIES));
    let mut other_agent = (*alice.principal).clone();
    other_agent.client_id = Some("other".to_owned());
    let mut others = alice.as_ref().clone();
    others.principal = other_agent.into();
    for other in [
        object_name(&caller("bob"), &jira, CAPABILITIES),
        object_name(&others, &jira, CAPABILITIES),
        object_name(&alice, &server("wiki"), CAPABILITIES),
        object_name(&alice, &jira, r#"{"roots":{}}"#),
    ] {
        assert_ne!(one, other);
    }
    // However the capabilities are spelled, and whatever else is declared.
    let mut names = Vec::new();
    for declared in [
        r#"{"sampling":{},"elicitation":{}}"#,
        r#"{"extensions":{},"elicitation":{}, "sampling":{} }"#,
    ] {
        let mut body = call("jira_get");
        let declared: Value = serde_json::from_str(declared).unwrap();
        body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = declared;
        scene.send("alice", Era::Modern, &body);
        names.push(handed(&scene).pop().unwrap().0);
    }
    assert_eq!(names[0], names[1]);
}

/// The state names the object, whatever the retry declares: also nothing.
#[test]
fn a_retry_goes_to_the_object_that_holds_the_call() {
    let bridge = Bridge::new();
    let first = bridge.asked("jira_get");
    let world = &bridge.scene.world;
    *world.keeper.bridge.borrow_mut() = None;
    let mut body = bridge.retry_body("jira_get", &first.state, &first.all(&accept(1)));
    body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    let got = bridge.scene.send("alice", Era::Modern, &body);
    assert_eq!(*got.json(), "handed over");
    assert_eq!(handed(&bridge.scene), [("bridge:fake".to_owned(), body)]);
    // A state that does not open goes nowhere.
    for (who, state) in [("alice", "forged"), ("bob", &*first.state)] {
        let body = bridge.retry_body("jira_get", state, &json!({}));
        let got = bridge.scene.send(who, Era::Modern, &body);
        assert_eq!(got.code(), -32602, "{who}");
    }
    assert_eq!(handed(&bridge.scene).len(), 1);
}

/// A legacy client has no request states: what it writes there is not its way to somebody's call.
#[test]
fn a_legacy_client_does_not_go_on_with_a_held_call() {
    let bridge = Bridge::new();
    let first = bridge.asked("jira_get");
    *bridge.scene.world.keeper.bridge.borrow_mut() = None;
    let mut body = request(
        Era::Legacy,
        "tools/call",
        json!({"name":"jira_get","arguments":{"a":1}}),
    );
    body["params"]["requestState"] = first.state.into();
    let got = bridge.scene.send("alice", Era::Legacy, &body);
    assert_eq!(handed(&bridge.scene), [], "{}", got.json());
}

/// Rules that have changed since are the object's to apply: the decision is made where the call is.
#[test]
fn the_object_decides_too() {
    let mut bridge = Bridge::new();
    let mut changed = document();
    changed["servers"]["jira"]["tools"]["deny"] = json!(["get"]);
    bridge.scene.apply(&changed);
    let got = bridge.call("jira_get");
    assert_eq!(got.code(), -32602);
    assert_eq!(bridge.scene.rows(), ["refusal refused unknown_tool"]);
    assert_eq!(bridge.calls(), 0);
    // While others may.
    bridge.live.say(&super::bridge::form(5));
    asked(&bridge.call("jira_set"));
}
