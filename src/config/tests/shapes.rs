//! Keys, kinds, texts and ids, wherever they stand.

use serde_json::{Value, json};

use super::*;
use crate::config::limits::{
    ERRORS_MAX, GROUPS_MAX, HOSTNAMES_PER_PORTAL_MAX, MEMBERS_PER_GROUP_MAX, PATTERNS_PER_LIST_MAX,
    PORTALS_MAX, RULES_PER_PORTAL_MAX, SELECTORS_PER_LIST_MAX, SERVERS_MAX, SERVERS_PER_PORTAL_MAX,
};

#[test]
fn validate_returns_all_errors_at_once() {
    let mut document = whole();
    document["extra"] = json!(1);
    document["portals"]["main"]["hostnames"] = json!(["A", "a:1"]);
    document["portals"]["main"]["servers"] = json!(["jira", "wikki"]);
    document["servers"]["jira"]["url"] = json!("https://10.0.0.1/");
    document["servers"]["wiki"]["tmeout_ms"] = json!(1);
    document["groups"]["finance"] = json!(["nobody", 7]);
    let errors = check(&document, &local()).unwrap_err();
    let mut pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        [
            "/extra",
            "/groups/finance/0",
            "/groups/finance/1",
            "/portals/main/hostnames/0",
            "/portals/main/hostnames/1",
            "/portals/main/servers/1",
            "/servers/jira/url",
            "/servers/wiki/tmeout_ms",
        ],
        "{errors:#?}"
    );
}

#[test]
fn validate_rejects_unknown_keys() {
    refused_at("/portal", json!({}), "did you mean `portals`?");
    refused_at(
        "/portals/main/hostname",
        json!([]),
        "did you mean `hostnames`?",
    );
    refused_at(
        "/servers/jira/tmeout_ms",
        json!(1),
        "did you mean `timeout_ms`?",
    );
    refused_at(
        "/servers/jira/auth/secret",
        json!("UPSTREAM_Y"),
        "expected `kind`, `headers`",
    );
    refused_at(
        "/servers/jira/tools/xyzzy",
        json!(1),
        "expected `default`, `allow`",
    );
    refused_at(
        "/servers/jira/alias/create_issue/nam",
        json!(1),
        "did you mean `name`?",
    );
    refused_at(
        "/portals/main/access/0/actions",
        json!(1),
        "did you mean `action`?",
    );
    refused_at(
        "/portals/main/tools/jira/defualt",
        json!(1),
        "did you mean `default`?",
    );
    refused_at(
        "/identity/issuers/demo/jwks",
        json!(1),
        "unknown key `jwks`",
    );
    refused_at("/identity/x", json!(1), "unknown key `x`");
    let slashes = with(
        "/servers/jira/alias",
        json!({ "a/b~c": { "x": 1, "name": "n" } }),
    );
    refused(
        &slashes,
        &local(),
        "/servers/jira/alias/a~1b~0c/x",
        "unknown key `x`",
    );
}

#[test]
fn validate_rejects_wrong_kinds() {
    for (pointer, value, words) in [
        ("/portals", json!([]), "expected a table, found a list"),
        (
            "/servers/jira/enabled",
            json!("yes"),
            "expected true or false, found a string",
        ),
        (
            "/servers/jira/name",
            json!(1),
            "expected a string, found a number",
        ),
        (
            "/servers/jira/name",
            json!(null),
            "expected a string, found null",
        ),
        (
            "/servers/jira/era",
            json!("modem"),
            "did you mean `modern`?",
        ),
        (
            "/servers/jira/tools/allow",
            json!("get_*"),
            "expected a list, found a string",
        ),
        (
            "/portals/main/code_mode",
            json!("on"),
            "expected `off`, `opt_in`",
        ),
    ] {
        refused_at(pointer, value, words);
    }
    assert!(
        parse(b"[]", &local()).unwrap_err()[0]
            .message
            .contains("expected a table")
    );
}

#[test]
fn validate_rejects_text_that_is_empty_long_or_strange() {
    refused_at("/servers/jira/name", json!(" "), "must not be empty");
    refused_at("/servers/jira/name", json!("a\u{7}"), "control characters");
    refused_at("/servers/jira/name", json!("a\nb"), "control characters");
    refused_at(
        "/servers/jira/name",
        json!("a".repeat(101)),
        "has 101 characters",
    );
    refused_at(
        "/servers/jira/alias/create_issue/description",
        json!("\u{1b}[31m"),
        "control characters",
    );
    refused_at(
        "/servers/jira/alias/create_issue/description",
        json!("a".repeat(4_001)),
        "at most 4000",
    );
}

#[test]
fn validate_rejects_bad_ids() {
    let portal = json!({ "servers": [] });
    refused_at("/portals/Main", portal.clone(), "not a portal id");
    refused_at("/portals/a_b", portal, "not a portal id");
    refused_at(
        "/servers/a_b",
        json!({ "url": "https://a.example/", "prefix": "a" }),
        "not a server id",
    );
    let issuer = json!({ "issuer": "https://a.example", "jwks_url": "https://a.example/k" });
    refused_at("/identity/issuers/-", issuer, "not an issuer id");
}

#[test]
fn validate_rejects_unsupported_parts() {
    for kind in ["oauth", "service_token", "access", "id_jag"] {
        let document = with("/servers/jira/auth", json!({ "kind": kind, "anything": 1 }));
        refused(
            &document,
            &local(),
            "/servers/jira/auth/kind",
            "not supported yet",
        );
    }
    refused_at(
        "/servers/jira/tools/approve",
        json!(["merge_*"]),
        "not supported yet",
    );
    refused_at("/servers/jira/auth", json!({}), "`kind` is missing");
    refused_at(
        "/servers/jira/auth",
        json!({ "kind": "bearer" }),
        "`secret` is missing",
    );
    let document = with("/servers/jira/auth", json!({ "kind": "baerer" }));
    refused(
        &document,
        &local(),
        "/servers/jira/auth/kind",
        "did you mean `bearer`?",
    );
}

#[test]
fn the_list_of_errors_is_bounded() {
    let keys: serde_json::Map<String, Value> = (0..ERRORS_MAX * 2)
        .map(|n| (format!("k{n}"), json!(1)))
        .collect();
    let errors = check(&Value::Object(keys), &local()).unwrap_err();
    assert_eq!(errors.len(), ERRORS_MAX + 1);
    assert!(
        errors
            .last()
            .unwrap()
            .message
            .contains("the rest is not shown")
    );
}

#[test]
fn validate_rejects_too_many_of_anything() {
    let table = |count: usize, value: Value| -> Value {
        Value::Object(
            (0..count)
                .map(|index| (format!("n{index}"), value.clone()))
                .collect(),
        )
    };
    let server = json!({ "url": "https://a.example/" });
    let mut portals = table(PORTALS_MAX + 1, json!({}));
    refused(
        &json!({ "portals": portals.take() }),
        &local(),
        "/portals",
        "101 portals are too many",
    );
    let servers = table(SERVERS_MAX + 1, server.clone());
    refused(
        &json!({ "servers": servers }),
        &local(),
        "/servers",
        "501 servers are too many",
    );
    let groups = table(GROUPS_MAX + 1, json!([]));
    refused(
        &json!({ "groups": groups }),
        &local(),
        "/groups",
        "501 groups are too many",
    );

    let servers = table(SERVERS_PER_PORTAL_MAX + 1, server);
    let ids: Vec<&String> = servers.as_object().unwrap().keys().collect();
    let document = json!({ "portals": { "main": { "servers": ids } }, "servers": servers });
    refused(
        &document,
        &local(),
        "/portals/main/servers",
        "251 servers are too many",
    );

    let many = |value: Value, count: usize| Value::Array(vec![value; count + 1]);
    let rule = json!({ "action": "allow", "include": [{ "everyone": true }] });
    refused_at(
        "/portals/main/access",
        many(rule, RULES_PER_PORTAL_MAX),
        "101 items are too many",
    );
    let selector = json!({ "everyone": true });
    refused_at(
        "/portals/main/access/0/include",
        many(selector, SELECTORS_PER_LIST_MAX),
        "201 items are too many",
    );
    refused_at(
        "/servers/jira/tools/allow",
        many(json!("a"), PATTERNS_PER_LIST_MAX),
        "501 items are too many",
    );
    refused_at(
        "/groups/finance",
        many(json!("a@a.example"), MEMBERS_PER_GROUP_MAX),
        "5001 members are too many",
    );
    let hosts: Vec<String> = (0..=HOSTNAMES_PER_PORTAL_MAX)
        .map(|index| format!("h{index}.example"))
        .collect();
    refused_at(
        "/portals/main/hostnames",
        json!(hosts),
        "21 items are too many",
    );
}
