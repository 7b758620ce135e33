//! The web platform as this worker uses it: a handful of calls, each crossing the boundary once.

use js_sys::{ArrayBuffer, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{RequestInit, Response, ResponseInit};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = fetch)]
    fn global_fetch(url: &str, init: &RequestInit) -> Promise;

    #[wasm_bindgen(catch, js_namespace = crypto, js_name = getRandomValues)]
    fn get_random_values(bytes: &mut [u8]) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(catch, js_namespace = ["crypto", "subtle"], js_name = importKey)]
    fn import_key(
        format: &str,
        key: &JsValue,
        algorithm: &JsValue,
        extractable: bool,
        usages: &JsValue,
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_namespace = ["crypto", "subtle"], js_name = verify)]
    fn subtle_verify(
        algorithm: &JsValue,
        key: &JsValue,
        signature: &[u8],
        data: &[u8],
    ) -> Result<Promise, JsValue>;

    /// A service binding.
    pub(super) type Service;

    #[wasm_bindgen(method, js_name = fetch)]
    fn service_fetch(this: &Service, url: &str, init: &RequestInit) -> Promise;
}

/// Fetches from the network.
pub(super) fn fetch(url: &str, init: &RequestInit) -> Promise {
    global_fetch(url, init)
}

/// Fetches from a service binding.
pub(super) fn fetch_service(service: &Service, url: &str, init: &RequestInit) -> Promise {
    service.service_fetch(url, init)
}

/// A service binding by name.
pub(super) fn service(env: &worker::Env, name: &str) -> Option<Service> {
    let value = Reflect::get(env.as_ref(), &JsValue::from_str(name)).ok()?;
    (!value.is_undefined()).then(|| value.unchecked_into())
}

/// Fills a buffer with random bytes.
pub(super) fn random(bytes: &mut [u8]) {
    // Refused only for more than 65,536 bytes, which nothing here asks for.
    let _ = get_random_values(bytes);
}

/// Imports a public key for verification; nothing where the platform refuses it.
pub(super) async fn import_public_key(jwk_json: &str, algorithm: &JsValue) -> Option<JsValue> {
    let jwk = js_sys::JSON::parse(jwk_json).ok()?;
    let usages = js_sys::Array::of1(&JsValue::from_str("verify"));
    let promise = import_key("jwk", &jwk, algorithm, false, &usages).ok()?;
    wasm_bindgen_futures::JsFuture::from(promise).await.ok()
}

/// Verifies a signature.
pub(super) async fn verify(
    algorithm: &JsValue,
    key: &JsValue,
    signature: &[u8],
    data: &[u8],
) -> bool {
    let Ok(promise) = subtle_verify(algorithm, key, signature, data) else {
        return false;
    };
    wasm_bindgen_futures::JsFuture::from(promise)
        .await
        .is_ok_and(|held| held.is_truthy())
}

/// A plain object of strings.
pub(super) fn object<'s>(members: impl IntoIterator<Item = (&'s str, &'s str)>) -> Object {
    let object = Object::new();
    for (key, value) in members {
        let _ = Reflect::set(&object, &JsValue::from_str(key), &JsValue::from_str(value));
    }
    object
}

/// A response with a body that is bytes of ours.
pub(super) fn respond_bytes(body: &[u8], init: &ResponseInit) -> Option<Response> {
    let body = Uint8Array::from(body);
    Response::new_with_opt_buffer_source_and_init(Some(&body), init).ok()
}

/// A response with a body that the platform already holds.
pub(super) fn respond_buffer(body: &ArrayBuffer, init: &ResponseInit) -> Option<Response> {
    Response::new_with_opt_buffer_source_and_init(Some(body), init).ok()
}

thread_local! {
    /// The head of nearly every answer, made once.
    static JSON_OK: ResponseInit = {
        let init = ResponseInit::new();
        init.set_status(200);
        init.set_headers(&object([("content-type", "application/json"), ("cache-control", "no-store")]));
        init
    };
}

/// Uses the head of a plain JSON answer.
pub(super) fn with_json_ok<T>(use_it: impl FnOnce(&ResponseInit) -> T) -> T {
    JSON_OK.with(use_it)
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = AbortSignal, js_name = any)]
    fn abort_signal_any(signals: &js_sys::Array) -> Result<web_sys::AbortSignal, JsValue>;
}

/// A signal that fires with the first of several.
pub(super) fn any_signal(signals: &[&web_sys::AbortSignal]) -> Option<web_sys::AbortSignal> {
    abort_signal_any(&signals.iter().copied().collect()).ok()
}
