//! Who may not ask about a task: nobody else, and nobody any more.

use super::mcp_server::Speaks;
use super::scene::{Got, Scene, document, request};
use super::tasks::{
    EXTENSION, METHODS, TOOL_RULE, about, ask, begun, begun_for, call, declaring, of, scene,
};
use super::upstreams::Canned;
use portcullis::limits::{TASK_SEAL_MAX_MS, TASK_SEAL_MIN_MS};
use portcullis::mcp::Era;
use portcullis::portal::Caller;
use serde_json::{Value, json};
use std::rc::Rc;

/// Refused before anything is sent, under one reason.
#[track_caller]
pub fn assert_refused(
    scene: &Scene,
    got: &Got,
    (status, code): (u16, i64),
    reason: &str,
    what: &str,
) {
    assert_eq!((got.status, got.code()), (status, code), "{what}");
    assert_eq!(scene.sent(), [""; 0], "{what}");
    let row = format!("refusal refused {reason}");
    assert_eq!(scene.rows(), [row], "{what}");
}

#[test]
fn who_does_not_declare_the_extension_is_told_to() {
    for method in METHODS {
        let scene = scene();
        let sealed = begun(&scene, "jira_get", "T-1");
        for id in [sealed.as_str(), "gate-test"] {
            let got = scene.ask("alice", Era::Modern, method, about(method, id));
            assert_refused(&scene, &got, (400, -32021), "missing_capability", method);
            let required = &got.json()["error"]["data"]["requiredCapabilities"];
            assert_eq!(*required, json!({"extensions":{EXTENSION:{}}}));
            scene.world.clear();
        }
    }
}

#[test]
fn a_tasks_id_is_good_for_its_principal_in_its_portal_alone() {
    let mut two = document();
    two["portals"]["other"] = two["portals"]["main"].clone();
    for method in METHODS {
        let scene = of(&two);
        let sealed = begun(&scene, "jira_get", "T-1");
        let got = ask(&scene, "bob", method, about(method, &sealed));
        assert_refused(&scene, &got, (200, -32602), "unknown_task", "bob's");
        scene.world.clear();

        let body = request(Era::Modern, method, declaring(about(method, &sealed)));
        let caller = scene.caller("alice", Era::Modern, &body);
        let portal = scene.active.config.portal("other").unwrap().clone();
        let elsewhere = Rc::new(Caller {
            portal,
            ..(*caller).clone()
        });
        let got = scene.send_as(&elsewhere, &body.to_string());
        assert_refused(&scene, &got, (200, -32602), "unknown_task", "elsewhere");
        scene.world.clear();

        let got = ask(&scene, "alice", method, about(method, &sealed));
        assert!(got.json().get("result").is_some(), "{}", got.json());
    }
}

#[test]
fn what_was_never_sealed_as_a_task_is_none() {
    let scene = scene();
    let sealed = begun(&scene, "jira_get", "T-1");
    let question = json!({"jsonrpc":"2.0","id":"$ID","result":{"resultType":"input_required","requestState":"[\"jira\",\"get\",\"T-1\"]"}});
    scene.jira.will_answer(Canned::json(question));
    let state = call(&scene, "jira_get").result()["requestState"].clone();
    scene.world.clear();
    let mut flipped = sealed.clone().into_bytes();
    let middle = flipped.len() / 2;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    let forged = [
        String::from_utf8(flipped).unwrap(),
        sealed[1..].to_owned(),
        format!("{sealed}A"),
        state.as_str().unwrap().to_owned(),
        "T-1".to_owned(),
        String::new(),
        "A".repeat(100_000),
    ];
    for method in METHODS {
        for id in &forged {
            let got = ask(&scene, "alice", method, about(method, id));
            assert_refused(&scene, &got, (200, -32602), "unknown_task", method);
            scene.world.clear();
        }
        let got = ask(&scene, "alice", method, json!({}));
        assert_refused(&scene, &got, (400, -32602), "bad_params", method);
        scene.world.clear();
    }
    // And a task is no request state.
    let params = json!({"name":"jira_get","arguments":{},"requestState":sealed});
    let got = ask(&scene, "alice", "tools/call", params);
    assert_refused(&scene, &got, (200, -32602), "bad_seal", "a task as a state");
}

#[test]
fn a_tasks_id_ends_with_the_task_within_bounds() {
    let longer = TASK_SEAL_MIN_MS * 2;
    for (ttl_ms, life_ms) in [
        (json!(1), TASK_SEAL_MIN_MS),
        (json!(longer), longer),
        (json!(null), TASK_SEAL_MAX_MS),
        (json!(TASK_SEAL_MAX_MS * 2), TASK_SEAL_MAX_MS),
    ] {
        for (age_ms, is_good) in [(life_ms - 1, true), (life_ms, false)] {
            for method in METHODS {
                let scene = scene();
                let sealed = begun_for(&scene, "jira_get", "T-1", ttl_ms.clone());
                scene.world.timers.pass(age_ms);
                let got = ask(&scene, "alice", method, about(method, &sealed));
                let asked = scene.world.upstreams.of(method).len();
                assert_eq!(asked, usize::from(is_good), "{ttl_ms} {age_ms}");
                if !is_good {
                    assert_eq!(got.code(), -32602);
                    assert_eq!(scene.rows(), ["refusal refused unknown_task"]);
                }
            }
        }
    }
}

/// Every request is decided anew: what the caller may not call any more is answered like what never was.
#[test]
fn a_task_lasts_no_longer_than_the_rule_that_allowed_it() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change, Option<&str>); 4] = [
        (
            "denied",
            |document| document["servers"]["jira"]["tools"]["deny"] = json!(["get"]),
            Some("portals.main/servers.jira.tools.deny[0]"),
        ),
        (
            "no longer allowed",
            |document| document["servers"]["jira"]["tools"] = json!({"default":"deny"}),
            Some(TOOL_RULE),
        ),
        (
            "server switched off",
            |document| document["servers"]["jira"]["enabled"] = false.into(),
            None,
        ),
        (
            "server taken out",
            |document| document["portals"]["main"]["servers"] = json!(["wiki"]),
            None,
        ),
    ];
    for method in METHODS {
        for (what, change, rule) in &changes {
            let mut scene = scene();
            let sealed = begun(&scene, "jira_get", "T-1");
            let mut document = document();
            change(&mut document);
            scene.apply(&document);
            let got = ask(&scene, "alice", method, about(method, &sealed));
            assert_refused(&scene, &got, (200, -32602), "unknown_task", what);
            let unknown = ask(&scene, "alice", method, about(method, "never"));
            assert_eq!(got.json(), &renumbered(&scene, &unknown), "{what}");
            let row = &scene.world.ledger.rows()[0];
            assert_eq!(row.rule.as_deref(), *rule, "{what}");
            assert_eq!(row.server.as_deref(), Some("jira"), "{what}");
            assert_eq!(row.target.as_deref(), Some("get"), "{what}");
        }
    }
}

/// The second of two answers as if it were the first.
fn renumbered(scene: &Scene, got: &Got) -> Value {
    let mut json = got.json().clone();
    let last = scene.last_request_id();
    assert_eq!(json["error"]["data"]["requestId"], *last);
    let number: u32 = last[1..].parse().unwrap();
    json["error"]["data"]["requestId"] = format!("r{}", number - 1).into();
    json
}

#[test]
fn a_tool_server_or_extension_that_is_gone_takes_its_tasks_along() {
    for what in ["tool", "extension", "era", "toggle"] {
        let mut document = document();
        document["portals"]["main"]["portal_tools"] = (what == "toggle").into();
        let scene = of(&document);
        let sealed = begun(&scene, "jira_get", "T-1");
        match what {
            "tool" => scene.jira.tools.borrow_mut().clear(),
            "extension" => scene.jira.tasks.set(false),
            "era" => scene.jira.speaks.set(Speaks::Legacy),
            _ => {
                let params =
                    json!({"name":"portal_toggle_servers","arguments":{"disable":["jira"]}});
                scene.ask("alice", Era::Modern, "tools/call", params);
            }
        }
        // As after a restart: asked anew.
        scene.world.catalogs.kept.borrow_mut().clear();
        scene.ask("alice", Era::Modern, "tools/list", json!({}));
        scene.world.clear();
        let got = ask(&scene, "alice", "tasks/get", json!({"taskId":sealed}));
        assert_eq!((got.status, got.code()), (200, -32602), "{what}");
        assert_eq!(scene.rows(), ["refusal refused unknown_task"], "{what}");
        assert_eq!(scene.world.upstreams.of("tasks/get").len(), 0, "{what}");
    }
}
