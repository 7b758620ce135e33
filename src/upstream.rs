//! Speaking to one upstream server: bodies and headers of either era, sessions, and what a reply means.

pub mod body;
pub mod chunks;
pub mod endpoint;
pub mod line;
pub mod rpc;
pub mod session;
pub mod source;

use std::borrow::Cow;

use crate::config::Server;
use crate::error::UpstreamFault;
use crate::mcp::reply::Glance;
use crate::mcp::{Era, Revision, header_value};
use crate::portal::ports::{Outbound, UpstreamSession, Verb};

/// A modern request: the headers mirror the body.
#[must_use]
pub fn modern_request(
    server: &Server,
    method: &str,
    name: Option<&str>,
    params: Vec<(String, String)>,
    body: Vec<u8>,
) -> Outbound {
    let mut headers = post_headers();
    headers.push((
        "MCP-Protocol-Version".into(),
        Revision::LATEST_MODERN.as_str().to_owned(),
    ));
    headers.push(("Mcp-Method".into(), method.to_owned()));
    if let Some(name) = name {
        headers.push(("Mcp-Name".into(), header_value::encode(name).into_owned()));
    }
    headers.extend(
        params
            .into_iter()
            .map(|(name, value)| (Cow::Owned(name), value)),
    );
    Outbound {
        verb: Verb::Post,
        to: None,
        headers,
        body,
        timeout_ms: u64::from(server.timeout_ms),
    }
}

/// A legacy message in a session, or before there is one.
#[must_use]
pub fn legacy_request(
    server: &Server,
    session: Option<&UpstreamSession>,
    body: Vec<u8>,
) -> Outbound {
    let mut headers = post_headers();
    headers.extend(session_headers(session));
    let endpoint = session.and_then(|session| session.endpoint.as_ref());
    Outbound {
        verb: Verb::Post,
        to: endpoint.map(|endpoint| endpoint.address.clone()),
        headers,
        body,
        timeout_ms: u64::from(server.timeout_ms),
    }
}

/// The stream of a legacy session, from an event on where one is named.
#[must_use]
pub fn legacy_stream(
    server: &Server,
    session: &UpstreamSession,
    last_event_id: Option<&str>,
) -> Outbound {
    let mut headers: Vec<(Cow<'static, str>, String)> =
        vec![("Accept".into(), "text/event-stream".to_owned())];
    headers.extend(session_headers(Some(session)));
    headers.extend(last_event_id.map(|id| ("Last-Event-ID".into(), id.to_owned())));
    Outbound {
        verb: Verb::Get,
        to: None,
        headers,
        body: Vec::new(),
        timeout_ms: u64::from(server.timeout_ms),
    }
}

/// The stream of an HTTP+SSE connection (2024-11-05, basic/transports).
#[must_use]
pub fn events_stream(server: &Server) -> Outbound {
    Outbound {
        verb: Verb::Get,
        to: None,
        headers: vec![("Accept".into(), "text/event-stream".to_owned())],
        body: Vec::new(),
        timeout_ms: u64::from(server.timeout_ms),
    }
}

/// Tells a legacy server that nobody waits for its answer any more (2025-11-25, basic/utilities/cancellation).
/// `id` is the request's as the server knows it, as JSON text.
#[must_use]
pub fn legacy_cancel(server: &Server, session: Option<&UpstreamSession>, id: &str) -> Outbound {
    let body = format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{id}}}}}"
    );
    legacy_request(server, session, body.into_bytes())
}

/// The end of a legacy session.
#[must_use]
pub fn legacy_end(server: &Server, session: &UpstreamSession) -> Outbound {
    let headers = session_headers(Some(session));
    Outbound {
        verb: Verb::Delete,
        to: None,
        headers,
        body: Vec::new(),
        timeout_ms: u64::from(server.timeout_ms),
    }
}

fn post_headers() -> Vec<(Cow<'static, str>, String)> {
    vec![
        ("Content-Type".into(), "application/json".to_owned()),
        (
            "Accept".into(),
            "application/json, text/event-stream".to_owned(),
        ),
    ]
}

fn session_headers(session: Option<&UpstreamSession>) -> Vec<(Cow<'static, str>, String)> {
    let mut headers = Vec::new();
    if let Some(session) = session {
        if session.revision >= Revision::V2025_06_18 {
            headers.push((
                "MCP-Protocol-Version".into(),
                session.revision.as_str().to_owned(),
            ));
        }
        if let Some(id) = &session.id {
            headers.push(("Mcp-Session-Id".into(), id.clone()));
        }
    }
    headers
}

/// What an HTTP status means where the body is no protocol message. Nothing for a success.
#[must_use]
pub fn status_fault(status: u16, retry_after_s: Option<u32>) -> Option<UpstreamFault> {
    match status {
        200..=299 => None,
        300..=399 => Some(UpstreamFault::Redirected),
        401 | 403 => Some(UpstreamFault::Unauthorized),
        429 => Some(UpstreamFault::RateLimited(retry_after_s)),
        _ => Some(UpstreamFault::Status(status)),
    }
}

/// Whether a failed handshake says that the server does not speak this way, rather than nothing at all.
#[must_use]
pub fn is_settled(fault: &UpstreamFault) -> bool {
    matches!(
        fault,
        UpstreamFault::NoCommonRevision
            | UpstreamFault::BadAnswer(_)
            | UpstreamFault::Status(400..=499)
    )
}

/// Statuses of a server that does not take POST at an address, or not what is posted. The only ones after which HTTP+SSE
/// is tried: 400 is how servers of the newer transport refuse what they do not understand, and the rest means what it says.
#[must_use]
pub fn is_absence(status: u16) -> bool {
    matches!(status, 404..=406)
}

/// Whether a JSON body under this status can be an answer at all. Redirects, refused credentials, rate limits and server
/// errors mean what their status says, whatever the body claims; another client error may carry a JSON-RPC error.
#[must_use]
pub fn may_answer(status: u16) -> bool {
    matches!(status, 200..=299 | 400 | 402 | 404..=428 | 430..=499)
}

/// Whether a reply says that a legacy session is over. The specification says 404; many servers built on older examples
/// answer an unknown session with 400 and an error without an id.
#[must_use]
pub fn says_session_is_over(era: Era, had_session: bool, status: u16, body: Option<&[u8]>) -> bool {
    if era != Era::Legacy || !had_session {
        return false;
    }
    let text = || {
        body.map(String::from_utf8_lossy)
            .unwrap_or_default()
            .to_ascii_lowercase()
    };
    // An error under an id of its own answers the request: the server has read it.
    let is_answer = body
        .and_then(|body| Glance::at(body).ok()?.id)
        .is_some_and(|id| id.text != "null");
    status == 404 || (status == 400 && !is_answer && text().contains("session"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_session_is_told_from_other_failures() {
        assert!(says_session_is_over(Era::Legacy, true, 404, None));
        assert!(says_session_is_over(
            Era::Legacy,
            true,
            400,
            Some(b"{\"error\":{\"message\":\"No valid Session ID\"}}")
        ));
        assert!(!says_session_is_over(
            Era::Legacy,
            true,
            400,
            Some(b"bad argument")
        ));
        assert!(!says_session_is_over(Era::Legacy, false, 404, None));
        assert!(!says_session_is_over(Era::Modern, true, 404, None));
    }
}
