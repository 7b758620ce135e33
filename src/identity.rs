//! Who is calling: a token of a configured issuer becomes a [`Principal`], or a [`TokenRefusal`].
//!
//! Pure but for two ports: [`SignatureVerifier`] (`WebCrypto` at the edge) and [`KeySource`] (the issuers' key
//! sets). Time is a parameter. The token decides nothing by itself: its issuer must be configured, its `alg`
//! must be on that issuer's list and fit the key, and its claims are read only once the signature held.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub mod cache;
pub mod claims;
pub mod jwks;
pub mod unverified;

use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{Algorithm, Issuer};
use jwks::{Choice, Key, KeySetState, Refresh};

/// What a principal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PrincipalKind {
    /// Somebody who signed in, perhaps through an agent.
    Person,
    /// A program with credentials of its own.
    Service,
    /// Nobody known: only for rules that let everybody pass. No token makes one.
    Anonymous,
}

/// Who a request speaks for, as its issuer vouches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Principal {
    /// Person, service or nobody known.
    pub kind: PrincipalKind,
    /// Unique among all issuers: `{issuer id}|{sub}`, and `{issuer id}|service:{name}` for services.
    pub subject: String,
    /// E-mail address in ASCII lower case, unless the issuer marks it as unverified.
    pub email: Option<String>,
    /// Groups as the issuer names them, at most [`claims::GROUPS_MAX`].
    pub groups: Vec<String>,
    /// The agent: the OAuth client the token was issued to.
    pub client_id: Option<String>,
    /// The configured issuer's id; empty for the anonymous principal.
    pub issuer_id: String,
    /// All claims of the token, for rules that select by claim. Bounded by the token's length
    /// ([`unverified::TOKEN_BYTES_MAX`]) and 128 levels.
    pub claims: Map<String, Value>,
    /// `exp` in Unix milliseconds, without leeway.
    pub expires_at_ms: u64,
    /// Whom the token was made for; see [`claims::check_audience`].
    pub audiences: Vec<String>,
}

impl Principal {
    /// The principal of a request that needs no token.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            kind: PrincipalKind::Anonymous,
            // Without a bar, so no verified principal's subject can equal it.
            subject: "anonymous".to_owned(),
            email: None,
            groups: Vec::new(),
            client_id: None,
            issuer_id: String::new(),
            claims: Map::new(),
            expires_at_ms: u64::MAX,
            audiences: Vec::new(),
        }
    }

    /// Whether nobody vouched for this principal.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.kind == PrincipalKind::Anonymous
    }

    /// One key for principal and agent together, by which a grant's own state is kept. The length in front
    /// makes it unambiguous, whatever characters subject and client id contain.
    #[must_use]
    pub fn grant_key(&self) -> String {
        let length = self.subject.len();
        match &self.client_id {
            Some(client_id) => format!("{length}:{}|{client_id}", self.subject),
            None => format!("{length}:{}", self.subject),
        }
    }
}

/// Why a token was not accepted. Its text is a label of a closed set, fit for metrics, and holds no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenRefusal {
    /// Not a token of the kind expected here.
    Malformed,
    /// The token or a list in it exceeds its bound.
    TooLong,
    /// Its issuer is not configured.
    UnknownIssuer,
    /// Its `alg` is not one its issuer may use.
    AlgorithmNotAllowed,
    /// Its issuer has no such key for this algorithm.
    UnknownKey,
    /// The signature does not hold.
    BadSignature,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It was made for somebody else.
    WrongAudience,
    /// It does not say whom it speaks for.
    NoSubject,
    /// The issuer's keys could not be had: not the caller's fault, and worth trying again.
    KeysUnavailable,
    /// It demands an extension (`crit`); none is understood.
    Critical,
}

impl TokenRefusal {
    /// The label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::UnknownIssuer => "unknown_issuer",
            Self::AlgorithmNotAllowed => "algorithm_not_allowed",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongAudience => "wrong_audience",
            Self::NoSubject => "no_subject",
            Self::KeysUnavailable => "keys_unavailable",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for TokenRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.label())
    }
}

impl std::error::Error for TokenRefusal {}

/// Checks signatures: RSASSA-PKCS1-v1_5 with SHA-256 for RS256, ECDSA on P-256 with SHA-256 and the raw 64-byte
/// form for ES256 (RFC 7518 sections 3.3 and 3.4).
#[allow(
    async_fn_in_trait,
    reason = "an isolate has one thread; nothing needs Send"
)]
pub trait SignatureVerifier {
    /// Whether the signature over `data` holds; false also where it could not be checked. `signature` has the
    /// key's length already, and `algorithm` is the key's.
    async fn verify(&self, key: &Key, algorithm: Algorithm, data: &[u8], signature: &[u8]) -> bool;
}

/// The issuers' key sets: what this isolate remembers of them, and the way to fetch them.
#[allow(
    async_fn_in_trait,
    reason = "an isolate has one thread; nothing needs Send"
)]
pub trait KeySource {
    /// What was remembered last for an issuer.
    fn state(&self, issuer_id: &str) -> Option<Rc<KeySetState>>;

    /// Remembers a state in place of the last.
    fn remember(&self, issuer_id: &str, state: Rc<KeySetState>);

    /// Fetches an issuer's key set (`jwks_url`), following no redirect to another host. None if there is no
    /// answer with status 200 in bounded time, or it exceeds [`jwks::KEY_SET_BYTES_MAX`].
    async fn fetch(&self, issuer: &Issuer) -> Option<Vec<u8>>;
}

/// Verifies a token and says whom it speaks for. `issuers` are those whose tokens may come the way this one
/// came (`Issuer::source`); `now_ms` is in Unix milliseconds. The audience is not judged: call
/// [`claims::check_audience`] on every request, for remembered principals too.
///
/// 1. split the token, read issuer, key id and algorithm: `Malformed`, `TooLong`, `Critical`
/// 2. find the configured issuer: `UnknownIssuer`
/// 3. compare the algorithm with the issuer's list: `AlgorithmNotAllowed`
/// 4. find the key, fetching keys at most once: `UnknownKey`, `KeysUnavailable`
/// 5. check the signature: `BadSignature`
/// 6. judge the claims: `Expired`, `NotYetValid`, `NoSubject`, `Malformed`, `TooLong`
///
/// # Errors
///
/// [`TokenRefusal`], by the first step that fails.
pub async fn verify<V: SignatureVerifier, K: KeySource>(
    token: &str,
    issuers: &[Rc<Issuer>],
    verifier: &V,
    keys: &K,
    now_ms: u64,
) -> Result<Principal, TokenRefusal> {
    // (1) Parse.
    let token = unverified::parse(token)?;
    // (2) Issuer.
    let issuer = choose_issuer(issuers, token.issuer()).ok_or(TokenRefusal::UnknownIssuer)?;
    // (3) Algorithm.
    let algorithm = algorithm(token.algorithm())
        .filter(|algorithm| issuer.algorithms.contains(algorithm))
        .ok_or(TokenRefusal::AlgorithmNotAllowed)?;
    // (4) Key.
    let key = find_key(issuer, token.key_id(), algorithm, keys, now_ms).await?;
    // (5) Signature.
    let proven = token.prove(verifier, &key, algorithm).await?;
    // (6) Claims.
    claims::validate(&proven, &claims::Expected { issuer, now_ms })
}

/// The token in an `Authorization` header of the Bearer scheme (RFC 6750 section 2.1; schemes have no case, RFC
/// 9110 section 11.1). None for other schemes and for anything but one token.
#[must_use]
pub fn bearer_token(authorization: &str) -> Option<&str> {
    let (scheme, rest) = authorization.trim().split_once(' ')?;
    let token = rest.trim_start_matches(' ');
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.bytes().all(is_token))
        .then_some(token)
}

/// Compared byte by byte (RFC 7519 section 4.1.1). An id that would make subjects ambiguous is never chosen;
/// the configuration refuses it too.
fn choose_issuer<'a>(issuers: &'a [Rc<Issuer>], claimed: &str) -> Option<&'a Issuer> {
    let issuer = issuers.iter().find(|issuer| issuer.issuer == claimed)?;
    (!issuer.id.is_empty() && !issuer.id.contains('|')).then_some(issuer)
}

/// The algorithms there are; everything else, `none` and `HS256` first of all, is not one.
fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "RS256" => Some(Algorithm::Rs256),
        "ES256" => Some(Algorithm::Es256),
        _ => None,
    }
}

async fn find_key<K: KeySource>(
    issuer: &Issuer,
    kid: Option<&str>,
    algorithm: Algorithm,
    keys: &K,
    now_ms: u64,
) -> Result<Rc<Key>, TokenRefusal> {
    let state = current_state(issuer, keys);
    let found = choose_key(&state, kid, algorithm, now_ms);
    let known = found.is_ok();
    match jwks::refresh_decision(Some(&state), now_ms, known) {
        Refresh::UseCached | Refresh::CoolingDown => return found,
        Refresh::Fetch => {}
    }
    let forced = !known && state.usable(now_ms).is_some();
    keys.remember(&issuer.id, Rc::new(state.begun(now_ms, forced)));
    let body = keys.fetch(issuer).await;
    let set = body.and_then(|body| jwks::parse_key_set(&body).ok());
    // Read anew: other requests may have gone on during the fetch.
    let mut state = current_state(issuer, keys);
    state = match set {
        Some(set) => state.succeeded(Rc::new(set), now_ms),
        None => state.failed(now_ms),
    };
    let found = choose_key(&state, kid, algorithm, now_ms);
    // The first fetch answers an unknown key id as well as a forced one would have.
    if found == Err(TokenRefusal::UnknownKey) {
        state.last_forced_ms = state.last_forced_ms.max(Some(now_ms));
    }
    keys.remember(&issuer.id, Rc::new(state));
    found
}

/// What is known of an issuer's keys; nothing, if the settings name another address than it came from.
fn current_state<K: KeySource>(issuer: &Issuer, keys: &K) -> KeySetState {
    let source = issuer.jwks_url.as_str();
    keys.state(&issuer.id)
        .filter(|state| state.source == source)
        .map_or_else(|| KeySetState::new(source), Rc::unwrap_or_clone)
}

fn choose_key(
    state: &KeySetState,
    kid: Option<&str>,
    algorithm: Algorithm,
    now_ms: u64,
) -> Result<Rc<Key>, TokenRefusal> {
    let set = state.usable(now_ms).ok_or(TokenRefusal::KeysUnavailable)?;
    match set.choose(kid, algorithm) {
        Choice::Key(key) => Ok(Rc::clone(key)),
        Choice::Unknown if state.is_settled() => Err(TokenRefusal::UnknownKey),
        // A fetch that failed or is under way may hold the key: the caller is not to blame.
        Choice::Unknown => Err(TokenRefusal::KeysUnavailable),
    }
}

/// An issuer with keys made of repeated bytes, and signatures that are digests of key and data: wrong for a
/// wrong key and for altered data, which is all the flow depends on. Real ones are checked where `WebCrypto` is.
#[cfg(test)]
pub(crate) mod fakes {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;
    use sha2::{Digest as _, Sha256};
    use std::cell::{Cell, RefCell};
    use std::collections::HashMap;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    pub(crate) const ISSUER: &str = "https://idp.acme.example";

    pub(crate) fn issuer() -> Issuer {
        Issuer {
            id: "acme".into(),
            issuer: ISSUER.into(),
            jwks_url: "https://idp.acme.example/jwks".parse().unwrap(),
            algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
            groups_claim: "groups".into(),
            source: crate::config::TokenSource::Authorization,
        }
    }

    fn number(bytes: usize, seed: u8) -> String {
        URL_SAFE_NO_PAD.encode(vec![seed | 0x81; bytes])
    }

    pub(crate) fn rsa(kid: &str, seed: u8) -> Value {
        json!({ "kty": "RSA", "kid": kid, "n": number(256, seed), "e": "AQAB" })
    }

    pub(crate) fn ec(kid: &str, seed: u8) -> Value {
        let (x, y) = (number(32, seed), number(32, seed));
        json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y })
    }

    pub(crate) fn key_set(keys: &[Value]) -> Vec<u8> {
        json!({ "keys": keys }).to_string().into_bytes()
    }

    fn only_key(jwk: &Value) -> Rc<Key> {
        let set = jwks::parse_key_set(&key_set(std::slice::from_ref(jwk))).unwrap();
        Rc::clone(&set.keys()[0])
    }

    fn signature(key: &Key, data: &[u8]) -> Vec<u8> {
        let digest = Sha256::new()
            .chain_update(&key.jwk_json)
            .chain_update(data)
            .finalize();
        digest
            .iter()
            .copied()
            .cycle()
            .take(key.signature_bytes)
            .collect()
    }

    pub(crate) fn sign_with(jwk: &Value, header: &Value, payload: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let data = format!("{}.{}", part(&header.to_string()), part(payload));
        let signature = signature(&only_key(jwk), data.as_bytes());
        format!("{data}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub(crate) fn sign(header: &Value, payload: &str) -> String {
        sign_with(&ec("e1", 1), header, payload)
    }

    pub(crate) fn with_verified<T>(
        token: &str,
        read: impl FnOnce(&unverified::Verified<'_>) -> Result<T, TokenRefusal>,
    ) -> Result<T, TokenRefusal> {
        let parsed = unverified::parse(token)?;
        let (verifier, key) = (Verifier::default(), only_key(&ec("e1", 1)));
        read(&run(parsed.prove(&verifier, &key, Algorithm::Es256))?)
    }

    pub(crate) fn run<F: Future>(future: F) -> F::Output {
        let mut future = pin!(future);
        for _ in 0..1_000 {
            if let Poll::Ready(output) = poll(future.as_mut()) {
                return output;
            }
        }
        panic!("the future never ends");
    }

    pub(crate) fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[derive(Default)]
    pub(crate) struct Verifier {
        pub(crate) calls: Cell<usize>,
    }

    impl SignatureVerifier for Verifier {
        async fn verify(&self, key: &Key, algorithm: Algorithm, data: &[u8], sig: &[u8]) -> bool {
            assert_eq!((key.algorithm, key.signature_bytes), (algorithm, sig.len()));
            self.calls.set(self.calls.get() + 1);
            sig == signature(key, data)
        }
    }

    /// Serves `body`, after as many polls as `delay` says at the time.
    #[derive(Default)]
    pub(crate) struct Keys {
        pub(crate) states: RefCell<HashMap<String, Rc<KeySetState>>>,
        pub(crate) body: RefCell<Option<Vec<u8>>>,
        pub(crate) delay: Cell<usize>,
        pub(crate) fetches: Cell<usize>,
    }

    impl Keys {
        pub(crate) fn serving(keys: &[Value]) -> Self {
            let source = Self::default();
            source.serve(keys);
            source
        }

        pub(crate) fn serve(&self, keys: &[Value]) {
            *self.body.borrow_mut() = Some(key_set(keys));
        }

        pub(crate) fn go_away(&self) {
            *self.body.borrow_mut() = None;
        }
    }

    impl KeySource for Keys {
        fn state(&self, issuer_id: &str) -> Option<Rc<KeySetState>> {
            self.states.borrow().get(issuer_id).cloned()
        }

        fn remember(&self, issuer_id: &str, state: Rc<KeySetState>) {
            self.states.borrow_mut().insert(issuer_id.to_owned(), state);
        }

        async fn fetch(&self, _: &Issuer) -> Option<Vec<u8>> {
            self.fetches.set(self.fetches.get() + 1);
            let mut polls = self.delay.get();
            std::future::poll_fn(|context| {
                if polls == 0 {
                    return Poll::Ready(());
                }
                polls -= 1;
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            self.body.borrow().clone()
        }
    }
}

#[cfg(test)]
mod tests {
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
            let principal =
                verify(token, &self.issuers, &self.verifier, &self.keys, now_ms).await?;
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
        let strange =
            json!({ "iss": "https://idp.acme.example/", "sub": "a", "exp": 1_800_000_000 });
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
}
