//! The portal's own tools in the audit: a switch is a change, and durable before its caller hears of it.

use portcullis::mcp::Era;
use serde_json::{Value, json};

use super::ledger::Break;
use super::mcp_server::Speaks;
use super::scene::{Got, Scene, document};

const ERAS: [Era; 2] = [Era::Modern, Era::Legacy];

fn scene() -> Scene {
    let mut document = document();
    document["portals"]["main"]["portal_tools"] = true.into();
    Scene::of(&document, Speaks::Modern, Speaks::Modern).synced()
}

fn tool(scene: &Scene, era: Era, name: &str, arguments: Value) -> Got {
    let params = json!({"name":name,"arguments":arguments});
    scene.ask("alice", era, "tools/call", params)
}

/// Every way to switch one server off.
fn switches() -> [(&'static str, Value); 2] {
    let one = json!({"server_id":"jira","action":"untoggle"});
    [
        ("portal_toggle_single_server", one),
        ("portal_toggle_servers", json!({"disable":["jira"]})),
    ]
}

fn is_off(scene: &Scene) -> bool {
    let off = scene.world.off.borrow();
    off.values().any(|servers| servers.contains("jira"))
}

#[test]
fn a_switch_is_durable_before_the_reply() {
    for era in ERAS {
        for (name, arguments) in switches() {
            let scene = scene();
            scene.world.ledger.slow_ms.set(300);
            let begun = scene.world.timers.now_ms();
            let got = tool(&scene, era, name, arguments);
            assert_eq!(got.result()["isError"], Value::Null, "{name}");
            assert_eq!(scene.world.timers.now_ms() - begun, 300, "waited for");
            assert_eq!(scene.world.steps(), ["durable outcome ok"], "{name}");
            let rows = scene.world.ledger.durable.borrow();
            assert_eq!(rows.len(), 1);
            assert_eq!(rows[0].target.as_deref(), Some(name));
            assert_eq!(rows[0].request_id, scene.last_request_id());
            assert!(is_off(&scene));
        }
    }
}

/// Looking changes nothing: its row is queued, and nobody waits for it.
#[test]
fn looking_is_queued() {
    for era in ERAS {
        let scene = scene();
        scene.world.ledger.slow_ms.set(60_000);
        let begun = scene.world.timers.now_ms();
        tool(&scene, era, "portal_list_servers", json!({})).result();
        assert_eq!(scene.world.timers.now_ms(), begun);
        assert_eq!(scene.world.steps(), ["queued outcome ok"]);
    }
}

/// As with any other change: who hears of it knows that it is recorded, and its one row is not lost.
#[test]
fn a_switch_that_cannot_be_recorded_is_said_to_be_unrecorded() {
    for era in ERAS {
        for fault in [Break::Before, Break::AfterPersist] {
            for (name, arguments) in switches() {
                let scene = scene();
                scene.world.ledger.break_next(&[Some(fault)]);
                let got = tool(&scene, era, name, arguments);
                assert_eq!((got.status, got.code()), (503, -32603), "{name} {fault:?}");
                let text = got.json()["error"]["message"].as_str().unwrap();
                assert!(text.contains("could not be recorded"), "{text}");
                assert_eq!(scene.rows(), ["outcome ok -"], "{name} {fault:?}");
                assert_eq!(
                    scene.world.ledger.queued.borrow().len(),
                    1,
                    "kept for later"
                );
            }
        }
    }
}

/// `AuditSink::has_room`: without room nothing new is begun, whatever it is.
#[test]
fn nothing_is_switched_without_room_for_its_row() {
    for era in ERAS {
        for (name, arguments) in switches() {
            let scene = scene();
            scene.world.ledger.is_full.set(true);
            assert_eq!(tool(&scene, era, name, arguments).status, 503, "{name}");
            assert!(!is_off(&scene), "{name}");
            assert_eq!(scene.rows(), ["refusal refused audit_away"], "{name}");
        }
    }
}

/// What is not understood changes nothing, and is refused by name.
#[test]
fn arguments_that_do_not_fit_are_refused() {
    for era in ERAS {
        for (name, arguments) in [
            ("portal_toggle_servers", json!({"disable":"jira"})),
            ("portal_toggle_servers", json!({"disable":["jira", 7]})),
            ("portal_toggle_servers", json!({"disabled":["jira"]})),
            ("portal_toggle_servers", json!({"disable":["jira"],"x":1})),
            ("portal_toggle_single_server", json!({"server_id":"jira"})),
            (
                "portal_toggle_single_server",
                json!({"server_id":"jira","action":"off"}),
            ),
        ] {
            let scene = scene();
            let got = tool(&scene, era, name, arguments.clone());
            assert_eq!(got.code(), -32602, "{arguments}");
            assert_eq!(scene.rows(), ["refusal refused bad_params"], "{arguments}");
            assert!(!is_off(&scene), "{arguments}");
        }
        // A server that is not there is the tool's to say, and nothing is switched beside it.
        let scene = scene();
        let arguments = json!({"disable":["jira","nothing"]});
        let got = tool(&scene, era, "portal_toggle_servers", arguments);
        assert_eq!(got.result()["isError"], true);
        assert_eq!(scene.world.steps(), ["durable outcome tool_error"]);
        assert!(!is_off(&scene));
    }
}
