//! Requests to upstream servers, over the network or a service binding: with that server's own credential, without
//! redirects, within its time-out.

use js_sys::{ArrayBuffer, Uint8Array};
use worker::Env;

use super::ports::EdgePorts;
use super::web::{self, Exchange};
use crate::config::{Auth, Server, Target};
use crate::error::UpstreamFault;
use crate::limits::REPLY_BODY_BYTES_MAX;
use crate::policy::Permit;
use crate::portal::ports::{BodyKind, Outbound, UpstreamBody, UpstreamReply, Verb, Whole};

/// A body of an upstream.
pub(super) struct EdgeBody {
    exchange: Exchange,
    timeout_ms: u64,
    is_read: bool,
}

impl Drop for EdgeBody {
    /// What nobody waits for any more ends: its connection is one of six.
    fn drop(&mut self) {
        if !self.is_read {
            self.exchange.cancel();
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
    let headers = header_lines(&ports.env, server, &request)?;
    // A binding has no address; the host tells the server which way the request came.
    let bound;
    let (binding, url) = match &server.target {
        Target::Url(url) => (None, url.as_str()),
        Target::Binding { name, path } => {
            bound = format!("https://binding.internal{path}");
            (Some(name.as_str()), bound.as_str())
        }
    };
    let outgoing = web::Outgoing {
        binding,
        url,
        method: match request.verb {
            Verb::Post => "POST",
            Verb::Get => "GET",
            Verb::Delete => "DELETE",
        },
        headers: &headers,
        body: &request.body,
        timeout_ms: request.timeout_ms,
        bytes_max: REPLY_BODY_BYTES_MAX,
    };
    let sent = web::send(&ports.env, &outgoing, ports.client_gone.as_ref()).await;
    let exchange = sent.map_err(|fault| named(&fault, request.timeout_ms))?;
    let head = exchange.head();
    let mut lines = head.split('\n');
    let status = lines
        .next()
        .and_then(|status| status.parse().ok())
        .unwrap_or_default();
    let kind = match lines.next() {
        Some("json") => BodyKind::Json,
        Some("events") => BodyKind::Events,
        _ => BodyKind::Other,
    };
    let session_id = lines.next().and_then(web::present);
    let retry_after_s = lines.next().and_then(|seconds| seconds.parse().ok());
    Ok(UpstreamReply {
        status,
        kind,
        session_id,
        retry_after_s,
        body: EdgeBody {
            exchange,
            timeout_ms: request.timeout_ms,
            is_read: kind == BodyKind::Json,
        },
    })
}

fn named(fault: &str, timeout_ms: u64) -> UpstreamFault {
    match fault {
        "timed out" => UpstreamFault::TimedOut(timeout_ms),
        "too large" => UpstreamFault::TooLarge,
        _ => UpstreamFault::Unreachable,
    }
}

fn header_lines(env: &Env, server: &Server, request: &Outbound) -> Result<String, UpstreamFault> {
    let mut lines = String::with_capacity(256);
    let mut add = |name: &str, value: &str| {
        // A line break would be another header. No value of ours holds one; a secret might.
        if !value.contains(['\n', '\r']) {
            for part in [name, "\n", value, "\n"] {
                lines.push_str(part);
            }
        }
    };
    for (name, value) in &request.headers {
        add(name, value);
    }
    for (name, value) in credential(env, server)? {
        add(&name, &value);
    }
    lines.pop();
    Ok(lines)
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

impl UpstreamBody for EdgeBody {
    type Original = ArrayBuffer;

    async fn whole(mut self, bytes_max: usize) -> Result<Whole<ArrayBuffer>, UpstreamFault> {
        if let Some(original) = self.exchange.buffer() {
            let bytes = Uint8Array::new(&original).to_vec();
            return if bytes.len() > bytes_max {
                Err(UpstreamFault::TooLarge)
            } else {
                Ok(Whole { bytes, original })
            };
        }
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

    async fn chunk(&mut self) -> Option<Result<Vec<u8>, UpstreamFault>> {
        match web::chunk(&self.exchange, self.timeout_ms).await {
            Ok(Some(chunk)) => Some(Ok(chunk)),
            Ok(None) => {
                self.is_read = true;
                None
            }
            Err(fault) if fault == "timed out" => {
                Some(Err(UpstreamFault::TimedOut(self.timeout_ms)))
            }
            Err(_) => Some(Err(UpstreamFault::Cut)),
        }
    }
}
