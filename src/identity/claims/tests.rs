use super::*;
use crate::identity::fakes;
use proptest::prelude::*;
use serde_json::json;
use std::borrow::Borrow;

const NOW_S: u64 = 1_700_000_000;
const NOW_MS: u64 = NOW_S * 1_000;

/// Claims of a good token with some replaced, or removed where null.
fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": fakes::ISSUER, "sub": "alice", "aud": "portal", "exp": NOW_S + 600,
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims
                .as_object_mut()
                .unwrap()
                .insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn judge_text(payload: &str, issuer: &Issuer, now_ms: u64) -> Result<Principal, TokenRefusal> {
    let token = fakes::sign(&json!({ "alg": "ES256", "kid": "e1" }), payload);
    fakes::with_verified(&token, |verified| {
        validate(verified, &Expected { issuer, now_ms })
    })
}

fn judge_at(changes: &Value, now_ms: u64) -> Result<Principal, TokenRefusal> {
    judge_text(&claims(changes).to_string(), &fakes::issuer(), now_ms)
}

fn judge(changes: impl Borrow<Value>) -> Result<Principal, TokenRefusal> {
    judge_at(changes.borrow(), NOW_MS)
}

#[test]
fn names_a_person() {
    let principal = judge(json!({
        "email": "Alice@ACME.example", "groups": ["a", 7, "", "b"], "azp": "agent-1", "level": 3,
    }))
    .unwrap();
    assert_eq!(principal.kind, PrincipalKind::Person);
    assert_eq!(principal.subject, "acme|alice");
    assert_eq!(principal.email.as_deref(), Some("alice@acme.example"));
    assert_eq!(principal.groups, ["a", "b"]);
    assert_eq!(principal.client_id.as_deref(), Some("agent-1"));
    assert_eq!(principal.issuer_id, "acme");
    assert_eq!(principal.expires_at_ms, (NOW_S + 600) * 1_000);
    assert_eq!(principal.claims["level"], json!(3));
    assert!(!principal.is_anonymous());
}

#[test]
fn names_a_service() {
    let access = judge(json!({ "sub": "", "common_name": "e367.access" })).unwrap();
    assert_eq!(access.kind, PrincipalKind::Service);
    assert_eq!(access.subject, "acme|service:e367.access");
    let client = judge(json!({ "sub": "bot", "client_id": "bot" })).unwrap();
    assert_eq!(client.kind, PrincipalKind::Service);
    assert_eq!(client.subject, "acme|service:bot");
}

#[test]
fn a_person_cannot_take_a_service_key() {
    let key = |sub: &str| judge(json!({ "sub": sub })).unwrap().subject;
    assert_eq!(key("service:bot"), "acme|person:service:bot");
    assert_eq!(key("person:service:bot"), "acme|person:person:service:bot");
    assert_eq!(key("serviceman"), "acme|serviceman");
}

#[test]
fn refuses_tokens_without_subject() {
    for changes in [
        json!({ "sub": null }),
        json!({ "sub": null, "common_name": "x" }),
        json!({ "sub": "" }),
        json!({ "sub": "", "common_name": "" }),
        json!({ "sub": "", "common_name": 7 }),
        json!({ "sub": 7 }),
        json!({ "sub": "a\nb" }),
    ] {
        assert_eq!(judge(&changes), Err(TokenRefusal::NoSubject), "{changes}");
    }
    let longest = "a".repeat(NAME_BYTES_MAX);
    assert!(judge(json!({ "sub": longest })).is_ok());
    assert_eq!(
        judge(json!({ "sub": format!("{longest}a") })),
        Err(TokenRefusal::TooLong)
    );
}

#[test]
fn expires_with_leeway_to_the_millisecond() {
    let exp = json!({ "exp": NOW_S });
    assert!(judge_at(&exp, NOW_MS + LEEWAY_MS - 1).is_ok());
    assert_eq!(
        judge_at(&exp, NOW_MS + LEEWAY_MS),
        Err(TokenRefusal::Expired)
    );
    let fractional = json!({ "exp": 1_700_000_000.5 });
    assert!(judge_at(&fractional, NOW_MS + 500 + LEEWAY_MS - 1).is_ok());
    assert_eq!(
        judge_at(&fractional, NOW_MS + 500 + LEEWAY_MS),
        Err(TokenRefusal::Expired)
    );
}

#[test]
fn starts_with_leeway_to_the_millisecond() {
    let nbf = json!({ "nbf": NOW_S });
    assert!(judge_at(&nbf, NOW_MS - LEEWAY_MS).is_ok());
    assert_eq!(
        judge_at(&nbf, NOW_MS - LEEWAY_MS - 1),
        Err(TokenRefusal::NotYetValid)
    );
    let iat = json!({ "iat": NOW_S });
    assert!(judge_at(&iat, NOW_MS - ISSUED_AHEAD_MS_MAX).is_ok());
    let early = NOW_MS - ISSUED_AHEAD_MS_MAX - 1;
    assert_eq!(judge_at(&iat, early), Err(TokenRefusal::NotYetValid));
}

#[test]
fn reads_odd_dates() {
    for exp in [json!(-5), json!(0), json!(-1.5), json!(0.9)] {
        assert_eq!(
            judge(json!({ "exp": exp })),
            Err(TokenRefusal::Expired),
            "{exp}"
        );
    }
    for exp in [json!("1800000000"), json!([1]), json!(true), json!({})] {
        assert_eq!(
            judge(json!({ "exp": exp })),
            Err(TokenRefusal::Malformed),
            "{exp}"
        );
    }
    assert_eq!(judge(json!({ "exp": null })), Err(TokenRefusal::Malformed));
    assert_eq!(
        judge(json!({ "nbf": "soon" })),
        Err(TokenRefusal::Malformed)
    );
    for exp in [json!(u64::MAX), json!(1e300)] {
        assert_eq!(
            judge(json!({ "exp": exp })).unwrap().expires_at_ms,
            u64::MAX
        );
    }
}

#[test]
fn refuses_ambiguous_or_foreign_claims() {
    let good = claims(&json!({})).to_string();
    let twice = good.replacen('{', r#"{"sub":"bob","#, 1);
    let issuer = fakes::issuer();
    assert!(judge_text(&good, &issuer, NOW_MS).is_ok());
    assert_eq!(
        judge_text(&twice, &issuer, NOW_MS),
        Err(TokenRefusal::Malformed)
    );
    let other = Issuer {
        issuer: "https://other.example".into(),
        ..issuer
    };
    assert_eq!(
        judge_text(&good, &other, NOW_MS),
        Err(TokenRefusal::UnknownIssuer)
    );
}

#[test]
fn doubts_an_email_the_issuer_doubts() {
    let email = |changes: Value| judge(changes).unwrap().email;
    let address = "a@acme.example";
    for verified in [json!(true), json!("true"), json!("True"), Value::Null] {
        let changes = json!({ "email": address, "email_verified": verified });
        assert_eq!(email(changes).as_deref(), Some(address));
    }
    for verified in [json!(false), json!("false"), json!(0), json!("maybe")] {
        assert_eq!(
            email(json!({ "email": address, "email_verified": verified })),
            None
        );
    }
    for odd in ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@b\n"] {
        assert_eq!(email(json!({ "email": odd })), None, "{odd}");
    }
    assert_eq!(
        email(json!({ "email": "\u{212a}@b" })).as_deref(),
        Some("\u{212a}@b")
    );
}

#[test]
fn finds_groups_by_name_and_by_path() {
    let found = |name: &str, changes: Value| {
        let issuer = Issuer {
            groups_claim: name.into(),
            ..fakes::issuer()
        };
        judge_text(&claims(&changes).to_string(), &issuer, NOW_MS).map(|them| them.groups)
    };
    let nested = json!({ "custom": { "groups": ["x", null, ["y"], "z"] } });
    assert_eq!(found("custom.groups", nested).unwrap(), ["x", "z"]);
    let namespaced = json!({ "https://acme.example/groups": ["x"] });
    assert_eq!(
        found("https://acme.example/groups", namespaced).unwrap(),
        ["x"]
    );
    assert_eq!(found("team", json!({ "team": "x" })).unwrap(), ["x"]);
    for name in ["", ".", "custom.", "custom.groups.x", "nothing"] {
        let nested = json!({ "custom": { "groups": ["x"] } });
        assert!(found(name, nested).unwrap().is_empty(), "{name}");
    }
    let most = json!({ "groups": vec!["g"; GROUPS_MAX] });
    assert_eq!(found("groups", most).unwrap().len(), GROUPS_MAX);
    let more = json!({ "groups": vec!["g"; GROUPS_MAX + 1] });
    assert_eq!(found("groups", more), Err(TokenRefusal::TooLong));
}

#[test]
fn checks_the_audience_exactly() {
    let check = |aud: Value, expected: &[&str]| {
        check_audience(&judge(json!({ "aud": aud })).unwrap(), expected)
    };
    assert_eq!(check(json!("portal"), &["portal"]), Ok(()));
    assert_eq!(check(json!(["other", "portal"]), &["x", "portal"]), Ok(()));
    for aud in [
        json!("Portal"),
        json!("portal/"),
        json!(["other"]),
        json!([]),
        json!(""),
        Value::Null,
    ] {
        assert_eq!(check(aud, &["portal"]), Err(TokenRefusal::WrongAudience));
    }
    assert_eq!(
        check(json!("portal"), &[]),
        Err(TokenRefusal::WrongAudience)
    );
    let anonymous = Principal::anonymous();
    assert_eq!(
        check_audience(&anonymous, &["portal"]),
        Err(TokenRefusal::WrongAudience)
    );
    for aud in [json!(7), json!(["portal", 7]), json!({ "portal": true })] {
        assert_eq!(judge(json!({ "aud": aud })), Err(TokenRefusal::Malformed));
    }
    let most = json!({ "aud": vec!["a"; AUDIENCES_MAX + 1] });
    assert_eq!(judge(most), Err(TokenRefusal::TooLong));
}

#[test]
fn prefers_azp_and_refuses_odd_clients() {
    let client = |changes| judge(changes).map(|them| them.client_id);
    assert_eq!(
        client(json!({ "azp": "a", "client_id": "b" })),
        Ok(Some("a".into()))
    );
    assert_eq!(
        client(json!({ "azp": "", "client_id": "b" })),
        Ok(Some("b".into()))
    );
    assert_eq!(client(json!({})), Ok(None));
    assert_eq!(client(json!({ "azp": 7 })), Err(TokenRefusal::Malformed));
    assert_eq!(
        client(json!({ "azp": "a\u{0}" })),
        Err(TokenRefusal::Malformed)
    );
    let long = "a".repeat(NAME_BYTES_MAX + 1);
    assert_eq!(
        client(json!({ "client_id": long })),
        Err(TokenRefusal::TooLong)
    );
}

proptest! {
    #[test]
    fn never_panics(exp in any::<f64>(), payload in "\\PC*", path in "[a-z.]*") {
        let issuer = Issuer { groups_claim: path, ..fakes::issuer() };
        let _ = judge_at(&json!({ "exp": exp, "nbf": exp }), NOW_MS);
        let text = format!(r#"{{"iss":"{}","x":{payload}}}"#, fakes::ISSUER);
        let _ = judge_text(&text, &issuer, NOW_MS);
    }
}
