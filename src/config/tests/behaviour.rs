//! What a valid document gives.

use serde_json::json;

use super::*;

#[test]
fn reads_everything() {
    let config = check(&whole(), &local()).unwrap();
    let portal = config.portal("main").unwrap();
    assert_eq!(
        (portal.name.as_str(), portal.code_mode, portal.portal_tools),
        ("Acme", CodeMode::OptIn, false)
    );
    assert_eq!(
        (portal.hostnames.as_slice(), portal.audience.as_slice()),
        (&["localhost".to_owned()][..], &["tag".to_owned()][..])
    );
    let ids: Vec<_> = portal
        .servers
        .iter()
        .map(|entry| entry.server.id.as_str())
        .collect();
    assert_eq!(ids, ["wiki", "jira"], "listing order is the document's");
    let [rule] = portal.access.as_slice() else {
        panic!()
    };
    assert_eq!(rule.action, AccessAction::Allow);
    assert_eq!(
        rule.include,
        [
            Selector::Email("alice@acme.example".into()),
            Selector::EmailDomain("acme.example".into()),
            Selector::Group("finance".into()),
            Selector::Everyone,
            Selector::Claim {
                path: vec!["device".into(), "managed".into()],
                value: true.into()
            },
            Selector::Claim {
                path: vec!["https://acme.example/role".into()],
                value: "admin".into()
            },
        ]
    );
    assert_eq!((rule.require.len(), rule.exclude.len()), (0, 1));

    let jira = &config.servers["jira"];
    assert_eq!(
        (jira.name.as_str(), jira.prefix.as_str(), jira.era),
        ("Issue tracker", "jira", EraChoice::Modern)
    );
    assert_eq!(jira.transport, Transport::StreamableHttp);
    assert_eq!((jira.timeout_ms, jira.enabled), (100, false));
    assert_eq!(
        jira.target,
        Target::Url("https://jira.example/mcp".parse().unwrap())
    );
    assert_eq!(
        jira.auth,
        Auth::Headers(vec![("x-api-key".into(), "UPSTREAM_Y".into())])
    );
    assert_eq!(jira.tools.default, ToolDefault::Allow);
    assert_eq!(jira.tools.deny, [Pattern::new("delete_*")]);
    assert_eq!(
        jira.aliases["create_issue"].description.as_deref(),
        Some("Two\nlines")
    );
    let here = &portal.server("jira").unwrap().tools;
    assert_eq!(
        (here.default, here.allow.len(), here.deny.len()),
        (ToolDefault::Deny, 1, 0),
        "replaced, not merged"
    );

    let [issuer] = config.issuers.as_slice() else {
        panic!()
    };
    assert_eq!(
        (issuer.id.as_str(), issuer.issuer.as_str()),
        ("demo", "http://localhost:9100")
    );
    assert_eq!(
        (issuer.algorithms.as_slice(), issuer.source),
        (&[Algorithm::Es256][..], TokenSource::CfAccess)
    );
    assert_eq!(issuer.groups_claim, "roles");
    assert_eq!(config.groups["finance"], ["alice@acme.example"]);
}

#[test]
fn fills_in_what_is_left_out() {
    let document = json!({
        "portals": { "main": { "servers": ["wiki"] } },
        "servers": { "wiki": { "binding": "MCP_WIKI" } },
        "identity": { "issuers": { "a": { "issuer": "https://a.example", "jwks_url": "https://a.example/k" } } },
    });
    let config = check(&document, &production()).unwrap();
    let portal = config.portal("main").unwrap();
    assert_eq!(
        (portal.name.as_str(), portal.code_mode, portal.portal_tools),
        ("main", CodeMode::Off, true)
    );
    assert!(portal.access.is_empty(), "which admits nobody");
    let wiki = &config.servers["wiki"];
    assert_eq!(
        (wiki.name.as_str(), wiki.prefix.as_str(), wiki.era),
        ("wiki", "wiki", EraChoice::Auto)
    );
    assert_eq!(wiki.transport, Transport::Auto);
    assert_eq!(
        (wiki.timeout_ms, wiki.enabled, &wiki.auth),
        (60_000, true, &Auth::None)
    );
    assert_eq!(
        wiki.target,
        Target::Binding {
            name: "MCP_WIKI".into(),
            path: "/mcp".into()
        }
    );
    assert_eq!(
        wiki.tools,
        ToolRules {
            default: ToolDefault::ReadOnly,
            allow: vec![],
            deny: vec![]
        }
    );
    let issuer = &config.issuers[0];
    assert_eq!(issuer.algorithms, [Algorithm::Rs256, Algorithm::Es256]);
    assert_eq!(
        (issuer.groups_claim.as_str(), issuer.source),
        ("groups", TokenSource::Authorization)
    );
    assert!(check(&json!({}), &production()).unwrap().portals.is_empty());
}

#[test]
fn finds_portals_by_host_and_id() {
    let config = check(&whole(), &local()).unwrap();
    for host in ["localhost", "LocalHost", "localhost:8787", "localhost."] {
        assert_eq!(config.portal_by_host(host).unwrap().id, "main", "{host}");
    }
    assert!(config.portal_by_host("other").is_none());
    assert!(config.portal_by_host("").is_none());
    assert!(config.portal("other").is_none());
}

#[test]
fn renames_there_and_back() {
    let alias = json!({ "a": { "name": "b" }, "b": { "name": "a" }, "c": { "name": "d" }, "e": { "description": "E" } });
    let config = accepted("/servers/jira/alias", alias);
    let jira = &config.servers["jira"];
    for (upstream, exposed, rest) in [
        ("a", "jira_b", "b"),
        ("b", "jira_a", "a"),
        ("c", "jira_d", "d"),
        ("e", "jira_e", "e"),
        ("f", "jira_f", "f"),
    ] {
        assert_eq!(jira.exposed_name(upstream), exposed);
        assert_eq!(jira.upstream_name(rest), Some(upstream));
    }
    assert_eq!(jira.upstream_name("c"), None, "hidden behind its alias");

    let mut bare = Server::clone(jira);
    bare.prefix = String::new();
    assert_eq!(
        (bare.exposed_name("c"), bare.exposed_name("f")),
        ("d".into(), "f".into())
    );
}

#[test]
fn reads_a_name_with_the_longest_prefix_first() {
    let server = |prefix: &str| json!({ "url": "https://a.example/", "prefix": prefix });
    let document = json!({
        "portals": {
            "main": { "servers": ["one", "two", "three"] },
            "bare": { "servers": ["bare"] },
        },
        "servers": { "one": server("git"), "two": server("git_lab"), "three": server("gitl"), "bare": server("") },
    });
    let config = check(&document, &production()).unwrap();
    let readings = |portal: &str, name: &str| -> Vec<(String, String)> {
        let portal = config.portal(portal).unwrap();
        portal
            .by_prefix(name)
            .map(|(entry, rest)| (entry.server.id.clone(), rest.to_owned()))
            .collect()
    };
    let pair = |id: &str, rest: &str| (id.to_owned(), rest.to_owned());
    assert_eq!(
        readings("main", "git_lab_get"),
        [pair("two", "get"), pair("one", "lab_get")]
    );
    assert_eq!(readings("main", "git_get"), [pair("one", "get")]);
    assert_eq!(readings("main", "git_lab"), [pair("one", "lab")]);
    for nothing in ["git", "git_", "gitlab", "", "other_get"] {
        assert_eq!(readings("main", nothing), [], "{nothing}");
    }
    assert_eq!(readings("bare", "git_get"), [pair("bare", "git_get")]);
    assert_eq!(readings("bare", ""), []);
}

#[test]
fn the_environment_comes_from_worker_variables() {
    let environment = Environment::from_variables(None, None).unwrap();
    assert!(!environment.local_development && environment.secret_hosts.is_empty());
    assert!(
        !Environment::from_variables(Some("0"), Some(""))
            .unwrap()
            .local_development
    );
    assert!(
        !Environment::from_variables(Some("true"), None)
            .unwrap()
            .local_development
    );
    let error = Environment::from_variables(None, Some("UPSTREAM_Y=a")).unwrap_err();
    assert!(error.contains("SECRET_HOSTS"), "{error}");
}
