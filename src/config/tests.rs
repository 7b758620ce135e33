//! One valid document that uses everything, and the tests that change one place of it: `validate_rejects_<rule>` per rule.

use serde_json::{Value, json};

use super::*;

mod arbitrary;
mod behaviour;
mod identity;
mod notations;
mod portals;
mod servers;
mod shapes;

fn local() -> Environment {
    let hosts = r#"{"UPSTREAM_Y":["jira.example"],"UPSTREAM_B":["binding:MCP_JIRA"]}"#;
    Environment::from_variables(Some("1"), Some(hosts)).unwrap()
}

fn production() -> Environment {
    Environment {
        local_development: false,
        ..local()
    }
}

fn whole() -> Value {
    json!({
        "portals": { "main": {
            "name": "Acme", "hostnames": ["localhost"], "servers": ["wiki", "jira"], "code_mode": "opt_in",
            "audience": ["tag"], "portal_tools": false,
            "access": [{ "action": "allow", "include": [
                { "email": "Alice@Acme.example" }, { "email_domain": "Acme.example" }, { "group": "finance" },
                { "everyone": true }, { "claim": { "name": "device.managed", "value": true } },
                { "claim": { "name": ["https://acme.example/role"], "value": "admin" } },
            ], "require": [], "exclude": [{ "email": "bob@acme.example" }] }],
            "tools": { "jira": { "default": "deny", "allow": ["get_*"] } },
        } },
        "servers": {
            "jira": {
                "name": "Issue tracker", "url": "https://jira.example/mcp", "prefix": "jira", "era": "modern",
                "transport": "streamable_http",
                "auth": { "kind": "headers", "headers": { "X-Api-Key": "UPSTREAM_Y" } },
                "tools": { "default": "allow", "allow": ["create_*"], "deny": ["delete_*"], "approve": [] },
                "timeout_ms": 100, "enabled": false,
                "alias": { "create_issue": { "name": "new_issue", "description": "Two\nlines" } },
            },
            "wiki": { "url": "http://127.0.0.1:9101/mcp" },
        },
        "identity": { "issuers": { "demo": {
            "issuer": "http://localhost:9100", "jwks_url": "http://localhost:9100/jwks",
            "algorithms": ["ES256"], "groups_claim": "roles", "header": "cf_access",
        } } },
        "groups": { "finance": ["Alice@acme.example"] },
    })
}

/// The whole document with one place replaced (or, when new, added).
fn with(pointer: &str, value: Value) -> Value {
    let mut document = whole();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(table) => drop(table.insert(key.to_owned(), value)),
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        other => panic!("{other}"),
    }
    document
}

fn check(document: &Value, environment: &Environment) -> Result<Config, Vec<ConfigError>> {
    parse(document.to_string().as_bytes(), environment)
}

/// Exactly one error, at this place and with these words.
#[track_caller]
fn refused(document: &Value, environment: &Environment, pointer: &str, words: &str) {
    let errors = check(document, environment).expect_err("accepted");
    let [error] = errors.as_slice() else {
        panic!("{errors:#?}")
    };
    assert_eq!(error.pointer, pointer, "{error}");
    assert!(error.message.contains(words), "{error}");
}

/// Replacing this one place is refused there.
#[track_caller]
fn refused_at(pointer: &str, value: Value, words: &str) {
    refused(&with(pointer, value), &local(), pointer, words);
}

#[track_caller]
fn accepted(pointer: &str, value: Value) -> Config {
    check(&with(pointer, value), &local()).unwrap_or_else(|errors| panic!("{errors:#?}"))
}
