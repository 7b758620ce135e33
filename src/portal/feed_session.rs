//! A feed at a legacy server: a session that exists for it alone, so that whatever comes in it belongs to its one
//! listener, and nobody else's subscriptions end with it.

use std::rc::Rc;

use futures::StreamExt as _;

use super::feed::{Feed, messages, pushed};
use super::ports::{BodyKind, ClientFacts, Ports, UpstreamSession};
use crate::config::Server;
use crate::error::UpstreamFault;
use crate::limits::LISTEN_MS_MAX;
use crate::mcp::Era;
use crate::policy::Permit;
use crate::upstream::body::own_request;
use crate::upstream::rpc::{self, Answer, Question};
use crate::upstream::{legacy_request, legacy_stream, session, status_fault};

/// Requests of one feed at once, beside its stream.
const SUBSCRIBE_FAN_OUT_MAX: usize = 2;

/// The session of one feed. It ends with it.
struct FeedSession<P: Ports> {
    ports: P,
    permit: Rc<Permit>,
    server: Rc<Server>,
    session: UpstreamSession,
}

/// Opens a session, its stream, and subscribes.
///
/// # Errors
/// How the server failed. One without a stream of its own, or that refuses each resource, honours nothing.
pub(super) async fn open<P: Ports>(
    ports: &P,
    permit: Rc<Permit>,
    server: Rc<Server>,
    uris: &[String],
) -> Result<Feed, UpstreamFault> {
    let (session, _) = session::open(ports, &permit, &server, &ClientFacts::portal()).await?;
    let own = FeedSession {
        ports: ports.clone(),
        permit,
        server,
        session,
    };
    // First the stream: what a server sends where nobody listens is lost.
    let mut request = legacy_stream(&own.server, &own.session, None);
    request.timeout_ms = LISTEN_MS_MAX;
    let reply = ports.send(&own.permit, &own.server, request).await?;
    if reply.status != 200 || reply.kind != BodyKind::Events {
        return match status_fault(reply.status, reply.retry_after_s) {
            Some(fault) if reply.status != 405 => Err(fault),
            _ => Ok(Feed::refused()),
        };
    }
    let own_ref = &own;
    let honoured: Vec<Option<String>> = futures::stream::iter(uris.iter().enumerate())
        .map(|(index, uri)| async move {
            let is_honoured = own_ref.subscribe(index, uri).await;
            is_honoured.then(|| uri.clone())
        })
        .buffered(SUBSCRIBE_FAN_OUT_MAX)
        .collect()
        .await;
    let honoured: Vec<String> = honoured.into_iter().flatten().collect();
    if honoured.is_empty() {
        return Ok(Feed::refused());
    }
    let pushed = messages(reply.body).filter_map(move |message| {
        own.answer(&message);
        std::future::ready(pushed(&message))
    });
    Ok(Feed {
        honoured,
        pushed: pushed.boxed_local(),
    })
}

impl<P: Ports> FeedSession<P> {
    /// Subscribes to one resource; tells whether the server agreed (2025-11-25, server/resources, "Subscriptions").
    async fn subscribe(&self, index: usize, uri: &str) -> bool {
        // No two requests of a session share an id.
        let id = format!("portcullis-subscribe-{index}");
        let members = format!("\"uri\":{}", serde_json::Value::String(uri.to_owned()));
        let body = own_request(&id, "resources/subscribe", &members, Era::Legacy);
        let question = Question {
            id: &id,
            request: legacy_request(&self.server, Some(&self.session), body),
        };
        let asked = rpc::ask(&self.ports, &self.permit, &self.server, question).await;
        asked.is_ok_and(|answered| matches!(answered.answer, Some(Answer::Result(_))))
    }

    /// Answers what the server asks. One that waits in vain may take the session for dead.
    fn answer(&self, message: &[u8]) {
        let Some(answer) = rpc::declined(message, "This session only listens.") else {
            return;
        };
        let request = legacy_request(&self.server, Some(&self.session), answer);
        let (ports, permit, server) =
            (self.ports.clone(), self.permit.clone(), self.server.clone());
        self.ports.spawn(Box::pin(async move {
            let _ = ports.send(&permit, &server, request).await;
        }));
    }
}

impl<P: Ports> Drop for FeedSession<P> {
    /// The session's subscriptions end with it.
    fn drop(&mut self) {
        session::end_soon(&self.ports, &self.server, &self.session);
    }
}
