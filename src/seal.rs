//! Values that leave the portal and must come back unchanged: cursors, request states and task ids.
//!
//! XChaCha20-Poly1305 with a random nonce. What a value is for (kind, principal, server, request) is not in it but in
//! its associated data, so a value presented by somebody else or for something else does not open; nor does one past its
//! expiry. All of these fail alike.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};

use crate::limits::{SEAL_LIFETIME_MS, SEALED_BYTES_MAX};

const NONCE_BYTES: usize = 24;
const EXPIRY_BYTES: usize = 8;

/// The portal's key for sealed values.
#[derive(Clone)]
pub struct Sealer {
    cipher: XChaCha20Poly1305,
}

/// What a sealed value is bound to.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// What kind of value: `cursor`, `request_state`, `task`.
    pub kind: &'a str,
    /// The principal's subject.
    pub principal: &'a str,
    /// The portal, or the server, it is good at.
    pub place: &'a str,
    /// The request it belongs to: method and target.
    pub request: &'a str,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Binding<'_> {
    /// Length-prefixed, so that no two bindings spell the same bytes.
    fn bytes(self) -> Vec<u8> {
        let mut out = Vec::new();
        for part in [self.kind, self.principal, self.place, self.request] {
            out.extend_from_slice(&(part.len() as u64).to_be_bytes());
            out.extend_from_slice(part.as_bytes());
        }
        out
    }
}

impl Sealer {
    /// From the worker secret: 32 bytes in base64url.
    #[must_use]
    pub fn from_secret(secret: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD
            .decode(secret.trim().trim_end_matches('='))
            .ok()?;
        let key: [u8; 32] = bytes.try_into().ok()?;
        Some(Self {
            cipher: XChaCha20Poly1305::new(&Key::from(key)),
        })
    }

    /// Seals a value for [`SEAL_LIFETIME_MS`]. `nonce` must be fresh random bytes.
    #[must_use]
    pub fn seal(
        &self,
        binding: Binding<'_>,
        value: &[u8],
        now_ms: u64,
        nonce: [u8; NONCE_BYTES],
    ) -> Option<String> {
        self.seal_for(SEAL_LIFETIME_MS, binding, value, now_ms, nonce)
    }

    /// Seals a value for a lifetime of its own, which the caller has bounded: for what outlives one conversation.
    #[must_use]
    pub fn seal_for(
        &self,
        lifetime_ms: u64,
        binding: Binding<'_>,
        value: &[u8],
        now_ms: u64,
        nonce: [u8; NONCE_BYTES],
    ) -> Option<String> {
        let mut plain = now_ms.saturating_add(lifetime_ms).to_be_bytes().to_vec();
        plain.extend_from_slice(value);
        let aad = binding.bytes();
        let sealed = self
            .cipher
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: &plain,
                    aad: &aad,
                },
            )
            .ok()?;
        let mut out = nonce.to_vec();
        out.extend_from_slice(&sealed);
        Some(URL_SAFE_NO_PAD.encode(out))
    }

    /// Opens a value, or nothing where it is not ours, not for this, or too old.
    #[must_use]
    pub fn open(&self, binding: Binding<'_>, sealed: &str, now_ms: u64) -> Option<Vec<u8>> {
        if sealed.len() > SEALED_BYTES_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        let aad = binding.bytes();
        let plain = self
            .cipher
            .decrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: sealed,
                    aad: &aad,
                },
            )
            .ok()?;
        let (expiry, value) = plain.split_at_checked(EXPIRY_BYTES)?;
        let expiry = u64::from_be_bytes(expiry.try_into().ok()?);
        (now_ms < expiry).then(|| value.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Binding<'static> = Binding {
        kind: "request_state",
        principal: "idp|alice",
        place: "jira",
        request: "tools/call get",
    };

    fn sealer() -> Sealer {
        Sealer::from_secret(&URL_SAFE_NO_PAD.encode([7_u8; 32])).expect("32 bytes")
    }

    #[test]
    fn what_is_sealed_opens_for_the_same_binding_until_it_expires() {
        let sealed = sealer()
            .seal(OURS, b"state", 1_000, [1; 24])
            .expect("seals");
        assert_eq!(
            sealer().open(OURS, &sealed, 1_001).as_deref(),
            Some(&b"state"[..])
        );
        assert_eq!(
            sealer()
                .open(OURS, &sealed, 1_000 + SEAL_LIFETIME_MS - 1)
                .as_deref(),
            Some(&b"state"[..])
        );
        assert_eq!(sealer().open(OURS, &sealed, 1_000 + SEAL_LIFETIME_MS), None);
    }

    #[test]
    fn any_other_binding_any_other_key_and_any_changed_byte_fail() {
        let sealed = sealer().seal(OURS, b"state", 0, [1; 24]).expect("seals");
        for other in [
            Binding {
                kind: "cursor",
                ..OURS
            },
            Binding {
                principal: "idp|bob",
                ..OURS
            },
            Binding {
                place: "wiki",
                ..OURS
            },
            Binding {
                request: "tools/call set",
                ..OURS
            },
            Binding {
                principal: "idp|alic",
                place: "ejira",
                ..OURS
            },
        ] {
            assert_eq!(sealer().open(other, &sealed, 1), None, "{other:?}");
        }
        let other_key = Sealer::from_secret(&URL_SAFE_NO_PAD.encode([8_u8; 32])).expect("32 bytes");
        assert_eq!(other_key.open(OURS, &sealed, 1), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(
                sealer().open(OURS, std::str::from_utf8(&changed).expect("ascii"), 1),
                None,
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_lifetime_of_its_own_ends_on_time() {
        for lifetime_ms in [1, SEAL_LIFETIME_MS * 2, u64::MAX] {
            let sealed = sealer().seal_for(lifetime_ms, OURS, b"task", 1_000, [1; 24]);
            let sealed = sealed.expect("seals");
            let ends_ms = 1_000_u64.saturating_add(lifetime_ms);
            let opens = |now_ms| sealer().open(OURS, &sealed, now_ms).is_some();
            assert!(opens(ends_ms - 1), "{lifetime_ms}");
            assert!(!opens(ends_ms), "{lifetime_ms}");
        }
    }

    #[test]
    fn keys_of_another_length_are_no_keys() {
        assert!(Sealer::from_secret("short").is_none());
        assert!(Sealer::from_secret(&URL_SAFE_NO_PAD.encode([0_u8; 31])).is_none());
    }

    #[test]
    fn oversized_values_are_not_even_decoded() {
        assert_eq!(
            sealer().open(OURS, &"A".repeat(SEALED_BYTES_MAX + 1), 1),
            None
        );
    }
}
