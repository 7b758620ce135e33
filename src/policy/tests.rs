//! The precedence line by line, and the selectors.

use serde_json::{Map, Value, json};

use super::*;
use crate::config::{Config, Environment, parse};
use crate::identity::claims::{Expected, validate};
use crate::identity::{PrincipalKind, fakes};

mod properties;

fn config(access: &Value, tools: &Value) -> Config {
    let document = json!({
        "portals": { "main": { "servers": ["jira"], "access": access } },
        "servers": { "jira": { "url": "http://127.0.0.1:9101/mcp", "tools": tools } },
        "groups": { "finance": ["alice@acme.example"] },
    });
    let environment = Environment::from_variables(Some("1"), None).unwrap();
    parse(document.to_string().as_bytes(), &environment)
        .unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn portal_with(rules: Vec<AccessRule>) -> Portal {
    let mut portal = (*config(&json!([]), &json!({})).portals[0]).clone();
    portal.access = rules;
    portal
}

fn person(email: Option<&str>) -> Principal {
    Principal {
        kind: PrincipalKind::Person,
        subject: "idp|x".into(),
        email: email.map(str::to_owned),
        issuer_id: "idp".into(),
        ..Principal::anonymous()
    }
}

fn alice() -> Principal {
    person(Some("alice@acme.example"))
}

/// The rule that let them in, or the one that did not.
fn judge(principal: &Principal, access: &Value) -> Result<String, String> {
    let config = config(access, &json!({}));
    let judged = admit(principal, &config.portals[0], &config.groups);
    judged
        .map(|admission| admission.rule)
        .map_err(|denial| denial.rule)
}

fn rule(action: &str, include: &Value) -> Value {
    json!({ "action": action, "include": [include] })
}

fn everyone() -> Value {
    json!({ "everyone": true })
}

fn named(index: usize) -> String {
    format!("portals.main.access[{index}]")
}

const DEFAULT: &str = "portals.main.access.default";

#[test]
fn nobody_gets_in_without_a_rule() {
    assert_eq!(judge(&alice(), &json!([])), Err(DEFAULT.into()));
    let others = rule("allow", &json!({ "email": "bob@acme.example" }));
    assert_eq!(judge(&alice(), &json!([others])), Err(DEFAULT.into()));
}

#[test]
fn a_bypass_comes_before_every_other_rule() {
    let access = json!([
        rule("block", &everyone()),
        rule("allow", &everyone()),
        rule("bypass", &everyone())
    ]);
    assert_eq!(judge(&alice(), &access), Ok(named(2)));
    assert_eq!(judge(&Principal::anonymous(), &access), Ok(named(2)));
}

#[test]
fn allow_and_block_go_in_order_and_the_first_match_wins() {
    let (allow, block) = (rule("allow", &everyone()), rule("block", &everyone()));
    assert_eq!(judge(&alice(), &json!([allow, block])), Ok(named(0)));
    assert_eq!(judge(&alice(), &json!([block, allow])), Err(named(0)));
    let other = rule("block", &json!({ "email": "bob@acme.example" }));
    assert_eq!(judge(&alice(), &json!([other, allow, block])), Ok(named(1)));
    assert_eq!(
        judge(&person(Some("bob@acme.example")), &json!([other, allow])),
        Err(named(0))
    );
}

#[test]
fn nobody_known_gets_in_by_bypass_alone() {
    let nobody = Principal::anonymous();
    assert_eq!(
        judge(&nobody, &json!([rule("allow", &everyone())])),
        Err(DEFAULT.into())
    );
    assert_eq!(
        judge(&nobody, &json!([rule("bypass", &everyone())])),
        Ok(named(0))
    );
    // Whatever somebody put into an anonymous principal: nobody vouched for it.
    let dressed = Principal {
        kind: PrincipalKind::Anonymous,
        groups: vec!["finance".into()],
        ..alice()
    };
    let access = json!([
        rule("allow", &json!({ "group": "finance" })),
        rule("allow", &everyone())
    ]);
    assert_eq!(judge(&dressed, &access), Err(DEFAULT.into()));
}

#[test]
fn include_is_any_require_is_all_exclude_is_none() {
    let (domain, finance) = (
        json!({ "email_domain": "acme.example" }),
        json!({ "group": "finance" }),
    );
    let (alice_by_name, bob) = (
        json!({ "email": "alice@acme.example" }),
        json!({ "email": "bob@acme.example" }),
    );
    for (include, require, exclude, applies) in [
        (json!([bob, domain]), json!([]), json!([]), true),
        (json!([bob]), json!([]), json!([]), false),
        (
            json!([domain]),
            json!([finance, alice_by_name]),
            json!([]),
            true,
        ),
        (json!([domain]), json!([finance, bob]), json!([]), false),
        (json!([domain]), json!([bob]), json!([]), false),
        (json!([domain]), json!([]), json!([bob]), true),
        (json!([domain]), json!([]), json!([bob, finance]), false),
        (
            json!([domain]),
            json!([finance]),
            json!([everyone()]),
            false,
        ),
    ] {
        let rule = |action: &str| json!([{ "action": action, "include": include, "require": require, "exclude": exclude }]);
        let what = rule("allow").to_string();
        assert_eq!(judge(&alice(), &rule("allow")).is_ok(), applies, "{what}");
        assert_eq!(judge(&alice(), &rule("bypass")).is_ok(), applies, "{what}");
        let denied = if applies {
            named(0)
        } else {
            DEFAULT.to_owned()
        };
        assert_eq!(judge(&alice(), &rule("block")), Err(denied), "{what}");
    }
}

#[test]
fn a_rule_that_includes_nobody_matches_nobody() {
    for action in [AccessAction::Allow, AccessAction::Bypass] {
        let rule = AccessRule {
            action,
            include: Vec::new(),
            require: Vec::new(),
            exclude: Vec::new(),
        };
        assert!(
            admit(&alice(), &portal_with(vec![rule]), &HashMap::new()).is_err(),
            "{action:?}"
        );
    }
}

#[test]
fn an_email_is_one_person() {
    let access = json!([rule("allow", &json!({ "email": "Alice@Acme.example" }))]);
    assert!(judge(&alice(), &access).is_ok());
    for other in [
        "alice@acme.example.evil",
        "malice@acme.example",
        "alice@evil.example",
        "alice@acme.example@evil.example",
        "",
    ] {
        assert!(judge(&person(Some(other)), &access).is_err(), "{other}");
    }
    assert!(judge(&person(None), &access).is_err());
}

#[test]
fn a_domain_is_what_follows_the_last_at_sign_and_no_more() {
    let access = json!([rule("allow", &json!({ "email_domain": "acme.example" }))]);
    for (email, is_in) in [
        ("alice@acme.example", true),
        ("alice@ACME.Example", true),
        ("a@b@acme.example", true),
        ("alice@evil-acme.example", false),
        ("alice@sub.acme.example", false),
        ("alice@acme.example.evil.example", false),
        ("alice@acme.example@evil.example", false),
        ("alice@xacme.example", false),
        ("alice@acme.example.", false),
        ("alice@ acme.example", false),
        ("alice@acme.example\n", false),
        ("acme.example", false),
        ("@acme.example.", false),
        ("", false),
    ] {
        assert_eq!(
            judge(&person(Some(email)), &access).is_ok(),
            is_in,
            "{email}"
        );
    }
    assert!(judge(&person(None), &access).is_err());
}

/// An address with two readings never becomes a principal's, so the domain rule never sees one.
#[test]
fn an_address_with_two_readings_is_nobodys() {
    assert_eq!(signed_in("a@b@acme.example").email, None);
    let access = json!([rule("allow", &json!({ "email_domain": "acme.example" }))]);
    assert!(judge(&signed_in("a@b@acme.example"), &access).is_err());
}

/// A principal as the identity part makes it of a token with this address.
fn signed_in(email: &str) -> Principal {
    let payload = json!({ "iss": fakes::ISSUER, "sub": "x", "exp": 2_000_000_000, "email": email });
    let token = fakes::sign(
        &json!({ "alg": "ES256", "kid": "e1" }),
        &payload.to_string(),
    );
    let issuer = fakes::issuer();
    let expected = Expected {
        issuer: &issuer,
        now_ms: 1_700_000_000_000,
    };
    fakes::with_verified(&token, |verified| validate(verified, &expected)).unwrap()
}

/// An address means the same in a rule and in a token, in whatever letters it is written: a block would else let its
/// person pass, and an allowance another one.
#[test]
fn rules_and_tokens_spell_addresses_alike() {
    for email in [
        "Alice@Acme.Example",
        "\u{c4}rger@acme.example",
        "\u{212a}im@acme.example",
        "stra\u{df}e@acme.example",
    ] {
        let access = json!([
            rule("block", &json!({ "email": email })),
            rule("allow", &everyone())
        ]);
        assert_eq!(
            judge(&signed_in(email), &access),
            Err(named(0)),
            "{email} is blocked"
        );
    }
    // The Kelvin sign is not a k.
    let access = json!([rule(
        "allow",
        &json!({ "email": "\u{212a}im@acme.example" })
    )]);
    assert!(judge(&signed_in("kim@acme.example"), &access).is_err());
}

#[test]
fn a_group_is_the_documents_or_the_tokens() {
    let finance = json!([rule("allow", &json!({ "group": "finance" }))]);
    assert!(judge(&alice(), &finance).is_ok(), "the document's");
    assert!(judge(&person(Some("bob@acme.example")), &finance).is_err());
    assert!(judge(&person(None), &finance).is_err());
    let with_groups = |groups: &[&str]| Principal {
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..person(None)
    };
    assert!(
        judge(&with_groups(&["x", "finance"]), &finance).is_ok(),
        "the token's"
    );
    for groups in [&["Finance"][..], &["finance "], &["finance2"], &[]] {
        assert!(judge(&with_groups(groups), &finance).is_err(), "{groups:?}");
    }
}

#[test]
fn a_claim_is_exactly_its_value_at_its_path() {
    let claims: Map<String, Value> = serde_json::from_value(json!({
        "level": 3, "device": { "managed": true, "os": "mac" }, "https://acme.example/role": "admin",
        "device.managed": "flat", "list": ["admin"], "nothing": null, "text": "true",
    }))
    .unwrap();
    let somebody = Principal {
        claims,
        ..person(None)
    };
    for (name, value, holds) in [
        (json!("level"), json!(3), true),
        (json!("level"), json!(3.0), false),
        (json!("level"), json!("3"), false),
        (json!("device.managed"), json!(true), true),
        (json!("device.managed"), json!("flat"), false),
        (json!(["device.managed"]), json!("flat"), true),
        (json!("device.managed"), json!("true"), false),
        (json!("device.os.version"), json!("mac"), false),
        (json!("device"), json!("mac"), false),
        (json!(["https://acme.example/role"]), json!("admin"), true),
        (json!("list"), json!("admin"), false),
        (json!("list.0"), json!("admin"), false),
        (json!("nothing"), json!(false), false),
        (json!("text"), json!(true), false),
        (json!("missing"), json!(false), false),
    ] {
        let access = json!([rule(
            "allow",
            &json!({ "claim": { "name": name, "value": value } })
        )]);
        assert_eq!(judge(&somebody, &access).is_ok(), holds, "{name} {value}");
    }
}

fn admitted(config: &Config) -> Admission {
    admit(&alice(), &config.portals[0], &config.groups).unwrap()
}

/// The rule and whether it is a write, or the rule that denies.
fn decided(tools: &Value, name: &str, read_only: bool) -> Result<(String, bool), String> {
    let config = config(&json!([rule("allow", &everyone())]), tools);
    let portal = &config.portals[0];
    let ask = Ask::Tool { name, read_only };
    let decided = decide(&admitted(&config), portal, &portal.servers[0], ask);
    decided
        .map(|permit| {
            assert_eq!(permit.server(), "jira");
            (permit.rule().to_owned(), permit.is_write())
        })
        .map_err(|denial| denial.rule)
}

fn tool_rule(what: &str) -> String {
    format!("portals.main/servers.jira.tools.{what}")
}

#[test]
fn a_deny_beats_an_allow_beats_the_default() {
    let tools = json!({ "default": "allow", "allow": ["get_*"], "deny": ["x", "get_secret*"] });
    assert_eq!(
        decided(&tools, "get_secrets", true),
        Err(tool_rule("deny[1]"))
    );
    assert_eq!(
        decided(&tools, "get_a", true),
        Ok((tool_rule("allow[0]"), false))
    );
    assert_eq!(
        decided(&tools, "other", false),
        Ok((tool_rule("default"), true))
    );
    let tools = json!({ "default": "deny", "allow": ["a", "get_*"] });
    assert_eq!(
        decided(&tools, "get_a", false),
        Ok((tool_rule("allow[1]"), true))
    );
    assert_eq!(decided(&tools, "other", true), Err(tool_rule("default")));
}

#[test]
fn read_only_is_the_servers_annotation_and_nothing_else() {
    for tools in [json!({}), json!({ "default": "read_only" })] {
        assert_eq!(
            decided(&tools, "delete_everything", true),
            Ok((tool_rule("default"), false))
        );
        assert_eq!(
            decided(&tools, "get_nothing", false),
            Err(tool_rule("default"))
        );
    }
    // A permit for what is not annotated is one for a write, whatever rule gave it.
    for tools in [json!({ "default": "allow" }), json!({ "allow": ["*"] })] {
        assert!(decided(&tools, "get", false).unwrap().1);
        assert!(!decided(&tools, "set", true).unwrap().1);
    }
}

/// Looking at a task is decided as the call that made it, and changes nothing.
#[test]
fn a_task_is_decided_as_its_tool() {
    for tools in [
        json!({}),
        json!({ "default": "allow" }),
        json!({ "default": "deny" }),
        json!({ "default": "deny", "allow": ["set_*"] }),
        json!({ "default": "allow", "deny": ["set_*"] }),
    ] {
        let config = config(&json!([rule("allow", &everyone())]), &tools);
        let portal = &config.portals[0];
        let decided = |ask| decide(&admitted(&config), portal, &portal.servers[0], ask);
        for (name, read_only) in [("set_it", false), ("set_it", true), ("get", true)] {
            let called = decided(Ask::Tool { name, read_only });
            let polled = decided(Ask::Poll { name, read_only });
            match (called, polled) {
                (Ok(called), Ok(polled)) => {
                    assert_eq!(called.rule(), polled.rule());
                    assert_eq!(called.is_write(), !read_only);
                    assert!(!polled.is_write());
                }
                (called, polled) => assert_eq!(called, polled, "{tools} {name}"),
            }
        }
    }
}

#[test]
fn reading_needs_the_admission_alone() {
    let config = config(
        &json!([rule("allow", &everyone())]),
        &json!({ "default": "deny", "deny": ["*"] }),
    );
    let portal = &config.portals[0];
    let permit = decide(&admitted(&config), portal, &portal.servers[0], Ask::Read).unwrap();
    assert_eq!(
        (permit.server(), permit.rule(), permit.is_write()),
        ("jira", "portals.main/servers.jira", false)
    );
}

#[test]
fn the_portals_own_question_is_a_reading_one() {
    let permit = permit_sync("jira");
    assert_eq!(
        (permit.server(), permit.rule(), permit.is_write()),
        ("jira", "sync", false)
    );
}
