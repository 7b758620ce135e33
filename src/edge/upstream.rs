//! Requests to upstream servers, over the network or a service binding: with that server's own credential, without
//! redirects, within its time-out.

use std::time::Duration;

use futures::future::{Either, select};
use js_sys::{ArrayBuffer, Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, AbortSignal, ReadableStreamDefaultReader, RequestInit, RequestRedirect,
    Response,
};
use worker::{Delay, Env};

use super::ports::EdgePorts;
use super::web;
use crate::config::{Auth, Server, Target};
use crate::error::UpstreamFault;
use crate::policy::Permit;
use crate::portal::ports::{BodyKind, Outbound, UpstreamBody, UpstreamReply, Verb, Whole};

/// A body of an upstream, unread.
pub(super) struct EdgeBody {
    response: Response,
    reader: Option<ReadableStreamDefaultReader>,
    length: Option<usize>,
    timeout_ms: u64,
    _cancel: CancelOnDrop,
}

/// Ends a request nobody waits for any more: its connection is one of six.
struct CancelOnDrop {
    controller: Option<AbortController>,
}

impl CancelOnDrop {
    fn disarm(&mut self) {
        self.controller = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(controller) = self.controller.take() {
            controller.abort();
        }
    }
}

/// Sends one request.
pub(super) async fn send(
    ports: &EdgePorts,
    _permit: &Permit,
    server: &Server,
    request: Outbound,
) -> Result<UpstreamReply<EdgeBody>, UpstreamFault> {
    let controller = AbortController::new().map_err(|_| UpstreamFault::Unreachable)?;
    let init = request_init(&ports.env, server, &request, &signal(ports, &controller))?;
    let promise = match &server.target {
        Target::Url(url) => web::fetch(url.as_str(), &init),
        Target::Binding { name, path } => {
            let service = web::service(&ports.env, name).ok_or(UpstreamFault::Unreachable)?;
            // A binding has no address; the host tells the server which way the request came.
            web::fetch_service(&service, &format!("https://binding.internal{path}"), &init)
        }
    };
    let cancel = CancelOnDrop {
        controller: Some(controller),
    };
    let alarm = Delay::from(Duration::from_millis(request.timeout_ms));
    let response: Response = match select(JsFuture::from(promise), alarm).await {
        Either::Left((Ok(response), _)) => response.unchecked_into(),
        Either::Left((Err(_), _)) => return Err(UpstreamFault::Unreachable),
        Either::Right(_) => return Err(UpstreamFault::TimedOut(request.timeout_ms)),
    };
    let headers = response.headers();
    let header = |name: &str| headers.get(name).ok().flatten();
    let kind = body_kind(header("content-type").as_deref().unwrap_or_default());
    let is_legacy = request.headers.iter().all(|(name, _)| name != "Mcp-Method");
    Ok(UpstreamReply {
        status: response.status(),
        kind,
        session_id: if is_legacy {
            header("mcp-session-id")
        } else {
            None
        },
        retry_after_s: if response.status() == 429 {
            header("retry-after").and_then(|s| s.parse().ok())
        } else {
            None
        },
        body: EdgeBody {
            length: header("content-length").and_then(|length| length.parse().ok()),
            response,
            reader: None,
            timeout_ms: request.timeout_ms,
            _cancel: cancel,
        },
    })
}

/// Ends the upstream request when the client goes away or nobody waits for it any more.
fn signal(ports: &EdgePorts, controller: &AbortController) -> AbortSignal {
    let own = controller.signal();
    let Some(client) = &ports.client_gone else {
        return own;
    };
    web::any_signal(&[client, &own]).unwrap_or(own)
}

fn request_init(
    env: &Env,
    server: &Server,
    request: &Outbound,
    signal: &AbortSignal,
) -> Result<RequestInit, UpstreamFault> {
    let init = RequestInit::new();
    init.set_method(match request.verb {
        Verb::Post => "POST",
        Verb::Get => "GET",
        Verb::Delete => "DELETE",
    });
    let headers = Object::new();
    let set = |name: &str, value: &str| {
        let _ = Reflect::set(
            &headers,
            &JsValue::from_str(name),
            &JsValue::from_str(value),
        );
    };
    for (name, value) in &request.headers {
        set(name, value);
    }
    for (name, value) in credential(env, server)? {
        set(&name, &value);
    }
    init.set_headers(&headers);
    if request.verb == Verb::Post {
        init.set_body(&Uint8Array::from(request.body.as_slice()));
    }
    init.set_redirect(RequestRedirect::Manual);
    init.set_signal(Some(signal));
    Ok(init)
}

/// The server's own credential, from the worker's secrets. Which host a secret may go to was checked with the
/// configuration, against a variable the configuration cannot change.
fn credential(env: &Env, server: &Server) -> Result<Vec<(String, String)>, UpstreamFault> {
    let secret = |name: &str| {
        env.secret(name)
            .map(|value| value.to_string())
            .map_err(|_| {
                worker::console_error!(
                    "the secret {name} that server '{}' needs is not set",
                    server.id
                );
                UpstreamFault::NoCredential
            })
    };
    match &server.auth {
        Auth::None => Ok(Vec::new()),
        Auth::Bearer { secret: name } => Ok(vec![(
            "Authorization".to_owned(),
            format!("Bearer {}", secret(name)?),
        )]),
        Auth::Headers(headers) => headers
            .iter()
            .map(|(header, name)| Ok((header.clone(), secret(name)?)))
            .collect(),
    }
}

fn body_kind(content_type: &str) -> BodyKind {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        BodyKind::Json
    } else if essence.eq_ignore_ascii_case("text/event-stream") {
        BodyKind::Events
    } else {
        BodyKind::Other
    }
}

impl UpstreamBody for EdgeBody {
    type Original = ArrayBuffer;

    async fn whole(mut self, bytes_max: usize) -> Result<Whole<ArrayBuffer>, UpstreamFault> {
        if self.length.is_some_and(|length| length > bytes_max) {
            return Err(UpstreamFault::TooLarge);
        }
        if self.length.is_none() {
            return self.collect(bytes_max).await;
        }
        let promise = self
            .response
            .array_buffer()
            .map_err(|_| UpstreamFault::Cut)?;
        let alarm = Delay::from(Duration::from_millis(self.timeout_ms));
        let original: ArrayBuffer = match select(JsFuture::from(promise), alarm).await {
            Either::Left((Ok(buffer), _)) => buffer.unchecked_into(),
            Either::Left((Err(_), _)) => return Err(UpstreamFault::Cut),
            Either::Right(_) => return Err(UpstreamFault::TimedOut(self.timeout_ms)),
        };
        self._cancel.disarm();
        Ok(Whole {
            bytes: Uint8Array::new(&original).to_vec(),
            original,
        })
    }

    async fn chunk(&mut self) -> Option<Result<Vec<u8>, UpstreamFault>> {
        let reader = match &self.reader {
            Some(reader) => reader.clone(),
            None => {
                let reader: ReadableStreamDefaultReader =
                    self.response.body()?.get_reader().unchecked_into();
                self.reader = Some(reader.clone());
                reader
            }
        };
        let alarm = Delay::from(Duration::from_millis(self.timeout_ms));
        let read = match select(JsFuture::from(reader.read()), alarm).await {
            Either::Left((Ok(read), _)) => read,
            Either::Left((Err(_), _)) => return Some(Err(UpstreamFault::Cut)),
            Either::Right(_) => return Some(Err(UpstreamFault::TimedOut(self.timeout_ms))),
        };
        let member = |name: &str| Reflect::get(&read, &JsValue::from_str(name)).unwrap_or_default();
        if member("done").is_truthy() {
            self._cancel.disarm();
            return None;
        }
        Some(Ok(Uint8Array::new(&member("value")).to_vec()))
    }
}

impl EdgeBody {
    /// Reads a body of unknown length, never more than the bound.
    async fn collect(mut self, bytes_max: usize) -> Result<Whole<ArrayBuffer>, UpstreamFault> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() > bytes_max {
                return Err(UpstreamFault::TooLarge);
            }
        }
        let original = Uint8Array::from(bytes.as_slice()).buffer();
        Ok(Whole { bytes, original })
    }
}
