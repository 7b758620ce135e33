//! What each era asks of an envelope, and what crosses from one to the other.

use portcullis::mcp::Era;
use serde_json::json;

use super::mcp_server::Speaks;
use super::scene::{Scene, request};
use super::table::scene;

/// The envelope of the modern era: each fault is refused before anything else happens.
#[test]
fn modern_envelopes_are_checked_first() {
    let good = request(
        Era::Modern,
        "tools/call",
        json!({"name":"jira_set","arguments":{}}),
    );
    let key = |name: &str| format!("io.modelcontextprotocol/{name}");
    let without = |name: &str| {
        let mut body = good.clone();
        body["params"]["_meta"]
            .as_object_mut()
            .unwrap()
            .remove(&key(name));
        body
    };
    let mut other_version = good.clone();
    other_version["params"]["_meta"][key("protocolVersion")] = "2027-01-01".into();
    let scene = scene(Era::Modern);
    for (body, status, code, row) in [
        (
            without("protocolVersion"),
            400,
            -32602,
            "refusal refused missing_meta",
        ),
        (
            without("clientCapabilities"),
            400,
            -32602,
            "refusal refused missing_meta",
        ),
        // The header says 2026-07-28.
        (
            other_version,
            400,
            -32020,
            "refusal refused header_mismatch",
        ),
    ] {
        let got = scene.send("alice", Era::Modern, &body);
        assert_eq!((got.status, got.code()), (status, code), "{body}");
        assert_eq!(scene.rows(), [row], "{body}");
        scene.world.ledger.clear();
    }
    // Headers of another call than the body's.
    let decoy = request(
        Era::Modern,
        "tools/call",
        json!({"name":"jira_get","arguments":{}}),
    );
    let caller = scene.caller("alice", Era::Modern, &decoy);
    let got = scene.send_as(&caller, &good.to_string());
    assert_eq!((got.status, got.code()), (400, -32020));
    assert_eq!(scene.rows(), ["refusal refused header_mismatch"]);
    assert!(scene.sent().is_empty());
}

/// Bridging: what each pairing of eras sends for the same read.
#[test]
fn every_pairing_of_eras_calls_in_the_servers_era() {
    for (client, server, header) in [
        (Era::Modern, Speaks::Modern, true),
        (Era::Modern, Speaks::Both, true),
        (Era::Modern, Speaks::Legacy, false),
        (Era::Legacy, Speaks::Legacy, false),
        (Era::Legacy, Speaks::Both, false),
        (Era::Legacy, Speaks::Modern, true),
    ] {
        let scene = Scene::new(server, Speaks::Modern).synced();
        let got = scene.call(client, "jira_get");
        let what = format!("{client:?} {server:?}");
        assert_eq!(got.result()["content"][0]["text"], "done", "{what}");
        let calls = scene.world.upstreams.of("tools/call");
        assert_eq!(calls.len(), 1, "{what}");
        assert_eq!(calls[0].header("Mcp-Method").is_some(), header, "{what}");
        assert_eq!(
            calls[0].header("Mcp-Session-Id").is_some(),
            !header,
            "{what}"
        );
        let params = &calls[0].json()["params"];
        assert_eq!(params["name"], "get", "{what}");
        let version = &params["_meta"]["io.modelcontextprotocol/protocolVersion"];
        assert_eq!(version.is_string(), header, "{what}");
        // A modern client requires what a legacy server does not say.
        let says = &got.result()["resultType"];
        assert!(client == Era::Legacy || *says == "complete", "{what}");
        assert_eq!(scene.rows(), ["outcome ok -"], "{what}");
    }
}

/// A subscription's updates need a stream of the client's own to arrive on, whatever era the server speaks.
#[test]
fn a_client_without_a_session_cannot_subscribe() {
    for server in [Speaks::Modern, Speaks::Legacy] {
        let scene = Scene::new(server, Speaks::Modern).synced();
        for method in ["resources/subscribe", "resources/unsubscribe"] {
            let got = scene.ask("alice", Era::Legacy, method, json!({"uri":"jira://a"}));
            assert_eq!(got.code(), -32000, "{method}");
            assert_eq!(scene.world.upstreams.of(method).len(), 0, "{method}");
            assert_eq!(
                scene.rows(),
                ["refusal refused subscription_needs_session"],
                "{method}"
            );
            scene.world.ledger.clear();
        }
    }
}
