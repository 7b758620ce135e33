//! Rules about servers, their targets and their credentials.

use serde_json::{Value, json};

use super::*;

#[test]
fn validate_rejects_bad_prefixes() {
    for prefix in ["_a", "a b", "a.b", "é"] {
        refused_at("/servers/jira/prefix", json!(prefix), "a prefix is");
    }
    refused_at("/servers/jira/prefix", json!("a".repeat(41)), "a prefix is");
    refused_at(
        "/servers/jira/prefix",
        json!("portal"),
        "the portal's own tools",
    );
    refused_at(
        "/servers/jira/prefix",
        json!("portal_list"),
        "the portal's own tools",
    );
    refused_at(
        "/servers/portal",
        json!({ "url": "https://a.example/" }),
        "the portal's own tools",
    );
}

#[test]
fn validate_rejects_not_exactly_one_target() {
    refused_at("/servers/wiki", json!({}), "`url` or `binding` is missing");
    refused_at(
        "/servers/wiki/path",
        json!("/x"),
        "`path` belongs to `binding`",
    );
    let both = with("/servers/wiki/binding", json!("MCP_WIKI"));
    refused(&both, &local(), "/servers/wiki/binding", "not both");
    let openapi = with(
        "/servers/wiki",
        json!({ "openapi": "https://a.example/openapi.json" }),
    );
    refused(
        &openapi,
        &local(),
        "/servers/wiki/openapi",
        "not supported yet",
    );
}

#[test]
fn validate_rejects_bad_urls() {
    for (url, words) in [
        ("jira.example/mcp", "not a URL"),
        ("localhost:9101/mcp", "only https URLs"),
        ("ftp://jira.example", "only https URLs"),
        ("http://jira.example", "use https"),
        ("https://u:p@jira.example", "user name or password"),
        ("https://jira.example/#a", "#fragment"),
        ("https://jira.example\\@a.example/", "backslashes"),
        (" https://jira.example", "no spaces"),
        ("https://10.0.0.1/", "a private address"),
        ("https://0xA9FEA9FE/", "a cloud metadata address"),
        ("https://[::ffff:10.0.0.1]/", "inside an IPv6 address"),
        ("https://metadata.google.internal/", "private network"),
        ("https://jira.example./", "final dot"),
    ] {
        refused_at("/servers/wiki/url", json!(url), words);
    }
    refused_at(
        "/servers/wiki/url",
        json!(format!("https://a.example/{}", "a".repeat(2_000))),
        "at most 2000",
    );
}

#[test]
fn validate_rejects_loopback_outside_local_development() {
    let mut document = whole();
    document["identity"] = json!({});
    for url in [
        "http://127.0.0.1:9101/mcp",
        "https://localhost/mcp",
        "http://[::1]/",
    ] {
        document["servers"]["wiki"]["url"] = json!(url);
        check(&document, &local()).unwrap();
        refused(
            &document,
            &production(),
            "/servers/wiki/url",
            "local development only",
        );
    }
}

#[test]
fn validate_rejects_transports_that_do_not_exist_or_fit() {
    refused_at("/servers/wiki/transport", json!("sse"), "`http_sse`");
    refused_at(
        "/servers/jira/transport",
        json!("http_sse"),
        "a transport of the legacy era",
    );
    refused_at("/servers/wiki/transport", json!(1), "expected a string");
    for (word, transport) in [
        ("auto", Transport::Auto),
        ("streamable_http", Transport::StreamableHttp),
        ("http_sse", Transport::HttpSse),
    ] {
        let config = accepted("/servers/wiki/transport", json!(word));
        assert_eq!(config.servers["wiki"].transport, transport);
    }
}

#[test]
fn validate_rejects_bad_bindings() {
    for name in ["JIRA", "MCP_", "MCP_jira", "SELF", "MCP_A-B"] {
        let document = with("/servers/wiki", json!({ "binding": name }));
        refused(
            &document,
            &local(),
            "/servers/wiki/binding",
            "`MCP_` and then",
        );
    }
    for path in ["mcp", "//evil.example/mcp", "/a b", "/a\\b", "/a#b"] {
        let document = with("/servers/wiki", json!({ "binding": "MCP_A", "path": path }));
        refused(
            &document,
            &local(),
            "/servers/wiki/path",
            "a path begins with one",
        );
    }
    let config = accepted(
        "/servers/wiki",
        json!({ "binding": "MCP_A", "path": "/x/mcp?a=b" }),
    );
    let target = Target::Binding {
        name: "MCP_A".into(),
        path: "/x/mcp?a=b".into(),
    };
    assert_eq!(config.servers["wiki"].target, target);
}

#[test]
fn validate_rejects_other_secrets() {
    for name in ["SETUP_TOKEN", "sk-live-123", "UPSTREAM_", "upstream_y"] {
        let document = with(
            "/servers/jira/auth",
            json!({ "kind": "bearer", "secret": name }),
        );
        refused(
            &document,
            &local(),
            "/servers/jira/auth/secret",
            "never write the secret itself",
        );
    }
}

#[test]
fn validate_rejects_secrets_for_other_hosts() {
    let bearer = |target: Value, secret: &str| {
        let mut server = json!({ "auth": { "kind": "bearer", "secret": secret } });
        server
            .as_object_mut()
            .unwrap()
            .extend(target.as_object().unwrap().clone());
        with("/servers/jira", server)
    };
    let at = "/servers/jira/auth/secret";
    check(
        &bearer(json!({ "url": "https://JIRA.example:8443/" }), "UPSTREAM_Y"),
        &local(),
    )
    .unwrap();
    check(
        &bearer(json!({ "binding": "MCP_JIRA" }), "UPSTREAM_B"),
        &local(),
    )
    .unwrap();
    for host in [
        "evil.example",
        "a.jira.example",
        "jira.example.evil.example",
    ] {
        let document = bearer(json!({ "url": format!("https://{host}/") }), "UPSTREAM_Y");
        refused(
            &document,
            &local(),
            at,
            &format!("add `{host}` to UPSTREAM_Y in the worker variable SECRET_HOSTS"),
        );
    }
    refused(
        &bearer(json!({ "url": "https://jira.example/" }), "UPSTREAM_Z"),
        &local(),
        at,
        "may not be sent",
    );
    refused(
        &bearer(json!({ "binding": "MCP_JIRA" }), "UPSTREAM_Y"),
        &local(),
        at,
        "`binding:MCP_JIRA`",
    );
    refused(
        &bearer(json!({ "binding": "MCP_OTHER" }), "UPSTREAM_B"),
        &local(),
        at,
        "`binding:MCP_OTHER`",
    );
    // The host of a headers credential is judged as well.
    refused_at(
        "/servers/jira/auth/headers/X-Api-Key",
        json!("UPSTREAM_B"),
        "may not be sent to `jira.example`",
    );
}

#[test]
fn validate_rejects_bad_headers() {
    for (header, words) in [
        ("Authorization", "kind = \"bearer\""),
        ("Cookie", "cookies"),
        ("HOST", "connection"),
        ("Transfer-Encoding", "connection"),
        ("Proxy-Authorization", "connection"),
        ("Mcp-Session-Id", "protocol"),
        ("Content-Type", "the portal sets it"),
        ("X Key", "not a header name"),
        ("", "not a header name"),
        ("X-Kéy", "not a header name"),
    ] {
        let document = with(
            "/servers/jira/auth/headers",
            json!({ header: "UPSTREAM_Y" }),
        );
        let pointer = format!("/servers/jira/auth/headers/{header}");
        refused(&document, &local(), &pointer, words);
    }
    refused_at("/servers/jira/auth/headers", json!({}), "names no header");
    let twice = with(
        "/servers/jira/auth/headers",
        json!({ "X-A": "UPSTREAM_Y", "x-a": "UPSTREAM_Y" }),
    );
    refused(
        &twice,
        &local(),
        "/servers/jira/auth/headers/x-a",
        "given twice",
    );
}

#[test]
fn validate_rejects_timeouts_out_of_range() {
    for value in [
        json!(99),
        json!(600_001),
        json!(-1),
        json!(1.5),
        json!("100"),
        json!(u64::MAX),
    ] {
        refused_at(
            "/servers/jira/timeout_ms",
            value,
            "milliseconds from 100 to 600000",
        );
    }
    assert_eq!(
        accepted("/servers/jira/timeout_ms", json!(600_000)).servers["jira"].timeout_ms,
        600_000
    );
}

#[test]
fn validate_rejects_bad_aliases() {
    let at = "/servers/jira/alias/create_issue/name";
    for name in ["", "_a", "a__b", "a b", "a.b"] {
        refused_at(at, json!(name), "an alias is 1 to 40");
    }
    refused_at(at, json!("a".repeat(41)), "an alias is 1 to 40");
    refused_at(
        "/servers/jira/alias/create_issue",
        json!({}),
        "a `name`, a `description` or both",
    );
}

#[test]
fn validate_rejects_aliases_that_collide() {
    let at = "/servers/jira/alias";
    let document = with(at, json!({ "a": { "name": "x" }, "b": { "name": "x" } }));
    refused(
        &document,
        &local(),
        "/servers/jira/alias/b",
        "`a` and `b` would both be called `x`",
    );
    // A tool that keeps its name occupies it.
    let document = with(
        at,
        json!({ "a": { "name": "b" }, "b": { "description": "B" } }),
    );
    refused(
        &document,
        &local(),
        "/servers/jira/alias/b",
        "`a` and `b` would both be called `b`",
    );
}

#[test]
fn validate_rejects_bad_patterns() {
    refused_at(
        "/servers/jira/tools/allow/0",
        json!(""),
        "must not be empty",
    );
    refused_at(
        "/servers/jira/tools/deny/0",
        json!("a".repeat(129)),
        "at most 128",
    );
    refused_at("/servers/jira/tools/deny/0", json!(7), "expected a string");
}
