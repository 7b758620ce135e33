//! The pages as a browser gets them: nothing of a portal but its name, and nothing of anybody else as markup.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::config::{CodeMode, Inspect};

fn portal(name: &str) -> Portal {
    Portal {
        id: "main".to_owned(),
        name: name.to_owned(),
        hostnames: Vec::new(),
        servers: Vec::new(),
        audience: Vec::new(),
        access: Vec::new(),
        code_mode: CodeMode::Off,
        inspect: Inspect::Off,
        portal_tools: true,
    }
}

#[test]
fn the_policy_names_the_hashes_of_what_is_in_the_page() {
    let hash = |content: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(content)));
    let style = hash(include_str!("page.css"));
    let script = hash(include_str!("page.js"));
    for directive in [
        format!("style-src {style};"),
        format!("script-src {script};"),
    ] {
        assert!(
            CONTENT_SECURITY_POLICY.contains(&directive),
            "CONTENT_SECURITY_POLICY must say: {directive}"
        );
    }
    assert!(!CONTENT_SECURITY_POLICY.contains("unsafe"));
}

#[test]
fn a_page_has_one_script_and_loads_nothing() {
    let page = portal_page(&portal("Acme"), "https://portal.acme.example/mcp");
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("<style").count(), 1);
    for elsewhere in ["src=", "url(", "@import", " style=", " onclick="] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
}

#[test]
fn every_place_is_filled() {
    let page = portal_page(&portal("Acme"), "http://localhost:8787/mcp");
    for page in [page, not_set_up(), not_found()] {
        assert!(!page.contains("{{") && page.ends_with("</html>\n"));
    }
}

#[test]
fn hostile_names_stay_text() {
    for name in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "'-alert(1)-'",
        "</title><svg/onload=alert(1)>",
        "</code></pre><h1>",
        "{{script}}",
        "&lt;b&gt;",
    ] {
        let page = portal_page(&portal(name), "http://localhost:8787/mcp");
        let clean = portal_page(&portal("x"), "http://localhost:8787/mcp");
        let escaped = Html::text(name).into_string();
        assert!(
            page.contains(&format!("<h1 dir=\"auto\">{escaped}</h1>")),
            "{name}"
        );
        for markup in ["<", ">"] {
            let (in_page, in_clean) = (page.matches(markup).count(), clean.matches(markup).count());
            assert_eq!(in_page, in_clean, "{markup} of {name}");
        }
    }
}

#[test]
fn hostile_endpoints_stay_text() {
    let endpoint = "http://x\"><script>alert('1')</script>/mcp";
    let page = portal_page(&portal("Acme"), endpoint);
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains(&format!(
        "<code id=\"endpoint\">{}</code>",
        Html::text(endpoint).into_string()
    )));
}

#[test]
fn a_page_tells_nothing_but_name_and_endpoint() {
    let json = br#"{
        "portals": { "main": { "name": "Acme", "hostnames": ["portal.acme.example", "other.acme.example"],
            "servers": ["payroll"], "access": [{ "action": "allow", "include": [{ "group": "directors" }] }] } },
        "servers": { "payroll": { "name": "Salaries", "url": "https://upstream.acme.example/mcp", "prefix": "pay",
            "auth": { "kind": "none" }, "tools": { "deny": ["give_raise"] } } },
        "groups": { "directors": ["eve@acme.example"] }
    }"#;
    let config = crate::config::parse(json, &crate::config::Environment::default()).unwrap();
    let page = portal_page(
        config.portal("main").unwrap(),
        "https://portal.acme.example/mcp",
    );
    assert!(page.contains("Acme"));
    for secret in [
        "payroll",
        "Salaries",
        "upstream.acme",
        "give_raise",
        "directors",
        "eve@",
        "other.acme",
    ] {
        assert!(!page.contains(secret), "{secret}");
    }
}

#[test]
fn only_a_portal_on_this_machine_speaks_of_the_demo() {
    let local = portal_page(&portal("Acme"), "http://localhost:8787/mcp");
    let deployed = portal_page(&portal("Acme"), "https://portal.acme.example/mcp");
    assert!(local.contains("--user alice@acme.example"));
    assert!(!deployed.contains("npm run"));
}
