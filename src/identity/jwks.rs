//! An issuer's public keys (JWK set, RFC 7517): which of them may verify which token, and when to fetch anew.

use std::fmt;
use std::rc::Rc;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::config::Algorithm;

/// Largest key set that is read, in bytes.
pub const KEY_SET_BYTES_MAX: usize = 256 * 1024;
/// Most keys in a set, usable or not.
pub const KEYS_MAX: usize = 100;
/// Shortest RSA modulus that is trusted, in bits (RFC 7518 section 3.3).
pub const RSA_BITS_MIN: usize = 2_048;
/// Longest RSA modulus that is worth the time of checking, in bits.
pub const RSA_BITS_MAX: usize = 8_192;
/// Age in milliseconds from which a set is fetched anew.
pub const KEY_SET_FRESH_MS: u64 = 60 * 60 * 1_000;
/// Age in milliseconds from which a set is not used any more, though fetching fails.
pub const KEY_SET_USABLE_MS: u64 = 24 * 60 * 60 * 1_000;
/// Least time between two fetches caused by unknown key ids, in milliseconds.
pub const FORCED_COOL_DOWN_MS: u64 = 30 * 1_000;
/// Least time between a fetch that failed and the next, in milliseconds.
pub const RETRY_COOL_DOWN_MS: u64 = 5 * 1_000;
/// Most fetches begun side by side while no set is at hand: an isolate's first requests cannot wait for each
/// other, and refusing all but the first would greet a caller with errors.
pub const COLD_FETCHES_MAX: u32 = 16;

/// Length of an ES256 signature in bytes: r and s, 32 each (RFC 7518 section 3.4).
const ES256_SIGNATURE_BYTES: usize = 64;
/// Length of a P-256 coordinate in bytes (RFC 7518 section 6.2.1.2).
const P256_COORDINATE_BYTES: usize = 32;
/// Smallest RSA public exponent (FIPS 186-5 appendix A.1.1); small ones have broken sloppy verifiers.
const RSA_EXPONENT_MIN: u64 = 65_537;
/// Longest RSA public exponent in bytes; longer ones only cost time.
const RSA_EXPONENT_BYTES_MAX: usize = 4;

/// Some issuers pad, though RFC 7515 section 2 forbids it; nothing depends on it.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Kinds of keys that can verify here (`kty`, RFC 7518 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// RSA, for RS256.
    Rsa,
    /// Elliptic curve P-256, for ES256.
    Ec,
}

/// One public key that may verify signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The issuer's name for it.
    pub kid: Option<String>,
    /// What kind of key it is.
    pub kty: KeyType,
    /// The one algorithm it may be used with here.
    pub algorithm: Algorithm,
    /// The key as a minimal JWK for `WebCrypto`'s `importKey`: only the members RFC 7638 section 3.2 names, in
    /// its order, without `alg`, `use` and `key_ops`. Equal keys have equal text, so it can also key a cache.
    pub jwk_json: String,
    /// Length in bytes that every signature of this key has.
    pub signature_bytes: usize,
}

/// The usable keys of one issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Rc<Key>>,
}

/// Why a document is not a key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySetFault {
    /// More than [`KEY_SET_BYTES_MAX`].
    TooLarge,
    /// Not a JSON object with a `keys` array.
    Malformed,
    /// More than [`KEYS_MAX`] keys.
    TooManyKeys,
}

impl fmt::Display for KeySetFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::TooManyKeys => "too_many_keys",
        })
    }
}

impl std::error::Error for KeySetFault {}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// A JWK as published; what is not named here does not matter.
#[derive(Deserialize)]
struct PublishedKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<IgnoredAny>,
}

/// Reads a key set and keeps what can verify. Keys of other kinds, for encryption, for other algorithms, too
/// short, symmetric, garbled, or published with their private half (anyone could sign with those) are left out,
/// as RFC 7517 section 5 asks; a set of none is still a set, since an issuer may withdraw every key.
///
/// # Errors
///
/// [`KeySetFault`] if the document as a whole cannot be a key set.
pub fn parse_key_set(body: &[u8]) -> Result<KeySet, KeySetFault> {
    if body.len() > KEY_SET_BYTES_MAX {
        return Err(KeySetFault::TooLarge);
    }
    let document: Document<'_> =
        serde_json::from_slice(body).map_err(|_| KeySetFault::Malformed)?;
    if document.keys.len() > KEYS_MAX {
        return Err(KeySetFault::TooManyKeys);
    }
    let mut keys: Vec<Rc<Key>> = Vec::new();
    for raw in document.keys {
        let published = serde_json::from_str::<PublishedKey>(raw.get()).ok();
        if let Some(key) = published.and_then(usable_key)
            && !keys.iter().any(|known| **known == key)
        {
            keys.push(Rc::new(key));
        }
    }
    Ok(KeySet { keys })
}

fn usable_key(published: PublishedKey) -> Option<Key> {
    let for_signatures = published
        .usage
        .as_deref()
        .is_none_or(|usage| usage == "sig")
        && published
            .key_ops
            .as_ref()
            .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
    if !for_signatures || published.d.is_some() {
        return None;
    }
    let fits = |name: &str| published.alg.as_deref().is_none_or(|alg| alg == name);
    match published.kty.as_str() {
        "RSA" if fits("RS256") => rsa_key(published.kid, &published.n?, &published.e?),
        "EC" if fits("ES256") && published.crv.as_deref() == Some("P-256") => {
            ec_key(published.kid, &published.x?, &published.y?)
        }
        _ => None,
    }
}

fn rsa_key(kid: Option<String>, modulus: &str, exponent: &str) -> Option<Key> {
    let modulus = unsigned(modulus)?;
    let exponent = unsigned(exponent)?;
    let spare = modulus.first()?.leading_zeros() as usize;
    let bits = modulus.len().saturating_mul(8).saturating_sub(spare);
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) || !is_odd(&modulus) {
        return None;
    }
    if exponent.len() > RSA_EXPONENT_BYTES_MAX || !is_odd(&exponent) {
        return None;
    }
    let value = exponent
        .iter()
        .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    if value < RSA_EXPONENT_MIN {
        return None;
    }
    let (e, n) = (
        URL_SAFE_NO_PAD.encode(&exponent),
        URL_SAFE_NO_PAD.encode(&modulus),
    );
    Some(Key {
        kid,
        kty: KeyType::Rsa,
        algorithm: Algorithm::Rs256,
        jwk_json: format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        signature_bytes: modulus.len(),
    })
}

/// Whether the point lies on the curve is checked by `importKey`, which refuses it otherwise.
fn ec_key(kid: Option<String>, x: &str, y: &str) -> Option<Key> {
    let x = LENIENT.decode(x).ok()?;
    let y = LENIENT.decode(y).ok()?;
    if x.len() != P256_COORDINATE_BYTES || y.len() != P256_COORDINATE_BYTES {
        return None;
    }
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    Some(Key {
        kid,
        kty: KeyType::Ec,
        algorithm: Algorithm::Es256,
        jwk_json: format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#),
        signature_bytes: ES256_SIGNATURE_BYTES,
    })
}

/// Decodes a big-endian number and drops leading zeros, which some issuers write though RFC 7518 section 2
/// (`Base64urlUInt`) forbids them.
fn unsigned(text: &str) -> Option<Vec<u8>> {
    let bytes = LENIENT.decode(text).ok()?;
    Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|byte| byte & 1 == 1)
}

/// Which key must have signed a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// This one.
    Key(&'a Rc<Key>),
    /// None, or more than one could have.
    Unknown,
}

impl KeySet {
    /// The usable keys.
    #[must_use]
    pub fn keys(&self) -> &[Rc<Key>] {
        &self.keys
    }

    /// Finds the key for a token: the one with this id and algorithm; without an id, the only one with this
    /// algorithm. Two different keys of the same id and algorithm are ambiguous, and neither is taken.
    #[must_use]
    pub fn choose(&self, kid: Option<&str>, algorithm: Algorithm) -> Choice<'_> {
        let mut fitting = self.keys.iter().filter(|key| {
            key.algorithm == algorithm && kid.is_none_or(|kid| key.kid.as_deref() == Some(kid))
        });
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Choice::Key(key),
            _ => Choice::Unknown,
        }
    }
}

/// What is known of one issuer's keys, and what was tried to learn them. A value to be replaced whole: each
/// change makes a new one. All times are Unix milliseconds at which the fetch in question began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySetState {
    /// Address the keys come from. Settings that name another address make this state void.
    pub source: String,
    /// The newest set that could be fetched.
    pub set: Option<Rc<KeySet>>,
    /// Fetch that brought `set`; 0 without one.
    pub fetched_at_ms: u64,
    /// Newest fetch, whether or not it has ended.
    pub last_attempt_ms: u64,
    /// Newest fetch that failed since `set` came.
    pub last_failure_ms: Option<u64>,
    /// Newest fetch on account of an unknown key id.
    pub last_forced_ms: Option<u64>,
    /// Fetches begun with less than [`RETRY_COOL_DOWN_MS`] between them, up to the newest.
    pub attempts: u32,
}

impl KeySetState {
    /// The state before anything was fetched from an address.
    #[must_use]
    pub fn new(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            set: None,
            fetched_at_ms: 0,
            last_attempt_ms: 0,
            last_failure_ms: None,
            last_forced_ms: None,
            attempts: 0,
        }
    }

    /// The set, unless it is older than [`KEY_SET_USABLE_MS`].
    #[must_use]
    pub fn usable(&self, now_ms: u64) -> Option<&Rc<KeySet>> {
        let age_ms = now_ms.saturating_sub(self.fetched_at_ms);
        self.set.as_ref().filter(|_| age_ms < KEY_SET_USABLE_MS)
    }

    /// Whether the newest fetch succeeded: only then does a key's absence say that it does not exist.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.set.is_some()
            && self.last_failure_ms.is_none()
            && self.last_attempt_ms <= self.fetched_at_ms
    }

    /// After a fetch began. To be remembered before the fetch is awaited, so that requests arriving meanwhile
    /// see the cool-down.
    #[must_use]
    pub fn begun(mut self, now_ms: u64, forced: bool) -> Self {
        let pause_ms = now_ms.saturating_sub(self.last_attempt_ms);
        self.attempts = if pause_ms < RETRY_COOL_DOWN_MS {
            self.attempts.saturating_add(1)
        } else {
            1
        };
        self.last_attempt_ms = self.last_attempt_ms.max(now_ms);
        if forced {
            self.last_forced_ms = Some(now_ms);
        }
        self
    }

    /// After the fetch that began at `began_ms` brought a set. An older fetch that ends late changes nothing.
    #[must_use]
    pub fn succeeded(mut self, set: Rc<KeySet>, began_ms: u64) -> Self {
        if self.set.is_none() || self.fetched_at_ms <= began_ms {
            self.set = Some(set);
            self.fetched_at_ms = began_ms;
            self.last_failure_ms = self
                .last_failure_ms
                .filter(|failed_ms| *failed_ms > began_ms);
        }
        self
    }

    /// After the fetch that began at `began_ms` failed. The set stays.
    #[must_use]
    pub fn failed(mut self, began_ms: u64) -> Self {
        if self.set.is_none() || self.fetched_at_ms <= began_ms {
            self.last_failure_ms = self.last_failure_ms.max(Some(began_ms));
        }
        self
    }
}

/// What to do before choosing a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// The set at hand is good.
    UseCached,
    /// Fetch, then choose; if that fails, choose from what is at hand.
    Fetch,
    /// A fetch would be due, but one was begun too recently: choose from what is at hand.
    CoolingDown,
}

/// Decides whether to fetch an issuer's keys.
///
/// 1. No usable set: fetch, but not within [`RETRY_COOL_DOWN_MS`] of a failure, and at most
///    [`COLD_FETCHES_MAX`] side by side.
/// 2. The key is not in the set: fetch, at most once per [`FORCED_COOL_DOWN_MS`], so that a flood of invented
///    key ids is not passed on to the issuer.
/// 3. The set is older than [`KEY_SET_FRESH_MS`]: fetch, at most once per [`RETRY_COOL_DOWN_MS`].
#[must_use]
pub fn refresh_decision(state: Option<&KeySetState>, now_ms: u64, kid_known: bool) -> Refresh {
    let Some(state) = state else {
        return Refresh::Fetch;
    };
    let within = |since_ms: u64, span_ms: u64| now_ms.saturating_sub(since_ms) < span_ms;
    let (due, cooling) = if state.usable(now_ms).is_none() {
        let failed = state
            .last_failure_ms
            .is_some_and(|failed_ms| within(failed_ms, RETRY_COOL_DOWN_MS));
        let crowded =
            state.attempts >= COLD_FETCHES_MAX && within(state.last_attempt_ms, RETRY_COOL_DOWN_MS);
        (true, failed || crowded)
    } else if !kid_known {
        let forced = state
            .last_forced_ms
            .is_some_and(|forced_ms| within(forced_ms, FORCED_COOL_DOWN_MS));
        (true, forced)
    } else {
        let outdated = !within(state.fetched_at_ms, KEY_SET_FRESH_MS);
        (outdated, within(state.last_attempt_ms, RETRY_COOL_DOWN_MS))
    };
    match (due, cooling) {
        (false, _) => Refresh::UseCached,
        (true, false) => Refresh::Fetch,
        (true, true) => Refresh::CoolingDown,
    }
}

#[cfg(test)]
mod tests;
