use super::fakes::{Keys, Verifier, ec, issuer, rsa, run, sign_with};
use super::*;
use serde_json::json;
use std::pin::pin;
use std::task::Poll;

const NOW_MS: u64 = 1_700_000_000_000;
const SECOND_MS: u64 = 1_000;

fn payload() -> String {
    json!({ "iss": fakes::ISSUER, "sub": "alice", "aud": "portal", "exp": 1_800_000_000 })
        .to_string()
}

fn token(jwk: &Value, alg: &str) -> String {
    sign_with(jwk, &json!({ "alg": alg, "kid": jwk["kid"] }), &payload())
}

struct Portal {
    issuers: Vec<Rc<Issuer>>,
    verifier: Verifier,
    keys: Keys,
}

impl Portal {
    fn trusting(keys: &[Value]) -> Self {
        Self {
            issuers: vec![Rc::new(issuer())],
            verifier: Verifier::default(),
            keys: Keys::serving(keys),
        }
    }

    async fn verify(&self, token: &str, now_ms: u64) -> Result<String, TokenRefusal> {
        let principal = verify(token, &self.issuers, &self.verifier, &self.keys, now_ms).await?;
        Ok(principal.subject)
    }

    fn at(&self, token: &str, now_ms: u64) -> Result<String, TokenRefusal> {
        run(self.verify(token, now_ms))
    }

    fn now(&self, token: &str) -> Result<String, TokenRefusal> {
        self.at(token, NOW_MS)
    }

    fn fetches(&self) -> usize {
        self.keys.fetches.get()
    }
}

#[test]
fn accepts_both_algorithms_and_fetches_once() {
    let portal = Portal::trusting(&[rsa("r1", 1), ec("e1", 1)]);
    let alice = Ok("acme|alice".to_owned());
    assert_eq!(portal.now(&token(&rsa("r1", 1), "RS256")), alice);
    assert_eq!(portal.now(&token(&ec("e1", 1), "ES256")), alice);
    assert_eq!((portal.fetches(), portal.verifier.calls.get()), (1, 2));
}

#[test]
fn accepts_a_token_without_key_id_where_one_key_fits() {
    let portal = Portal::trusting(&[rsa("r1", 1), ec("e1", 1), ec("e2", 2)]);
    let anonymous = |jwk, alg| sign_with(&jwk, &json!({ "alg": alg }), &payload());
    assert!(portal.now(&anonymous(rsa("r1", 1), "RS256")).is_ok());
    let ambiguous = anonymous(ec("e1", 1), "ES256");
    assert_eq!(portal.now(&ambiguous), Err(TokenRefusal::UnknownKey));
}

#[test]
fn refuses_algorithms_by_the_issuers_list_and_the_key() {
    let portal = Portal::trusting(&[rsa("k", 1), ec("e", 1)]);
    for alg in ["none", "None", "HS256", "RS384", "PS256", "rs256", ""] {
        let refused = portal.now(&token(&rsa("k", 1), alg));
        assert_eq!(refused, Err(TokenRefusal::AlgorithmNotAllowed), "{alg}");
    }
    let unsigned = token(&rsa("k", 1), "none");
    let (data, _) = unsigned.rsplit_once('.').unwrap();
    let refused = portal.now(&format!("{data}."));
    assert_eq!(refused, Err(TokenRefusal::AlgorithmNotAllowed));
    assert_eq!(portal.fetches(), 0);

    // An allowed algorithm that is not this key's.
    let crossed = sign_with(
        &rsa("k", 1),
        &json!({ "alg": "ES256", "kid": "k" }),
        &payload(),
    );
    assert_eq!(portal.now(&crossed), Err(TokenRefusal::UnknownKey));
    let crossed = sign_with(
        &ec("e", 1),
        &json!({ "alg": "RS256", "kid": "e" }),
        &payload(),
    );
    assert_eq!(portal.now(&crossed), Err(TokenRefusal::UnknownKey));
    assert_eq!(portal.verifier.calls.get(), 0);
}

#[test]
fn refuses_an_algorithm_the_issuer_may_not_use() {
    let mut portal = Portal::trusting(&[rsa("r1", 1), ec("e1", 1)]);
    portal.issuers = vec![Rc::new(Issuer {
        algorithms: vec![Algorithm::Es256],
        ..issuer()
    })];
    let refused = portal.now(&token(&rsa("r1", 1), "RS256"));
    assert_eq!(refused, Err(TokenRefusal::AlgorithmNotAllowed));
    assert!(portal.now(&token(&ec("e1", 1), "ES256")).is_ok());
}

#[test]
fn refuses_unknown_and_ambiguous_issuers() {
    let mut portal = Portal::trusting(&[ec("e1", 1)]);
    let good = token(&ec("e1", 1), "ES256");
    let strange = json!({ "iss": "https://idp.acme.example/", "sub": "a", "exp": 1_800_000_000 });
    let strange = sign_with(
        &ec("e1", 1),
        &json!({ "alg": "ES256" }),
        &strange.to_string(),
    );
    assert_eq!(portal.now(&strange), Err(TokenRefusal::UnknownIssuer));
    for id in ["", "a|b"] {
        portal.issuers = vec![Rc::new(Issuer {
            id: id.into(),
            ..issuer()
        })];
        assert_eq!(portal.now(&good), Err(TokenRefusal::UnknownIssuer));
    }
    portal.issuers.clear();
    assert_eq!(portal.now(&good), Err(TokenRefusal::UnknownIssuer));
    assert_eq!(portal.fetches(), 0);
}

#[test]
fn one_issuer_cannot_sign_for_another() {
    let mut portal = Portal::trusting(&[ec("e1", 9)]);
    let other = Issuer {
        id: "other".into(),
        issuer: "https://other.example".into(),
        ..issuer()
    };
    portal.issuers.push(Rc::new(other));
    let refused = portal.now(&token(&ec("e1", 1), "ES256"));
    assert_eq!(refused, Err(TokenRefusal::BadSignature));
}

#[test]
fn refuses_bad_signatures() {
    let portal = Portal::trusting(&[ec("e1", 1), rsa("r1", 1)]);
    let forged = token(&ec("e1", 2), "ES256");
    assert_eq!(portal.now(&forged), Err(TokenRefusal::BadSignature));
    let good = token(&ec("e1", 1), "ES256");
    let parts: Vec<&str> = good.split('.').collect();
    let other = fakes::sign(
        &json!({}),
        r#"{"iss":"https://idp.acme.example","sub":"bob"}"#,
    );
    let swapped = format!(
        "{}.{}.{}",
        parts[0],
        other.split('.').nth(1).unwrap(),
        parts[2]
    );
    assert_eq!(portal.now(&swapped), Err(TokenRefusal::BadSignature));
    assert_eq!(portal.verifier.calls.get(), 2);

    // Wrong lengths never reach the verifier: empty, short, DER-like, long.
    for length in [0_usize, 4, 60, 68, 72, 256] {
        let signature = "A".repeat(length.div_ceil(3) * 4);
        let refused = portal.now(&format!("{}.{}.{signature}", parts[0], parts[1]));
        assert_eq!(refused, Err(TokenRefusal::BadSignature));
    }
    assert_eq!(portal.verifier.calls.get(), 2);
}

#[test]
fn judges_claims_only_after_the_signature() {
    let portal = Portal::trusting(&[ec("e1", 1)]);
    let expired = json!({ "iss": fakes::ISSUER, "sub": "alice", "exp": 1 }).to_string();
    let header = json!({ "alg": "ES256", "kid": "e1" });
    let signed = sign_with(&ec("e1", 1), &header, &expired);
    assert_eq!(portal.now(&signed), Err(TokenRefusal::Expired));
    let forged = sign_with(&ec("e1", 2), &header, &expired);
    assert_eq!(portal.now(&forged), Err(TokenRefusal::BadSignature));
}

#[test]
fn follows_a_rotation_and_forgets_withdrawn_keys() {
    let portal = Portal::trusting(&[ec("old", 1)]);
    let (old, new) = (token(&ec("old", 1), "ES256"), token(&ec("new", 2), "ES256"));
    assert!(portal.now(&old).is_ok());
    portal.keys.serve(&[ec("old", 1), ec("new", 2)]);
    let later = NOW_MS + SECOND_MS;
    assert!(portal.at(&new, later).is_ok() && portal.at(&old, later).is_ok());
    assert_eq!(portal.fetches(), 2);
    portal.keys.serve(&[ec("new", 2)]);
    assert!(portal.at(&old, later + jwks::KEY_SET_FRESH_MS - 1).is_ok());
    let refused = portal.at(&old, later + jwks::KEY_SET_FRESH_MS);
    assert!(portal.at(&new, later + jwks::KEY_SET_FRESH_MS).is_ok());
    // The old key was known when the set was renewed; the renewed set has it no more.
    assert_eq!(refused, Err(TokenRefusal::UnknownKey));
    assert_eq!(portal.fetches(), 3);
}

#[test]
fn a_flood_of_key_ids_fetches_once_per_cool_down() {
    let portal = Portal::trusting(&[ec("e1", 1)]);
    assert!(portal.now(&token(&ec("e1", 1), "ES256")).is_ok());
    for number in 0..300_u64 {
        let invented = token(&ec(&format!("k{number}"), 3), "ES256");
        let refused = portal.at(&invented, NOW_MS + number * 100);
        assert_eq!(refused, Err(TokenRefusal::UnknownKey));
    }
    assert_eq!(portal.fetches(), 2);
    let invented = token(&ec("more", 3), "ES256");
    let _ = portal.at(&invented, NOW_MS + jwks::FORCED_COOL_DOWN_MS);
    assert_eq!(portal.fetches(), 3);
    assert_eq!(portal.verifier.calls.get(), 1);
}

#[test]
fn a_flood_on_a_cold_start_fetches_once() {
    let portal = Portal::trusting(&[ec("e1", 1)]);
    for number in 0..50 {
        let invented = token(&ec(&format!("k{number}"), 3), "ES256");
        assert_eq!(portal.now(&invented), Err(TokenRefusal::UnknownKey));
    }
    assert_eq!(portal.fetches(), 1);
}

#[test]
fn requests_side_by_side_do_not_multiply_a_forced_fetch() {
    let portal = Portal::trusting(&[ec("e1", 1)]);
    let good = token(&ec("e1", 1), "ES256");
    assert!(portal.now(&good).is_ok());
    portal.keys.serve(&[ec("e1", 1), ec("new", 2)]);
    portal.keys.delay.set(2);
    let new = token(&ec("new", 2), "ES256");
    let mut first = pin!(portal.verify(&new, NOW_MS + 1));
    assert_eq!(fakes::poll(first.as_mut()), Poll::Pending);
    // While the fetch is under way the unknown key may yet come, and the known one works.
    let refused = portal.at(&new, NOW_MS + 2);
    assert_eq!(refused, Err(TokenRefusal::KeysUnavailable));
    assert!(portal.at(&good, NOW_MS + 2).is_ok());
    assert!(run(first).is_ok());
    assert!(portal.at(&new, NOW_MS + 3).is_ok());
    assert_eq!(portal.fetches(), 2);
}

#[test]
fn first_requests_side_by_side_all_succeed() {
    let portal = Portal::trusting(&[ec("e1", 1)]);
    portal.keys.delay.set(1);
    let good = token(&ec("e1", 1), "ES256");
    let requests = (0..8).map(|_| portal.verify(&good, NOW_MS));
    let outcomes = run(futures::future::join_all(requests));
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(portal.fetches(), 8);
    let crowd = Portal::trusting(&[ec("e1", 1)]);
    crowd.keys.delay.set(1);
    let requests = (0..50).map(|_| crowd.verify(&good, NOW_MS));
    let outcomes = run(futures::future::join_all(requests));
    let most = usize::try_from(jwks::COLD_FETCHES_MAX).unwrap();
    assert_eq!(crowd.fetches(), most);
    let refused = outcomes.iter().filter(|outcome| outcome.is_err());
    assert!(
        refused
            .clone()
            .all(|refusal| *refusal == Err(TokenRefusal::KeysUnavailable))
    );
    assert_eq!(refused.count(), 50 - most);
}

#[test]
fn an_issuer_that_is_away_is_asked_every_five_seconds() {
    let portal = Portal::trusting(&[]);
    portal.keys.go_away();
    let good = token(&ec("e1", 1), "ES256");
    for tenth in 0..100 {
        let refused = portal.at(&good, NOW_MS + tenth * 100);
        assert_eq!(refused, Err(TokenRefusal::KeysUnavailable));
    }
    assert_eq!(portal.fetches(), 2);
    portal.keys.serve(&[ec("e1", 1)]);
    assert!(portal.at(&good, NOW_MS + 10 * SECOND_MS).is_ok());
}

#[test]
fn an_old_set_serves_for_a_day_while_the_issuer_is_away() {
    let portal = Portal::trusting(&[ec("e1", 1)]);
    let good = token(&ec("e1", 1), "ES256");
    assert!(portal.now(&good).is_ok());
    *portal.keys.body.borrow_mut() = Some(b"<html>down</html>".to_vec());
    let stale = NOW_MS + jwks::KEY_SET_FRESH_MS;
    assert!(portal.at(&good, stale).is_ok() && portal.at(&good, stale + 1).is_ok());
    assert_eq!(portal.fetches(), 2);
    let last = NOW_MS + jwks::KEY_SET_USABLE_MS;
    assert!(portal.at(&good, last - 1).is_ok());
    assert_eq!(portal.at(&good, last), Err(TokenRefusal::KeysUnavailable));
}

#[test]
fn keys_of_a_former_address_are_void() {
    let mut portal = Portal::trusting(&[ec("e1", 1)]);
    let good = token(&ec("e1", 1), "ES256");
    assert!(portal.now(&good).is_ok());
    let moved = "https://new.acme.example/jwks".parse().unwrap();
    portal.issuers = vec![Rc::new(Issuer {
        jwks_url: moved,
        ..issuer()
    })];
    portal.keys.serve(&[ec("e1", 2)]);
    assert_eq!(portal.now(&good), Err(TokenRefusal::BadSignature));
    assert_eq!(portal.fetches(), 2);
}

#[test]
fn the_grant_key_tells_all_pairs_apart() {
    let key = |subject: &str, client_id: Option<&str>| {
        let client_id = client_id.map(str::to_owned);
        Principal {
            subject: subject.into(),
            client_id,
            ..Principal::anonymous()
        }
        .grant_key()
    };
    let keys = [
        key("i|a", None),
        key("i|a", Some("")),
        key("i|a", Some("b|c")),
        key("i|a|b", Some("c")),
        key("i|a|b|c", None),
    ];
    let distinct: std::collections::HashSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
}

#[test]
fn reads_the_bearer_scheme_only() {
    for good in [
        "Bearer a.b-_~+/=c",
        "bearer   a.b-_~+/=c",
        " BEARER a.b-_~+/=c ",
    ] {
        assert_eq!(bearer_token(good), Some("a.b-_~+/=c"), "{good}");
    }
    for bad in [
        "",
        "Bearer",
        "Bearer ",
        "Basic abc",
        "Bearer a b",
        "Bearer a,b",
        "Bearera b",
        "Bearer ä",
    ] {
        assert_eq!(bearer_token(bad), None, "{bad}");
    }
}
