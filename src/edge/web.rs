//! The web platform as this worker uses it: a handful of calls, each crossing the boundary once.

use std::cell::RefCell;

use js_sys::{ArrayBuffer, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Request, Response, ResponseInit};
use worker::Env;

use super::turn::Waiting;

#[wasm_bindgen(module = "/src/edge/glue.js")]
extern "C" {
    fn head(request: &Request) -> String;

    #[wasm_bindgen(js_name = readBody)]
    fn read_body(slot: u32, request: &Request, is_length_known: bool, bytes_max: f64);

    fn exchange(
        slot: u32,
        env: &JsValue,
        head: &str,
        body: &[u8],
        timeout_ms: f64,
        bytes_max: f64,
        client_gone: Option<&AbortSignal>,
    );

    fn abandon(slot: u32);

    /// An upstream's body that is not JSON.
    #[derive(Clone)]
    pub(super) type Stream;

    #[wasm_bindgen(method, js_name = chunk)]
    fn next_chunk(this: &Stream, timeout_ms: f64) -> Promise;

    #[wasm_bindgen(method)]
    pub(super) fn cancel(this: &Stream);

    #[wasm_bindgen(js_name = askObject)]
    fn ask_object(
        slot: u32,
        env: &JsValue,
        binding: &str,
        name: &str,
        method: &str,
        body: Option<&[u8]>,
    );

    #[wasm_bindgen(js_name = readRows)]
    fn read_rows(slot: u32, env: &JsValue, sql: &str, values: &str);

    #[wasm_bindgen(catch, js_name = callObject)]
    fn call_object(
        env: &JsValue,
        binding: &str,
        name: &str,
        method: &str,
        header_name: Option<&str>,
        header_value: Option<&str>,
        body: &[u8],
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(js_name = handOver)]
    fn hand_over_to(
        slot: u32,
        env: &JsValue,
        binding: &str,
        name: &str,
        header_name: &str,
        header_value: &str,
        body: &[u8],
        lost: &str,
    );

    #[wasm_bindgen(js_name = jsonResponse)]
    pub(super) fn json_response(body: &ArrayBuffer) -> Response;

    #[wasm_bindgen(js_name = jsonResponseOf)]
    pub(super) fn json_response_of(body: &[u8]) -> Response;
}

#[wasm_bindgen]
extern "C" {
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
}

/// What a request's head says, as far as the edge reads it.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    pub method: String,
    pub url: String,
    pub authorization: Option<String>,
    pub content_type: Option<String>,
    pub content_length: Option<String>,
    pub accept: Option<String>,
    pub origin: Option<String>,
    pub protocol_version: Option<String>,
    pub mcp_method: Option<String>,
    pub mcp_name: Option<String>,
    pub session_id: Option<String>,
    pub last_event_id: Option<String>,
    pub access_assertion: Option<String>,
    /// A header is longer than any the edge reads: the request is refused, not read without it.
    pub is_too_long: bool,
}

/// Header values beyond this are nobody's.
const HEADER_BYTES_MAX: usize = 16 * 1024;

impl Head {
    /// Reads it.
    pub(super) fn of(request: &Request) -> Self {
        let text = head(request);
        let mut lines = text.split('\n');
        let mut plain = || lines.next().unwrap_or_default().to_owned();
        let (method, url) = (plain(), plain());
        let mut is_too_long = false;
        let mut header = || {
            let value = present(lines.next()?)?;
            is_too_long |= value.len() > HEADER_BYTES_MAX;
            Some(value)
        };
        Self {
            method,
            url,
            authorization: header(),
            content_type: header(),
            content_length: header(),
            accept: header(),
            origin: header(),
            protocol_version: header(),
            mcp_method: header(),
            mcp_name: header(),
            session_id: header(),
            last_event_id: header(),
            access_assertion: header(),
            is_too_long,
        }
    }
}

/// A header's value, where the glue found one.
pub(super) fn present(value: &str) -> Option<String> {
    (value != "\u{0}").then(|| value.to_owned())
}

/// A request's body; nothing beyond the bound, an error where it broke off.
#[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^53")]
pub(super) async fn body(
    request: &Request,
    is_length_known: bool,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, ()> {
    let reading = Waiting::new(|slot| read_body(slot, request, is_length_known, bytes_max as f64));
    match reading.await {
        Ok(settled) => Ok(settled.bytes),
        Err(word) if word == "too large" => Ok(None),
        Err(_) => Err(()),
    }
}

/// One request to an upstream.
pub(super) struct Outgoing<'a> {
    /// The service binding, or nothing, then the address, the method, and headers' names and values, a line each.
    pub head: &'a str,
    pub body: &'a [u8],
    pub timeout_ms: u64,
    pub bytes_max: usize,
}

/// An upstream's answer.
pub(super) struct Answer {
    pub status: u16,
    pub session_id: Option<String>,
    pub retry_after_s: Option<u32>,
    pub body: AnswerBody,
}

/// Its body.
pub(super) enum AnswerBody {
    /// All of it, twice: to look at, and to pass on.
    Json {
        bytes: Vec<u8>,
        original: ArrayBuffer,
    },
    Events(Stream),
    Other(Stream),
}

/// Sends it. The error is a word: what went wrong.
#[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^53")]
pub(super) async fn send(
    env: &Env,
    outgoing: &Outgoing<'_>,
    client_gone: Option<&AbortSignal>,
) -> Result<Answer, String> {
    let Outgoing {
        head,
        body,
        timeout_ms,
        bytes_max,
    } = *outgoing;
    let (timeout_ms, bytes_max) = (timeout_ms as f64, bytes_max as f64);
    let sending = Waiting::new(|slot| {
        exchange(
            slot,
            env.as_ref(),
            head,
            body,
            timeout_ms,
            bytes_max,
            client_gone,
        );
    });
    let mut watched = Watched {
        slot: sending.slot(),
        // With a client's signal the exchange ends with the client.
        is_over: client_gone.is_some(),
    };
    let settled = sending.await;
    watched.is_over = true;
    let settled = settled?;
    let mut lines = settled.text.split('\n');
    let status = lines.next().and_then(|status| status.parse().ok());
    let is_events = lines.next() == Some("events");
    Ok(Answer {
        status: status.unwrap_or_default(),
        session_id: lines.next().and_then(present),
        retry_after_s: lines.next().and_then(|seconds| seconds.parse().ok()),
        body: match settled.bytes {
            Some(bytes) => AnswerBody::Json {
                bytes,
                original: settled.handle.unchecked_into(),
            },
            None if is_events => AnswerBody::Events(settled.handle.unchecked_into()),
            None => AnswerBody::Other(settled.handle.unchecked_into()),
        },
    })
}

/// Ends an exchange that nobody waits for any more.
struct Watched {
    slot: u32,
    is_over: bool,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.is_over {
            abandon(self.slot);
        }
    }
}

/// The next chunk of an upstream's stream; nothing at its end.
#[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^53")]
pub(super) async fn chunk(stream: &Stream, timeout_ms: u64) -> Result<Option<Vec<u8>>, String> {
    match JsFuture::from(stream.next_chunk(timeout_ms as f64)).await {
        Ok(chunk) => Ok(chunk.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec)),
        Err(fault) => Err(fault.as_string().unwrap_or_default()),
    }
}

/// Asks a Durable Object: GET without a body, POST with one. Its answer's status and text.
pub(super) async fn ask(
    env: &Env,
    binding: &str,
    name: &str,
    body: Option<&[u8]>,
) -> Option<(u16, String)> {
    let method = if body.is_some() { "POST" } else { "GET" };
    let asking = Waiting::new(|slot| ask_object(slot, env.as_ref(), binding, name, method, body));
    let settled = asking.await.ok()?;
    let (status, text) = settled.text.split_once('\n')?;
    Some((status.parse().ok()?, text.to_owned()))
}

/// Reads rows from D1. `values` is a JSON array. What the rows call `body` is in the bytes, one after the other, and the
/// column holds its length.
pub(super) async fn rows<Row: serde::de::DeserializeOwned>(
    env: &Env,
    sql: &str,
    values: &str,
) -> Option<(Vec<Row>, Vec<u8>)> {
    let reading = Waiting::new(|slot| read_rows(slot, env.as_ref(), sql, values));
    let settled = reading.await.ok()?;
    let rows = serde_json::from_str(&settled.text).ok()?;
    Some((rows, settled.bytes.unwrap_or_default()))
}

/// A request to a Durable Object.
pub(super) struct ObjectCall<'a> {
    pub binding: &'a str,
    pub name: &'a str,
    pub method: &'a str,
    pub header: Option<(&'a str, &'a str)>,
    pub body: &'a [u8],
}

/// Calls it.
pub(super) async fn object_call(env: &Env, call: &ObjectCall<'_>) -> Option<Response> {
    let (name, value) = call.header.unzip();
    let promise = call_object(
        env.as_ref(),
        call.binding,
        call.name,
        call.method,
        name,
        value,
        call.body,
    )
    .ok()?;
    JsFuture::from(promise)
        .await
        .ok()
        .map(JsCast::unchecked_into)
}

/// Has an object answer in the worker's place. Should it end before its stream does, `lost` is the last message.
pub(super) async fn hand_over(env: &Env, call: &ObjectCall<'_>, lost: &[u8]) -> Option<Response> {
    let (name, value) = call.header.unzip();
    let lost = String::from_utf8_lossy(lost);
    let handing = Waiting::new(|slot| {
        hand_over_to(
            slot,
            env.as_ref(),
            call.binding,
            call.name,
            name.unwrap_or_default(),
            value.unwrap_or_default(),
            call.body,
            &lost,
        );
    });
    Some(handing.await.ok()?.handle.unchecked_into())
}

thread_local! {
    static RANDOM: RefCell<(Vec<u8>, usize)> = const { RefCell::new((Vec::new(), 0)) };
}

/// Random bytes are drawn in one go for many requests; none is used twice.
const RANDOM_POOL_BYTES: usize = 4096;

/// Fills a buffer with random bytes.
pub(super) fn random(bytes: &mut [u8]) {
    RANDOM.with(|pool| {
        let mut pool = pool.borrow_mut();
        let (pool, at) = &mut *pool;
        if pool.len().saturating_sub(*at) < bytes.len() {
            pool.resize(RANDOM_POOL_BYTES.max(bytes.len()), 0);
            // Refused only for more than 65,536 bytes, which nothing here asks for.
            let _ = get_random_values(pool);
            *at = 0;
        }
        let end = at.saturating_add(bytes.len());
        if let Some(fresh) = pool.get_mut(*at..end) {
            bytes.copy_from_slice(fresh);
            fresh.fill(0);
        }
        *at = end;
    });
}

/// Imports a public key for verification; nothing where the platform refuses it.
pub(super) async fn import_public_key(jwk_json: &str, algorithm: &JsValue) -> Option<JsValue> {
    let jwk = js_sys::JSON::parse(jwk_json).ok()?;
    let usages = js_sys::Array::of1(&JsValue::from_str("verify"));
    let promise = import_key("jwk", &jwk, algorithm, false, &usages).ok()?;
    JsFuture::from(promise).await.ok()
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
    JsFuture::from(promise)
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

/// A response with a head that is not the usual one.
pub(super) fn respond<'s>(
    status: u16,
    headers: impl IntoIterator<Item = (&'s str, &'s str)>,
    body: Option<&[u8]>,
) -> Option<Response> {
    let init = ResponseInit::new();
    init.set_status(status);
    init.set_headers(&object(headers));
    match body {
        Some(body) => {
            Response::new_with_opt_buffer_source_and_init(Some(&Uint8Array::from(body)), &init).ok()
        }
        None => Response::new_with_opt_str_and_init(None, &init).ok(),
    }
}

/// A response with a stream.
pub(super) fn respond_stream<'s>(
    headers: impl IntoIterator<Item = (&'s str, &'s str)>,
    stream: &web_sys::ReadableStream,
) -> Option<Response> {
    let init = ResponseInit::new();
    init.set_status(200);
    init.set_headers(&object(headers));
    Response::new_with_opt_readable_stream_and_init(Some(stream), &init).ok()
}
