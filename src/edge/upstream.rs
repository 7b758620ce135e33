//! Requests to upstream servers, over the network or a service binding: with that server's own credential, without
//! redirects, within its time-out.

use js_sys::{ArrayBuffer, Uint8Array};
use worker::Env;

use super::ports::EdgePorts;
use super::urls;
use super::web::{self, AnswerBody, Stream};
use crate::config::{Auth, Server, Target};
use crate::error::UpstreamFault;
use crate::limits::{LISTEN_MS_MAX, REPLY_BODY_BYTES_MAX};
use crate::policy::Permit;
use crate::portal::ports::{BodyKind, Outbound, UpstreamBody, UpstreamReply, Verb, Whole};

/// A body of an upstream.
pub(super) struct EdgeBody {
    form: Form,
    timeout_ms: u64,
    is_read: bool,
}

enum Form {
    Whole(Whole<Passed>),
    Stream(Stream),
    /// Handed out.
    Taken,
}

impl Drop for EdgeBody {
    /// What nobody waits for any more ends: its connection is one of six.
    fn drop(&mut self) {
        if let Form::Stream(stream) = &self.form
            && !self.is_read
        {
            stream.cancel();
        }
    }
}

/// What is passed on as the platform holds it.
pub(super) enum Passed {
    /// A whole body.
    Buffer(ArrayBuffer),
    /// What another object answered.
    Response(web_sys::Response),
}

/// Sends one request.
pub(super) async fn send(
    ports: &EdgePorts,
    _permit: &Permit,
    server: &Server,
    request: Outbound,
) -> Result<UpstreamReply<EdgeBody>, UpstreamFault> {
    let head = head_lines(&ports.env, server, &request)?;
    let outgoing = web::Outgoing {
        head: &head,
        body: &request.body,
        timeout_ms: request.timeout_ms,
        bytes_max: REPLY_BODY_BYTES_MAX,
    };
    // What a client that went away leaves behind is ended without it. What is listened to ends with its listener, who
    // may give up long before a server that does not even begin.
    let client_gone = ports
        .client_gone
        .as_ref()
        .filter(|_| request.verb != Verb::Delete && request.timeout_ms < LISTEN_MS_MAX);
    let sent = web::send(&ports.env, &outgoing, client_gone).await;
    let answer = sent.map_err(|fault| named(&fault, request.timeout_ms))?;
    let (kind, form) = match answer.body {
        AnswerBody::Json { bytes, original } => {
            let original = Passed::Buffer(original);
            (BodyKind::Json, Form::Whole(Whole { bytes, original }))
        }
        AnswerBody::Events(stream) => (BodyKind::Events, Form::Stream(stream)),
        AnswerBody::Other(stream) => (BodyKind::Other, Form::Stream(stream)),
    };
    Ok(UpstreamReply {
        status: answer.status,
        kind,
        session_id: answer.session_id,
        retry_after_s: answer.retry_after_s,
        body: EdgeBody {
            form,
            timeout_ms: request.timeout_ms,
            is_read: false,
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

/// Where it goes and all headers, a line each.
fn head_lines(env: &Env, server: &Server, request: &Outbound) -> Result<String, UpstreamFault> {
    let mut lines = String::with_capacity(384);
    if let Target::Binding { name, .. } = &server.target {
        lines.push_str(name);
    }
    let own = server.target.address();
    let address = match &request.to {
        None => &*own,
        // The credential is added below: who was to check this address may have erred.
        Some(to) if urls::is_same_origin(&own, to.as_str()) => to.as_str(),
        Some(_) => return Err(UpstreamFault::ForeignEndpoint),
    };
    lines.extend(["\n", address]);
    lines.push_str(match request.verb {
        Verb::Post => "\nPOST",
        Verb::Get => "\nGET",
        Verb::Delete => "\nDELETE",
    });
    let mut add = |name: &str, value: &str| {
        // A line break would be another header. No value of ours holds one; a secret might.
        if !value.contains(['\n', '\r']) {
            lines.extend(["\n", name, "\n", value]);
        }
    };
    for (name, value) in &request.headers {
        add(name, value);
    }
    for (name, value) in credential(env, server)? {
        add(&name, &value);
    }
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
    type Original = Passed;

    async fn whole(mut self, bytes_max: usize) -> Result<Whole<Passed>, UpstreamFault> {
        match std::mem::replace(&mut self.form, Form::Taken) {
            Form::Whole(whole) if whole.bytes.len() > bytes_max => {
                return Err(UpstreamFault::TooLarge);
            }
            Form::Whole(whole) => return Ok(whole),
            stream => self.form = stream,
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() > bytes_max {
                return Err(UpstreamFault::TooLarge);
            }
        }
        let original = Passed::Buffer(Uint8Array::from(bytes.as_slice()).buffer());
        Ok(Whole { bytes, original })
    }

    async fn chunk(&mut self) -> Option<Result<Vec<u8>, UpstreamFault>> {
        let chunk = match &mut self.form {
            Form::Stream(stream) => web::chunk(stream, self.timeout_ms).await,
            // What was read whole is one chunk to whoever asks for chunks.
            form => Ok(match std::mem::replace(form, Form::Taken) {
                Form::Whole(whole) => Some(whole.bytes),
                _ => None,
            }),
        };
        match chunk {
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
