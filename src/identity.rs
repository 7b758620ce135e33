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
pub(crate) mod fakes;
#[cfg(test)]
mod tests;
