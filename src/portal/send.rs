//! Step 8: one request to a server, in the session it needs.

use super::caller::Caller;
use super::line;
use super::ports::{BodyKind, Ports, UpstreamBody, UpstreamReply, UpstreamSession, Whole};
use crate::catalog::param_headers;
use crate::catalog::resolve::Target;
use crate::config::Server;
use crate::error::UpstreamFault;
use crate::limits::REPLY_BODY_BYTES_MAX;
use crate::mcp::{Era, Method, Request};
use crate::policy::Permit;
use crate::upstream::line::Opened;
use crate::upstream::{
    legacy_cancel, legacy_request, may_answer, modern_request, says_session_is_over, session,
    status_fault,
};

/// How long a caller waits for a server that did not answer to hear that nobody waits any more.
const CANCEL_MS_MAX: u64 = 1_000;

/// One request on its way.
pub(super) struct Sending<'a> {
    pub(super) permit: &'a Permit,
    pub(super) server: &'a Server,
    pub(super) era: Era,
    pub(super) method: Method,
    pub(super) target: &'a Target,
    /// The id under which the server knows the request, as JSON text.
    pub(super) sent_id: &'a str,
    pub(super) body: Vec<u8>,
}

/// A reply whose head is known to be one; its body may already have been read to learn that.
pub(super) enum Replied<B: UpstreamBody> {
    Unread(UpstreamReply<B>),
    Read(u16, Whole<B::Original>),
    /// A connection on which the call is still to be made.
    Opened(Box<Opened>),
}

/// (8) Sends; a lost legacy session is renewed once, since a server that does not know the session did nothing.
pub(super) async fn send<P: Ports>(
    ports: &P,
    caller: &Caller,
    request: &Request<'_>,
    sending: Sending<'_>,
) -> Result<(Replied<P::Body>, Option<UpstreamSession>), UpstreamFault> {
    let Sending {
        permit,
        server,
        era,
        method,
        target,
        sent_id,
        body,
    } = sending;
    if era == Era::Modern {
        let name = method.has_name_header().then_some(target.name.as_str());
        let headers = target
            .tool()
            .filter(|tool| !tool.headers.is_empty())
            .map(|tool| {
                param_headers::of_call(&tool.headers, request.params.arguments.map(|raw| raw.text))
            })
            .unwrap_or_default();
        let outbound = modern_request(server, method.as_str(), name, headers, body);
        return Ok((
            Replied::Unread(ports.send(permit, server, outbound).await?),
            None,
        ));
    }
    if line::is_on_line(server, &target.snapshot.facts) {
        let (opened, session) = line::open(ports, permit, server, method, body).await?;
        return Ok((Replied::Opened(Box::new(opened)), Some(session)));
    }
    let subject = &caller.principal.subject;
    let mut renewed = false;
    loop {
        let session = session::current(ports, permit, server, subject).await?;
        let outbound = legacy_request(server, Some(&session), body.clone());
        let sent = ports.send(permit, server, outbound).await;
        if let Err(UpstreamFault::TimedOut(_)) = sent {
            let mut cancel = legacy_cancel(server, Some(&session), sent_id);
            cancel.timeout_ms = cancel.timeout_ms.min(CANCEL_MS_MAX);
            let _ = ports.send(permit, server, cancel).await;
        }
        let reply = sent?;
        if reply.status < 400 || reply.status >= 500 {
            return Ok((Replied::Unread(reply), Some(session)));
        }
        let status = reply.status;
        let whole = reply.body.whole(REPLY_BODY_BYTES_MAX).await?;
        if renewed || !says_session_is_over(era, session.id.is_some(), status, Some(&whole.bytes)) {
            return match status_fault(status, reply.retry_after_s) {
                Some(fault) if reply.kind != BodyKind::Json || !may_answer(status) => Err(fault),
                _ => Ok((Replied::Read(status, whole), Some(session))),
            };
        }
        ports.forget_upstream(subject, &server.id).await;
        renewed = true;
    }
}
