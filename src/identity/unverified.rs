//! A token before its signature is checked: just enough of it to find the key that must have signed it.
//!
//! Nothing read here may decide anything but the choice of issuer and key. The claims become readable
//! only through [`Verified`], and a [`Verified`] comes into being only where a signature held.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_compact::UntrustedToken;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::jwks::Key;
use super::{SignatureVerifier, TokenRefusal};
use crate::config::Algorithm;

/// Longest token that is looked at, in bytes. Headers of 16 KiB are what servers accept in total.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Header types (`typ`) that name a token meant to authorise a request, compared without case and without
/// an `application/` prefix. Others (logout tokens, `DPoP` proofs, identity assertion grants) are signed by
/// the same keys for another purpose and must not be taken for one (RFC 8725 section 3.11).
const TOKEN_TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// Header fields beyond those `jwt_compact` names.
#[derive(Debug, Clone, Default, Deserialize)]
struct Extensions {
    /// Whether the header has a `crit` field, whatever its value.
    #[serde(default, deserialize_with = "presence")]
    crit: bool,
}

fn presence<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// The one claim that may be read early.
#[derive(Deserialize)]
struct IssuerClaim {
    #[serde(default)]
    iss: Option<String>,
}

/// A well-formed token whose signature has not been checked. See the module's warning.
#[derive(Debug)]
pub struct Unverified<'a> {
    token: UntrustedToken<'a, Extensions>,
    signed_data: &'a [u8],
    payload: Vec<u8>,
    issuer: String,
}

/// Splits a token in JWS compact form (RFC 7515 section 7.1) and reads who claims to have signed it.
///
/// # Errors
///
/// - `TooLong` above [`TOKEN_BYTES_MAX`]
/// - `Malformed` if it is not three parts of unpadded base64url, header and payload are not JSON objects, a
///   field that is read occurs twice, or `typ` names another kind of token
/// - `Critical` if the header has `crit`: no extension is understood here (RFC 7515 section 4.1.11)
/// - `UnknownIssuer` without an `iss` claim
pub fn parse(token: &str) -> Result<Unverified<'_>, TokenRefusal> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenRefusal::TooLong);
    }
    let parsed: UntrustedToken<'_, Extensions> =
        UntrustedToken::try_from(token).map_err(|_| TokenRefusal::Malformed)?;
    if parsed.header().other_fields.crit {
        return Err(TokenRefusal::Critical);
    }
    if !parsed
        .header()
        .token_type
        .as_deref()
        .is_none_or(is_token_type)
    {
        return Err(TokenRefusal::Malformed);
    }
    let (signed, _) = token.rsplit_once('.').ok_or(TokenRefusal::Malformed)?;
    let (_, payload) = signed.split_once('.').ok_or(TokenRefusal::Malformed)?;
    let payload = URL_SAFE_NO_PAD
        .decode(payload)
        .map_err(|_| TokenRefusal::Malformed)?;
    let claim: IssuerClaim =
        serde_json::from_slice(&payload).map_err(|_| TokenRefusal::Malformed)?;
    Ok(Unverified {
        token: parsed,
        signed_data: signed.as_bytes(),
        payload,
        issuer: claim.iss.ok_or(TokenRefusal::UnknownIssuer)?,
    })
}

fn is_token_type(typ: &str) -> bool {
    let lower = typ.to_ascii_lowercase();
    let subtype = lower.strip_prefix("application/").unwrap_or(&lower);
    TOKEN_TYPES.contains(&subtype)
}

impl<'a> Unverified<'a> {
    /// The `iss` claim: who is said to have signed this.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The `kid` header field: which of the issuer's keys is said to have signed this.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.token.header().key_id.as_deref()
    }

    /// The `alg` header field. To be compared with what the issuer is allowed to use, never to be followed.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        self.token.algorithm()
    }

    /// The bytes under the signature: encoded header, a dot, encoded payload (RFC 7515 section 5.2).
    #[must_use]
    pub fn signed_data(&self) -> &[u8] {
        self.signed_data
    }

    /// The decoded signature, of any length.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        self.token.signature_bytes()
    }

    /// Checks the signature and turns the token into a proof that it held. There is no other way to a
    /// [`Verified`].
    ///
    /// # Errors
    ///
    /// - `UnknownKey` if the key is not one for this algorithm
    /// - `BadSignature` if the length is not the key's (RFC 7518 sections 3.3 and 3.4: 64 bytes for ES256, the
    ///   modulus' length for RS256) or the verifier says no
    pub(super) async fn prove<V: SignatureVerifier>(
        self,
        verifier: &V,
        key: &Key,
        algorithm: Algorithm,
    ) -> Result<Verified<'a>, TokenRefusal> {
        if key.algorithm != algorithm {
            return Err(TokenRefusal::UnknownKey);
        }
        // Refused before the platform is asked: crossing to WebCrypto is what costs.
        if self.signature().len() != key.signature_bytes {
            return Err(TokenRefusal::BadSignature);
        }
        let holds = verifier
            .verify(key, algorithm, self.signed_data(), self.signature())
            .await;
        if holds {
            Ok(Verified { token: self })
        } else {
            Err(TokenRefusal::BadSignature)
        }
    }
}

/// A token whose signature held against a key of its issuer. What its claims say is still to be judged.
#[derive(Debug)]
pub struct Verified<'a> {
    token: Unverified<'a>,
}

impl Verified<'_> {
    /// The decoded payload: JSON text.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.token.payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(header: &str, payload: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(header), part(payload), part("sig"))
    }

    fn refusal(token: &str) -> TokenRefusal {
        parse(token).expect_err("must be refused")
    }

    #[test]
    fn reads_only_what_chooses_the_key() {
        let text = token(
            r#"{"alg":"RS256","kid":"k1","typ":"JWT","x5t":"lDpwLQbzRZmu4fjajvn3KWAx1pk"}"#,
            r#"{"iss":"https://idp.example","sub":"a"}"#,
        );
        let parsed = parse(&text).unwrap();
        assert_eq!(parsed.issuer(), "https://idp.example");
        assert_eq!(parsed.key_id(), Some("k1"));
        assert_eq!(parsed.algorithm(), "RS256");
        assert_eq!(parsed.signature(), b"sig");
        let signed = String::from_utf8(parsed.signed_data().to_vec()).unwrap();
        assert_eq!(text, format!("{signed}.{}", URL_SAFE_NO_PAD.encode("sig")));
    }

    #[test]
    fn accepts_the_types_of_access_tokens_only() {
        for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT"] {
            let text = token(
                &format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#),
                r#"{"iss":"i"}"#,
            );
            assert!(parse(&text).is_ok(), "{typ}");
        }
        for typ in ["logout+jwt", "dpop+jwt", "oauth-id-jag+jwt", ""] {
            let text = token(
                &format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#),
                r#"{"iss":"i"}"#,
            );
            assert_eq!(refusal(&text), TokenRefusal::Malformed, "{typ}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_token() {
        let good = token(r#"{"alg":"RS256"}"#, r#"{"iss":"i"}"#);
        for text in [
            String::new(),
            "a.b".into(),
            "...".into(),
            format!("{good}.x"),
            format!("{good}="),
            format!(" {good}"),
            token("[]", r#"{"iss":"i"}"#),
            token("{}", r#"{"iss":"i"}"#),
            token(r#"{"alg":5}"#, r#"{"iss":"i"}"#),
            token(r#"{"alg":"RS256","kid":7}"#, r#"{"iss":"i"}"#),
            token(r#"{"alg":"RS256","alg":"ES256"}"#, r#"{"iss":"i"}"#),
            token(r#"{"alg":"RS256","cty":"JWT"}"#, r#"{"iss":"i"}"#),
            token(r#"{"alg":"RS256"}"#, "not json"),
            token(r#"{"alg":"RS256"}"#, r#"{"iss":"i"} x"#),
            token(r#"{"alg":"RS256"}"#, r#"{"iss":"i","iss":"j"}"#),
            token(r#"{"alg":"RS256"}"#, r#"{"iss":["i"]}"#),
        ] {
            assert_eq!(refusal(&text), TokenRefusal::Malformed, "{text}");
        }
        assert_eq!(
            refusal(&token(r#"{"alg":"RS256"}"#, "{}")),
            TokenRefusal::UnknownIssuer
        );
    }

    #[test]
    fn refuses_any_critical_extension() {
        for crit in [r#"["b64"]"#, "[]", "null", "true"] {
            let header = format!(r#"{{"alg":"RS256","crit":{crit}}}"#);
            assert_eq!(
                refusal(&token(&header, r#"{"iss":"i"}"#)),
                TokenRefusal::Critical
            );
        }
    }

    #[test]
    fn refuses_one_byte_too_many() {
        let long = "a".repeat(TOKEN_BYTES_MAX + 1);
        assert_eq!(refusal(&long), TokenRefusal::TooLong);
        assert_eq!(
            refusal(long.strip_prefix('a').unwrap()),
            TokenRefusal::Malformed
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*", header in any::<Vec<u8>>(), payload in any::<Vec<u8>>()) {
            let _ = parse(&text);
            let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let _ = parse(&format!("{}.{}.", part(&header), part(&payload)));
        }

        #[test]
        fn never_panics_on_odd_header_fields(x5t in "\\PC{0,60}", kid in "\\PC*") {
            let header = serde_json::json!({ "alg": "RS256", "x5t": x5t, "x5t#S256": x5t, "kid": kid });
            let _ = parse(&token(&header.to_string(), r#"{"iss":"i"}"#));
        }
    }
}
