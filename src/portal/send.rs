//! Step 8: one request to a server, in the session it needs.

use std::cell::RefCell;
use std::future::ready;
use std::rc::Rc;

use futures::StreamExt as _;
use futures::future::Either;

use super::line;
use super::ports::{BodyKind, Ports, UpstreamBody, UpstreamReply, UpstreamSession, Whole};
use crate::config::Server;
use crate::error::{PortalError, UpstreamFailure, UpstreamFault};
use crate::limits::REPLY_BODY_BYTES_MAX;
use crate::mcp::reply::{Direction, Glance};
use crate::mcp::{Era, Method};
use crate::policy::Permit;
use crate::upstream::line::Opened;
use crate::upstream::source::{LastEventId, Messages, Source};
use crate::upstream::{
    legacy_cancel, legacy_request, may_answer, modern_request, says_session_is_over, session,
    status_fault,
};

/// How long a caller waits for a server that did not answer to hear that nobody waits any more.
const CANCEL_MS_MAX: u64 = 1_000;

/// A session that may be renewed while a call is on its way.
pub type SharedSession = Rc<RefCell<Option<UpstreamSession>>>;

/// The way of one call to its server, and back.
#[derive(Clone)]
pub struct Route<P: Ports> {
    /// The world.
    pub ports: P,
    /// Lets it be gone.
    pub permit: Rc<Permit>,
    /// Where to.
    pub server: Rc<Server>,
    /// On whose behalf.
    pub subject: String,
    /// The legacy session the call is made in, once that is known.
    pub session: SharedSession,
    /// Where the call's stream can be taken up.
    pub last_event_id: LastEventId,
    /// The id under which the call is kept, where it can outlive its request.
    pub call: Option<String>,
    /// The server speaks HTTP+SSE: the call has a connection of its own.
    pub on_line: bool,
}

/// A request to a modern server.
pub(super) struct ModernCall {
    pub(super) method: Method,
    /// The server's own name of what is called.
    pub(super) name: String,
    /// Arguments mirrored in headers.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// A reply whose head is known to be one; its body may already have been read to learn that.
pub(super) enum Replied<B: UpstreamBody> {
    Unread(UpstreamReply<B>),
    Read(u16, Whole<B::Original>),
    /// A connection on which the call is still to be made.
    Opened(Box<Opened>),
}

/// Sends to a modern server.
pub(super) async fn send_modern<P: Ports>(
    route: &Route<P>,
    call: ModernCall,
) -> Result<Replied<P::Body>, UpstreamFault> {
    let ModernCall {
        method,
        name,
        headers,
        body,
    } = call;
    let name = method.has_name_header().then_some(name.as_str());
    let outbound = modern_request(&route.server, method.as_str(), name, headers, body);
    let sent = route.ports.send(&route.permit, &route.server, outbound);
    Ok(Replied::Unread(sent.await?))
}

/// Sends to a legacy server; a lost session is renewed once, since a server that does not know the session did nothing.
/// `sent_id` is the id under which the server knows the request, as JSON text; `log_level` is how much its caller wants
/// logged, where they said so with it.
pub(super) async fn send_legacy<P: Ports>(
    route: &Route<P>,
    sent_id: &str,
    log_level: Option<&str>,
    body: Vec<u8>,
) -> Result<Replied<P::Body>, UpstreamFault> {
    let Route {
        ports,
        permit,
        server,
        subject,
        ..
    } = route;
    if route.on_line {
        let (opened, session) = line::open(route, log_level, body).await?;
        *route.session.borrow_mut() = Some(session);
        return Ok(Replied::Opened(Box::new(opened)));
    }
    let mut renewed = false;
    loop {
        let session = session::current(ports, permit, server, subject).await?;
        *route.session.borrow_mut() = Some(session.clone());
        if let Some(level) = log_level {
            session::follow_log_level(ports, permit, server, subject, &session, level).await;
        }
        let outbound = legacy_request(server, Some(&session), body.clone());
        let sent = ports.send(permit, server, outbound).await;
        // A held call's stream tells its server itself.
        if matches!(sent, Err(UpstreamFault::TimedOut(_))) && !ports.is_holding() {
            let mut cancel = legacy_cancel(server, Some(&session), sent_id);
            cancel.timeout_ms = cancel.timeout_ms.min(CANCEL_MS_MAX);
            let _ = ports.send(permit, server, cancel).await;
        }
        let reply = sent?;
        if reply.status < 400 || reply.status >= 500 {
            return Ok(Replied::Unread(reply));
        }
        let status = reply.status;
        let whole = reply.body.whole(REPLY_BODY_BYTES_MAX).await?;
        let had_session = session.id.is_some();
        if renewed || !says_session_is_over(Era::Legacy, had_session, status, Some(&whole.bytes)) {
            return match status_fault(status, reply.retry_after_s) {
                Some(fault) if reply.kind != BodyKind::Json || !may_answer(status) => Err(fault),
                _ => Ok(Replied::Read(status, whole)),
            };
        }
        session::forget(ports, server, subject, &session).await;
        renewed = true;
    }
}

/// What a reply's head promises.
pub(super) enum Reading<B: UpstreamBody> {
    /// One message under a status.
    Whole(u16, Whole<B::Original>),
    /// A stream of them.
    Events(B),
    /// A connection on which the call is still to be made.
    Line(Box<Opened>),
}

impl<B: UpstreamBody> Replied<B> {
    /// Reads what is one message; a stream is left to be read.
    ///
    /// # Errors
    /// What the status means, or a body that is neither.
    pub(super) async fn read(self) -> Result<Reading<B>, UpstreamFault> {
        let reply = match self {
            Self::Read(status, whole) => return Ok(Reading::Whole(status, whole)),
            Self::Opened(opened) => return Ok(Reading::Line(opened)),
            Self::Unread(reply) => reply,
        };
        let meant = status_fault(reply.status, reply.retry_after_s);
        match (reply.kind, meant) {
            (_, Some(refused)) if !may_answer(reply.status) => Err(refused),
            (BodyKind::Json, _) => {
                let whole = reply.body.whole(REPLY_BODY_BYTES_MAX).await?;
                Ok(Reading::Whole(reply.status, whole))
            }
            (_, Some(refused)) => Err(refused),
            (BodyKind::Events, None) => Ok(Reading::Events(reply.body)),
            (BodyKind::Other, None) => {
                Err(UpstreamFault::BadAnswer("neither JSON nor an event stream"))
            }
        }
    }

    /// All messages of a reply, however it is framed.
    pub(super) async fn messages<P: Ports<Body = B>>(self, route: Route<P>) -> Messages {
        match self.read().await {
            Ok(Reading::Events(body)) => route.source(body).messages(),
            Ok(Reading::Line(opened)) => route.on_connection(*opened),
            Ok(Reading::Whole(status, whole)) => {
                one(judged(status, whole.bytes).map_err(|fault| route.failure(fault)))
            }
            Err(fault) => one(Err(route.failure(fault))),
        }
    }
}

impl<P: Ports> Route<P> {
    /// A fault of this server.
    pub(super) fn failure(&self, fault: UpstreamFault) -> PortalError {
        let server = self.server.id.clone();
        UpstreamFailure { server, fault }.into()
    }

    /// The messages in a body.
    pub(super) fn source(&self, body: P::Body) -> Source<P> {
        let session = self.session.borrow().clone();
        Source::new(
            self.ports.clone(),
            self.permit.clone(),
            self.server.clone(),
            session,
            body,
        )
        .keeping(self.last_event_id.clone(), self.call.clone())
    }
}

/// One message, or why there is none.
pub(super) fn one(message: Result<Vec<u8>, PortalError>) -> Messages {
    futures::stream::once(ready(message)).boxed_local()
}

/// Messages that begin with something to be waited for.
pub(super) fn later<F>(begin: F) -> Messages
where
    F: Future<Output = Result<Messages, PortalError>> + 'static,
{
    futures::stream::once(begin)
        .flat_map(|begun| match begun {
            Ok(messages) => Either::Left(messages),
            Err(fault) => Either::Right(one(Err(fault))),
        })
        .boxed_local()
}

/// A JSON reply is the answer: nothing comes after it. A result under an error status is none.
fn judged(status: u16, message: Vec<u8>) -> Result<Vec<u8>, UpstreamFault> {
    let glance = Glance::at(&message).ok();
    let is_error = glance.is_some_and(|glance| glance.error.is_some());
    let is_answer = glance.and_then(|glance| glance.direction()) == Some(Direction::Answer);
    match status_fault(status, None) {
        Some(fault) if !is_error => Err(fault),
        _ if !is_answer => Err(UpstreamFault::BadAnswer("no answer")),
        _ => Ok(message),
    }
}
