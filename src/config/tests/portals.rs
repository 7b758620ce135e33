//! Rules about portals and who may use them.

use serde_json::json;

use super::*;

#[test]
fn validate_rejects_the_same_prefix_twice_in_a_portal() {
    let twin = with("/servers/jira/prefix", json!("wiki"));
    refused(
        &twin,
        &local(),
        "/portals/main/servers/1",
        "`wiki` and `jira` have the same prefix `wiki`",
    );
    accepted("/servers/jira/prefix", json!("wiki_two"));
    // In two portals nothing is confused.
    let mut apart = twin;
    apart["portals"] = json!({ "a": { "servers": ["wiki"] }, "b": { "servers": ["jira"] } });
    check(&apart, &local()).unwrap();
}

#[test]
fn validate_rejects_no_prefix_beside_others() {
    let bare = with("/servers/jira/prefix", json!(""));
    refused(
        &bare,
        &local(),
        "/portals/main/servers/1",
        "must be its portal's only server",
    );
    let mut alone = bare;
    alone["portals"] = json!({ "a": { "servers": ["jira"] } });
    check(&alone, &local()).unwrap();
}

#[test]
fn validate_rejects_unknown_and_repeated_servers() {
    refused_at(
        "/portals/main/servers/0",
        json!("wikki"),
        "did you mean `wiki`?",
    );
    let twice = with("/portals/main/servers", json!(["wiki", "jira", "wiki"]));
    refused(&twice, &local(), "/portals/main/servers/2", "listed twice");
    refused_at(
        "/portals/main/tools/gitlab",
        json!({}),
        "the portal has no server `gitlab`",
    );
}

#[test]
fn validate_rejects_bad_host_names() {
    for (host, words) in [
        ("Localhost", "lower case"),
        ("localhost:8787", "without a port"),
        ("https://a.example", "without a scheme"),
        ("a.example/mcp", "without a path"),
        ("*.example", "wildcard"),
        ("a_b.example", "labels"),
        ("", "labels"),
    ] {
        refused_at("/portals/main/hostnames/0", json!(host), words);
    }
}

#[test]
fn validate_rejects_a_host_name_of_two_portals() {
    let other = with(
        "/portals/other",
        json!({ "hostnames": ["localhost"], "servers": [] }),
    );
    refused(
        &other,
        &local(),
        "/portals/other/hostnames/0",
        "already belongs to the portal `main`",
    );
    let twice = with("/portals/main/hostnames", json!(["localhost", "localhost"]));
    refused(
        &twice,
        &local(),
        "/portals/main/hostnames/1",
        "already belongs to the portal `main`",
    );
}

#[test]
fn validate_rejects_bad_rules() {
    let at = "/portals/main/access/0";
    refused_at(
        at,
        json!({ "include": [{ "everyone": true }] }),
        "`action` is missing",
    );
    refused_at(at, json!({ "action": "allow" }), "names nobody");
    refused_at(
        at,
        json!({ "action": "allow", "include": [] }),
        "names nobody",
    );
    refused_at(
        "/portals/main/access/0/action",
        json!("alow"),
        "did you mean `allow`?",
    );
    assert!(
        accepted("/portals/main/access", json!([]))
            .portal("main")
            .unwrap()
            .access
            .is_empty()
    );
}

#[test]
fn validate_rejects_bad_selectors() {
    let at = "/portals/main/access/0/include/0";
    for selector in [
        json!({}),
        json!({ "email": "a@a.example", "everyone": true }),
    ] {
        refused_at(at, selector, "exactly one key");
    }
    for (selector, below, words) in [
        (
            json!({ "emial": "a@a.example" }),
            "/emial",
            "did you mean `email`?",
        ),
        (
            json!({ "email": "alice" }),
            "/email",
            "not an e-mail address",
        ),
        (
            json!({ "email_domain": "@acme.example" }),
            "/email_domain",
            "without `@`",
        ),
        (
            json!({ "email_domain": "acme..example" }),
            "/email_domain",
            "labels",
        ),
        (json!({ "group": "" }), "/group", "must not be empty"),
        (
            json!({ "everyone": false }),
            "/everyone",
            "can only be true",
        ),
        (
            json!({ "claim": { "name": "a" } }),
            "/claim",
            "`value` is missing",
        ),
        (
            json!({ "claim": { "name": "a..b", "value": 1 } }),
            "/claim/name",
            "no empty step",
        ),
        (
            json!({ "claim": { "name": [], "value": 1 } }),
            "/claim/name",
            "at least one step",
        ),
        (
            json!({ "claim": { "name": "a.b.c.d.e.f.g.h.i", "value": 1 } }),
            "/claim/name",
            "at most 8",
        ),
        (
            json!({ "claim": { "name": "a", "value": null } }),
            "/claim/value",
            "a string, a number or a boolean",
        ),
        (
            json!({ "claim": { "name": "a", "value": [1] } }),
            "/claim/value",
            "a string, a number or a boolean",
        ),
        (
            json!({ "claim": { "name": "a", "value": "v".repeat(501) } }),
            "/claim/value",
            "at most 500",
        ),
    ] {
        refused(
            &with(at, selector),
            &local(),
            &format!("{at}{below}"),
            words,
        );
    }
    accepted(
        at,
        json!({ "group": "a group only the identity provider knows" }),
    );
}

#[test]
fn validate_rejects_bypass_for_everyone_outside_local_development() {
    let mut document = with(
        "/portals/main/access/0",
        json!({ "action": "bypass", "include": [{ "everyone": true }] }),
    );
    document["servers"]["wiki"]["url"] = json!("https://wiki.example/");
    document["identity"] = json!({});
    check(&document, &local()).unwrap();
    refused(
        &document,
        &production(),
        "/portals/main/access/0",
        "local development only",
    );
}

#[test]
fn a_faulty_server_does_not_make_its_portals_wrong() {
    refused_at("/servers/wiki/url", json!("nowhere"), "not a URL");
    // Its prefix still counts.
    let mut document = with("/servers/wiki/url", json!("nowhere"));
    document["servers"]["jira"]["prefix"] = json!("wiki");
    let errors = check(&document, &local()).unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:#?}");
}
