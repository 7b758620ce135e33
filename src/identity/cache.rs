//! Tokens that were verified, so that a caller's next request costs a look-up instead of a signature check.

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::Principal;
use super::jwks::KEY_SET_FRESH_MS;

/// Most tokens remembered.
pub const TOKENS_MAX: usize = 4_096;
/// Most memory taken by them, in bytes as estimated: an isolate has 128 MiB for everything.
pub const TOKENS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest time a token is remembered, in milliseconds. No longer than a key set is trusted unasked: a key its
/// issuer withdrew must not live on here until the last token it signed expires.
pub const REMEMBERED_MS_MAX: u64 = KEY_SET_FRESH_MS;

/// What an entry costs beside the texts in it, in bytes: slots of the map, counters, a principal's own fields.
const ENTRY_BYTES: usize = 512;
/// What a JSON value costs beside its text, in bytes.
const VALUE_BYTES: usize = 64;
/// What a JSON object costs beside its entries, in bytes: its tree allocates for eleven entries at once.
const OBJECT_BYTES: usize = 640;

#[derive(Debug)]
struct Entry {
    principal: Rc<Principal>,
    until_ms: u64,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Generation {
    entries: HashMap<Box<str>, Entry>,
    bytes: usize,
}

impl Generation {
    fn take(&mut self, token: &str) -> Option<(Box<str>, Entry)> {
        let removed = self.entries.remove_entry(token)?;
        self.bytes = self.bytes.saturating_sub(removed.1.bytes);
        Some(removed)
    }
}

/// Verified tokens and their principals, keyed by the whole token: no part of a token is the token.
///
/// Two generations, each half of the bounds: entries enter the young one and return to it when used; when it is
/// full, it becomes the old one and the former old one is dropped. What is in use stays, and forgetting costs
/// nothing per request. To be emptied with [`VerifiedTokens::remove_all`] when the settings of issuers change.
///
/// Where issuers differ in `Issuer::source`, one of these is needed per source: a hit skips the choice among the
/// issuers of that source, so a token for one header must not be found when it comes in another.
#[derive(Debug, Default)]
pub struct VerifiedTokens {
    young: Generation,
    old: Generation,
}

impl VerifiedTokens {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The principal of a token, if it was verified and has not expired. Whether the token was made for this
    /// portal is not asked here; `claims::check_audience` is due on every request.
    pub fn get(&mut self, token: &str, now_ms: u64) -> Option<Rc<Principal>> {
        if let Some(entry) = self.young.entries.get(token) {
            if now_ms < entry.until_ms {
                return Some(Rc::clone(&entry.principal));
            }
            self.young.take(token);
            return None;
        }
        let (token, entry) = self.old.take(token)?;
        if now_ms >= entry.until_ms {
            return None;
        }
        let principal = Rc::clone(&entry.principal);
        self.add(token, entry);
        Some(principal)
    }

    /// Remembers the principal of a token that [`super::verify`] accepted, until the token's `exp` (without
    /// leeway) or for [`REMEMBERED_MS_MAX`], whichever is sooner.
    pub fn insert(&mut self, token: &str, principal: Rc<Principal>, now_ms: u64) {
        let until_ms = principal
            .expires_at_ms
            .min(now_ms.saturating_add(REMEMBERED_MS_MAX));
        if now_ms >= until_ms || principal.is_anonymous() {
            return;
        }
        let bytes = footprint(token, &principal);
        self.young.take(token);
        self.old.take(token);
        self.add(
            token.into(),
            Entry {
                principal,
                until_ms,
                bytes,
            },
        );
    }

    /// Forgets everything.
    pub fn remove_all(&mut self) {
        *self = Self::default();
    }

    /// How many tokens are remembered, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young
            .entries
            .len()
            .saturating_add(self.old.entries.len())
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory taken, in bytes as estimated.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.young.bytes.saturating_add(self.old.bytes)
    }

    fn add(&mut self, token: Box<str>, entry: Entry) {
        let bytes = self.young.bytes.saturating_add(entry.bytes);
        if self.young.entries.len() >= TOKENS_MAX / 2 || bytes > TOKENS_BYTES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        if entry.bytes > TOKENS_BYTES_MAX / 2 {
            return;
        }
        self.young.bytes = self.young.bytes.saturating_add(entry.bytes);
        self.young.entries.insert(token, entry);
    }
}

/// An estimate from above of the memory an entry takes, in bytes. The text of a token says little about it: a
/// list of small objects grows a hundredfold when parsed.
fn footprint(token: &str, principal: &Principal) -> usize {
    let lists = principal.groups.iter().chain(&principal.audiences);
    let texts = [&principal.email, &principal.client_id]
        .into_iter()
        .flatten()
        .chain([&principal.subject, &principal.issuer_id]);
    lists
        .chain(texts)
        .map(|text| text.len().saturating_add(VALUE_BYTES))
        .fold(
            ENTRY_BYTES.saturating_add(token.len()),
            usize::saturating_add,
        )
        .saturating_add(object_footprint(&principal.claims))
}

fn object_footprint(object: &Map<String, Value>) -> usize {
    object.iter().fold(OBJECT_BYTES, |sum, (name, value)| {
        sum.saturating_add(VALUE_BYTES)
            .saturating_add(name.len())
            .saturating_add(value_footprint(value))
    })
}

/// Recursion is bounded by the parser, which refuses more than 128 levels.
fn value_footprint(value: &Value) -> usize {
    let inside = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items
            .iter()
            .map(value_footprint)
            .fold(0, usize::saturating_add),
        Value::Object(object) => object_footprint(object),
    };
    inside.saturating_add(VALUE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::PrincipalKind;
    use serde_json::json;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn principal(expires_at_ms: u64) -> Rc<Principal> {
        Rc::new(Principal {
            kind: PrincipalKind::Person,
            subject: "acme|alice".into(),
            issuer_id: "acme".into(),
            expires_at_ms,
            ..Principal::anonymous()
        })
    }

    #[test]
    fn remembers_until_expiry() {
        let mut tokens = VerifiedTokens::new();
        let alice = principal(NOW_MS + 10);
        tokens.insert("t", Rc::clone(&alice), NOW_MS);
        assert!(Rc::ptr_eq(&tokens.get("t", NOW_MS + 9).unwrap(), &alice));
        assert_eq!(tokens.get("t2", NOW_MS), None);
        assert_eq!(tokens.get("t", NOW_MS + 10), None);
        assert_eq!((tokens.len(), tokens.bytes()), (0, 0));
        tokens.insert("t", alice, NOW_MS + 10);
        assert!(tokens.is_empty());
    }

    #[test]
    fn remembers_no_longer_than_keys_are_trusted() {
        let mut tokens = VerifiedTokens::new();
        tokens.insert("t", principal(u64::MAX), NOW_MS);
        assert!(tokens.get("t", NOW_MS + REMEMBERED_MS_MAX - 1).is_some());
        assert!(tokens.get("t", NOW_MS + REMEMBERED_MS_MAX).is_none());
    }

    #[test]
    fn never_remembers_the_anonymous() {
        let mut tokens = VerifiedTokens::new();
        tokens.insert("t", Rc::new(Principal::anonymous()), NOW_MS);
        assert!(tokens.is_empty());
    }

    #[test]
    fn keeps_what_is_used_within_the_bound() {
        let mut tokens = VerifiedTokens::new();
        let alice = principal(u64::MAX);
        tokens.insert("used", Rc::clone(&alice), NOW_MS);
        tokens.insert("unused", Rc::clone(&alice), NOW_MS);
        for number in 0..TOKENS_MAX * 3 {
            tokens.insert(&format!("t{number}"), Rc::clone(&alice), NOW_MS);
            assert!(tokens.len() <= TOKENS_MAX);
            if number % 100 == 0 {
                assert!(tokens.get("used", NOW_MS).is_some());
            }
        }
        assert!(tokens.get("unused", NOW_MS).is_none());
        let last = format!("t{}", TOKENS_MAX * 3 - 1);
        assert!(tokens.get(&last, NOW_MS).is_some());
        tokens.remove_all();
        assert!(tokens.is_empty() && tokens.get(&last, NOW_MS).is_none());
    }

    #[test]
    fn counts_bytes_as_parsed() {
        let mut tokens = VerifiedTokens::new();
        let list = vec![json!({ "a": 0 }); 1_000];
        let claims = Map::from_iter([("list".to_owned(), Value::Array(list))]);
        let heavy = Rc::new(Principal {
            claims,
            ..Rc::unwrap_or_clone(principal(u64::MAX))
        });
        for number in 0..200 {
            tokens.insert(&format!("t{number}"), Rc::clone(&heavy), NOW_MS);
            assert!(tokens.bytes() <= TOKENS_BYTES_MAX);
        }
        assert!((5..40).contains(&tokens.len()), "{}", tokens.len());
    }

    #[test]
    fn inserting_again_replaces() {
        let mut tokens = VerifiedTokens::new();
        tokens.insert("t", principal(NOW_MS + 10), NOW_MS);
        let bytes = tokens.bytes();
        tokens.insert("t", principal(NOW_MS + 20), NOW_MS);
        assert_eq!((tokens.len(), tokens.bytes()), (1, bytes));
        assert!(tokens.get("t", NOW_MS + 19).is_some());
    }
}
