//! Issuers' keys and signatures: fetched as values, verified by `WebCrypto`.

use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};
use js_sys::{Object, Reflect};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{RequestInit, RequestRedirect, Response};
use worker::Delay;

use super::{isolate, web};
use crate::config::{Algorithm, Issuer};
use crate::identity::jwks::{Key, KeySetState};
use crate::identity::{KeySource, SignatureVerifier};

/// How long an issuer may take to give its keys.
const KEYS_MS_MAX: u64 = 5_000;

/// Imported keys kept.
const IMPORTED_KEYS_MAX: usize = 200;

/// The platform's keys.
pub(super) struct EdgeKeys;

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
        Algorithm::Es256 => {
            let algorithm: Object = web::object([("name", "ECDSA"), ("hash", "SHA-256")]);
            algorithm.into()
        }
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
        let alarm = Delay::from(Duration::from_millis(KEYS_MS_MAX));
        match select(Box::pin(fetch_keys(issuer)), alarm).await {
            Either::Left((body, _)) => body,
            Either::Right(_) => None,
        }
    }
}

/// A key set that is larger than the parser's bound is cut off one byte beyond it, for the parser to refuse.
async fn fetch_keys(issuer: &Issuer) -> Option<Vec<u8>> {
    let init = RequestInit::new();
    init.set_method("GET");
    init.set_headers(&web::object([("accept", "application/json")]));
    init.set_redirect(RequestRedirect::Manual);
    let response = JsFuture::from(web::fetch(issuer.jwks_url.as_str(), &init))
        .await
        .ok()?;
    let response: Response = response.unchecked_into();
    if response.status() != 200 {
        return None;
    }
    let reader: web_sys::ReadableStreamDefaultReader =
        response.body()?.get_reader().unchecked_into();
    let mut body = Vec::new();
    loop {
        let read = JsFuture::from(reader.read()).await.ok()?;
        if Reflect::get(&read, &JsValue::from_str("done"))
            .ok()?
            .is_truthy()
        {
            return Some(body);
        }
        let chunk = Reflect::get(&read, &JsValue::from_str("value")).ok()?;
        body.extend_from_slice(&js_sys::Uint8Array::new(&chunk).to_vec());
        if body.len() > crate::identity::jwks::KEY_SET_BYTES_MAX {
            return Some(body);
        }
    }
}
