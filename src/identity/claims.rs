//! What a verified token says, judged: who it speaks for, until when, and for whom it was made.
//!
//! Pure: no I/O and no clock. The audience is judged apart ([`check_audience`]) and on every request, because a
//! remembered principal may arrive at another portal than the one its token was made for.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::unverified::Verified;
use super::{Principal, PrincipalKind, TokenRefusal};
use crate::config::Issuer;

/// How far an issuer's clock may be off for `exp` and `nbf`, in milliseconds (RFC 7519 sections 4.1.4, 4.1.5).
pub const LEEWAY_MS: u64 = 30 * 1_000;
/// How far in the future `iat` may lie, in milliseconds. Beyond that no clock is right, and the token is not
/// to be trusted with its own times.
pub const ISSUED_AHEAD_MS_MAX: u64 = 5 * 60 * 1_000;
/// Most groups of one principal. Above, the token is refused: dropping some could drop the one that excludes.
pub const GROUPS_MAX: usize = 1_000;
/// Most audiences of one token.
pub const AUDIENCES_MAX: usize = 100;
/// Longest subject or client id, in bytes. `OpenID Connect` allows subjects of 255.
pub const NAME_BYTES_MAX: usize = 1_024;
/// Longest e-mail address, in bytes: 64 before the @ and 255 after it (RFC 5321 section 4.5.3.1).
pub const EMAIL_BYTES_MAX: usize = 320;

/// Marks the key of a service. See [`person_key`].
const SERVICE: &str = "service:";
/// Marks the key of a person whose subject looks like a marked key.
const PERSON: &str = "person:";

/// What a token is judged against.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The issuer whose key verified the token.
    pub issuer: &'a Issuer,
    /// The time, in Unix milliseconds.
    pub now_ms: u64,
}

/// All claims; a name that occurs twice is an error, as RFC 7519 section 4 permits. Readers that disagree on
/// which of two values counts are how a token comes to mean two things.
struct Claims(Map<String, Value>);

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Claims, A::Error> {
        let mut claims = Map::new();
        while let Some((name, value)) = entries.next_entry::<String, Value>()? {
            if claims.insert(name, value).is_some() {
                return Err(A::Error::custom("a claim occurs twice"));
            }
        }
        Ok(Claims(claims))
    }
}

/// Judges the claims of a token whose signature held, and says who its principal is.
///
/// # Errors
///
/// - `Malformed` if the payload is not an object of distinct claims, `exp` is missing, or a claim that is read
///   has the wrong type
/// - `UnknownIssuer` if `iss` is not the expected issuer's
/// - `Expired` from `exp` + [`LEEWAY_MS`] on (RFC 7519 section 4.1.4)
/// - `NotYetValid` before `nbf` - [`LEEWAY_MS`] (section 4.1.5) and before `iat` - [`ISSUED_AHEAD_MS_MAX`]
/// - `NoSubject` without a usable `sub`, and without the `common_name` of an Access service token
/// - `TooLong` for names, group lists and audience lists beyond their bounds
pub fn validate(
    verified: &Verified<'_>,
    expected: &Expected<'_>,
) -> Result<Principal, TokenRefusal> {
    let Claims(claims) =
        serde_json::from_slice(verified.payload()).map_err(|_| TokenRefusal::Malformed)?;
    if claims.get("iss").and_then(Value::as_str) != Some(expected.issuer.issuer.as_str()) {
        return Err(TokenRefusal::UnknownIssuer);
    }
    let expires_at_ms = check_times(&claims, expected.now_ms)?;
    let client_id = client_id(&claims)?;
    let (kind, key) = subject(&claims, client_id.as_deref())?;
    Ok(Principal {
        kind,
        subject: format!("{}|{key}", expected.issuer.id),
        email: email(&claims),
        groups: groups(&claims, &expected.issuer.groups_claim)?,
        client_id,
        issuer_id: expected.issuer.id.clone(),
        expires_at_ms,
        audiences: audiences(&claims)?,
        claims,
    })
}

/// Checks that a principal's token was made for one of these audiences, compared byte by byte (RFC 7519 section
/// 4.1.3). A token without audience was made for nobody in particular and is refused, and so is everything
/// where no audience is expected.
///
/// # Errors
///
/// `WrongAudience`.
pub fn check_audience(principal: &Principal, expected: &[&str]) -> Result<(), TokenRefusal> {
    let meant_for_us = principal
        .audiences
        .iter()
        .any(|audience| expected.contains(&audience.as_str()));
    if meant_for_us {
        Ok(())
    } else {
        Err(TokenRefusal::WrongAudience)
    }
}

/// Returns the expiry in Unix milliseconds.
fn check_times(claims: &Map<String, Value>, now_ms: u64) -> Result<u64, TokenRefusal> {
    let expires_at_ms = date_ms(claims, "exp")?.ok_or(TokenRefusal::Malformed)?;
    if now_ms >= expires_at_ms.saturating_add(LEEWAY_MS) {
        return Err(TokenRefusal::Expired);
    }
    let not_before_ms = date_ms(claims, "nbf")?.unwrap_or(0);
    let issued_at_ms = date_ms(claims, "iat")?.unwrap_or(0);
    if now_ms.saturating_add(LEEWAY_MS) < not_before_ms
        || now_ms.saturating_add(ISSUED_AHEAD_MS_MAX) < issued_at_ms
    {
        return Err(TokenRefusal::NotYetValid);
    }
    Ok(expires_at_ms)
}

fn date_ms(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, TokenRefusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(seconds)) => milliseconds(seconds)
            .map(Some)
            .ok_or(TokenRefusal::Malformed),
        Some(_) => Err(TokenRefusal::Malformed),
    }
}

/// `NumericDate` (RFC 7519 section 2): seconds, possibly with a fraction. Before 1970 becomes 0; what is beyond
/// the range becomes the end of time.
fn milliseconds(seconds: &Number) -> Option<u64> {
    if let Some(whole) = seconds.as_u64() {
        return Some(whole.saturating_mul(1_000));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from a float saturates, which is the meaning wanted here"
    )]
    seconds
        .as_f64()
        .map(|fractional| (fractional * 1_000.0) as u64)
}

/// The agent that acts: `azp` (`OpenID Connect` Core section 2), else `client_id` (RFC 9068 section 2.2).
fn client_id(claims: &Map<String, Value>) -> Result<Option<String>, TokenRefusal> {
    for name in ["azp", "client_id"] {
        match claims.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(id)) if id.is_empty() => {}
            Some(Value::String(id)) if is_plain(id) => return bounded(id).map(Some),
            Some(_) => return Err(TokenRefusal::Malformed),
        }
    }
    Ok(None)
}

/// Who the token speaks for: kind, and key within the issuer.
fn subject(
    claims: &Map<String, Value>,
    client_id: Option<&str>,
) -> Result<(PrincipalKind, String), TokenRefusal> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let sub = text("sub").ok_or(TokenRefusal::NoSubject)?;
    // Access leaves `sub` empty for service tokens and names the token in `common_name`.
    let (kind, name) = match sub {
        "" => (
            PrincipalKind::Service,
            text("common_name").unwrap_or_default(),
        ),
        // Client credentials: the client speaks for itself (RFC 9068 section 2.2).
        _ if client_id == Some(sub) => (PrincipalKind::Service, sub),
        _ => (PrincipalKind::Person, sub),
    };
    if name.is_empty() || !is_plain(name) {
        return Err(TokenRefusal::NoSubject);
    }
    let name = bounded(name)?;
    let key = match kind {
        PrincipalKind::Service => format!("{SERVICE}{name}"),
        PrincipalKind::Person | PrincipalKind::Anonymous => person_key(name),
    };
    Ok((kind, key))
}

/// A person's subject as it is, unless it begins like a marked key: so a person who may choose a subject cannot
/// become a service (the collision RFC 9068 section 5 warns of), and different subjects keep different keys.
fn person_key(sub: String) -> String {
    if sub.starts_with(SERVICE) || sub.starts_with(PERSON) {
        format!("{PERSON}{sub}")
    } else {
        sub
    }
}

/// No control characters: these names end up in keys, logs and pages.
fn is_plain(name: &str) -> bool {
    !name.chars().any(char::is_control)
}

fn bounded(name: &str) -> Result<String, TokenRefusal> {
    if name.len() > NAME_BYTES_MAX {
        return Err(TokenRefusal::TooLong);
    }
    Ok(name.to_owned())
}

/// The address rules match on: only if the issuer does not doubt it, and only if it has exactly one reading.
/// ASCII lower case, because folding other letters would let one address pass for another (the Kelvin sign
/// becomes a k).
fn email(claims: &Map<String, Value>) -> Option<String> {
    let verified = match claims.get("email_verified") {
        None | Some(Value::Bool(true)) => true,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        Some(_) => false,
    };
    let address = claims.get("email").and_then(Value::as_str)?;
    let (local, domain) = address.split_once('@')?;
    let one_reading = !local.is_empty()
        && !domain.is_empty()
        && !domain.contains('@')
        && address.len() <= EMAIL_BYTES_MAX
        && !address
            .chars()
            .any(|letter| letter.is_whitespace() || letter.is_control());
    (verified && one_reading).then(|| address.to_ascii_lowercase())
}

/// The groups named by a claim: a list of which only texts count, or one text. The claim's name is taken
/// whole first, since namespaced claims contain dots (`https://acme.example/groups`), then as a path.
fn groups(claims: &Map<String, Value>, name: &str) -> Result<Vec<String>, TokenRefusal> {
    let found = claims.get(name).or_else(|| at_path(claims, name));
    let groups: Vec<String> = match found {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .filter(|group| !group.is_empty())
            .map(str::to_owned)
            .collect(),
        Some(Value::String(group)) if !group.is_empty() => vec![group.clone()],
        _ => Vec::new(),
    };
    if groups.len() > GROUPS_MAX {
        return Err(TokenRefusal::TooLong);
    }
    Ok(groups)
}

fn at_path<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut steps = path.split('.');
    let first = claims.get(steps.next()?)?;
    steps.try_fold(first, |value, step| value.get(step))
}

/// One text or a list of texts (RFC 7519 section 4.1.3).
fn audiences(claims: &Map<String, Value>) -> Result<Vec<String>, TokenRefusal> {
    match claims.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::String(audience)) => Ok(vec![audience.clone()]),
        Some(Value::Array(items)) if items.len() > AUDIENCES_MAX => Err(TokenRefusal::TooLong),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| {
                item.as_str()
                    .map(str::to_owned)
                    .ok_or(TokenRefusal::Malformed)
            })
            .collect(),
        Some(_) => Err(TokenRefusal::Malformed),
    }
}

#[cfg(test)]
mod tests;
