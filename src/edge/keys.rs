//! Issuers' keys and signatures: fetched as values, verified by `WebCrypto`.

use std::rc::Rc;

use wasm_bindgen::JsValue;
use worker::Env;

use super::web::AnswerBody;
use super::{isolate, web};
use crate::config::{Algorithm, Issuer};
use crate::identity::jwks::{KEY_SET_BYTES_MAX, Key, KeySetState};
use crate::identity::{KeySource, SignatureVerifier};

/// How long an issuer may take to give its keys.
const KEYS_MS_MAX: u64 = 5_000;

/// Imported keys kept.
const IMPORTED_KEYS_MAX: usize = 200;

/// The platform's keys.
pub(super) struct EdgeKeys {
    pub env: Rc<Env>,
}

impl SignatureVerifier for EdgeKeys {
    async fn verify(&self, key: &Key, algorithm: Algorithm, data: &[u8], signature: &[u8]) -> bool {
        let Some(imported) = imported(key, algorithm).await else {
            return false;
        };
        web::verify(&verification(algorithm), &imported, signature, data).await
    }
}

async fn imported(key: &Key, algorithm: Algorithm) -> Option<JsValue> {
    let id = format!("{algorithm:?} {}", key.jwk_json);
    if let Some(known) = isolate::with(|isolate| isolate.imported_keys.borrow().get(&id).cloned()) {
        return Some(known);
    }
    let imported = web::import_public_key(&key.jwk_json, &import(algorithm)).await?;
    isolate::with(|isolate| {
        let mut keys = isolate.imported_keys.borrow_mut();
        isolate::bound(&mut keys, IMPORTED_KEYS_MAX);
        keys.insert(id, imported.clone());
    });
    Some(imported)
}

fn import(algorithm: Algorithm) -> JsValue {
    match algorithm {
        Algorithm::Rs256 => {
            web::object([("name", "RSASSA-PKCS1-v1_5"), ("hash", "SHA-256")]).into()
        }
        Algorithm::Es256 => web::object([("name", "ECDSA"), ("namedCurve", "P-256")]).into(),
    }
}

fn verification(algorithm: Algorithm) -> JsValue {
    match algorithm {
        Algorithm::Rs256 => web::object([("name", "RSASSA-PKCS1-v1_5")]).into(),
        Algorithm::Es256 => web::object([("name", "ECDSA"), ("hash", "SHA-256")]).into(),
    }
}

impl KeySource for EdgeKeys {
    fn state(&self, issuer_id: &str) -> Option<Rc<KeySetState>> {
        isolate::with(|isolate| isolate.key_sets.borrow().get(issuer_id).cloned())
    }

    fn remember(&self, issuer_id: &str, state: Rc<KeySetState>) {
        isolate::with(|isolate| {
            isolate
                .key_sets
                .borrow_mut()
                .insert(issuer_id.to_owned(), state)
        });
    }

    async fn fetch(&self, issuer: &Issuer) -> Option<Vec<u8>> {
        let head = format!(
            "\n{}\nGET\naccept\napplication/json",
            issuer.jwks_url.as_str()
        );
        let request = web::Outgoing {
            head: &head,
            body: &[],
            timeout_ms: KEYS_MS_MAX,
            bytes_max: KEY_SET_BYTES_MAX,
        };
        let answer = web::send(&self.env, &request, None).await.ok()?;
        match answer.body {
            AnswerBody::Json { bytes, .. } => (answer.status == 200).then_some(bytes),
            AnswerBody::Events(stream) | AnswerBody::Other(stream) => {
                stream.cancel();
                None
            }
        }
    }
}
