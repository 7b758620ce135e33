//! Rules about issuers and groups.

use serde_json::json;

use super::*;

#[test]
fn validate_rejects_bad_issuers() {
    let at = "/identity/issuers/demo";
    refused_at(
        at,
        json!({ "issuer": "https://a.example" }),
        "`jwks_url` is missing",
    );
    refused_at(
        at,
        json!({ "jwks_url": "https://a.example" }),
        "`issuer` is missing",
    );
    refused_at(&format!("{at}/issuer"), json!("demo"), "not a URL");
    refused_at(
        &format!("{at}/issuer"),
        json!("ftp://a.example"),
        "an https URL",
    );
    refused_at(
        &format!("{at}/jwks_url"),
        json!("https://192.168.0.1/jwks"),
        "a private address",
    );
    refused_at(&format!("{at}/algorithms"), json!([]), "names no algorithm");
    refused_at(
        &format!("{at}/algorithms/0"),
        json!("HS256"),
        "did you mean",
    );
    refused_at(
        &format!("{at}/algorithms/0"),
        json!("none"),
        "expected `RS256`, `ES256`",
    );
    refused_at(
        &format!("{at}/header"),
        json!("cookie"),
        "expected `authorization`, `cf_access`",
    );
    let twin = whole()["identity"]["issuers"]["demo"].clone();
    refused_at(
        "/identity/issuers/twin",
        twin,
        "the same `issuer` and `header`",
    );
}

#[test]
fn validate_rejects_http_issuers_outside_local_development() {
    let mut document = whole();
    document["servers"]["wiki"]["url"] = json!("https://wiki.example/");
    document["identity"]["issuers"]["demo"]["jwks_url"] = json!("https://a.example/jwks");
    refused(
        &document,
        &production(),
        "/identity/issuers/demo/issuer",
        "local development only",
    );
}

#[test]
fn validate_rejects_bad_groups() {
    refused_at(
        "/groups/finance",
        json!("alice@acme.example"),
        "expected a list",
    );
    refused_at("/groups/finance/0", json!("alice"), "not an e-mail address");
    refused_at("/groups/ ", json!([]), "a group's name");
}
