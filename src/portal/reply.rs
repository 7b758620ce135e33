//! What the pipeline answers with, before the edge makes a response of it.

use futures::stream::LocalBoxStream;

use crate::error::{PortalError, Wire, to_wire};
use crate::mcp::Era;
use crate::mcp::reply;

/// An answer.
pub struct Reply<O> {
    /// HTTP status.
    pub status: u16,
    /// Headers beyond the content type.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: ReplyBody<O>,
    /// The id under which the call behind a stream is kept, where it can go on without its request.
    pub call: Option<String>,
}

/// A body.
pub enum ReplyBody<O> {
    /// Nothing.
    Empty,
    /// One message of ours, or one that was changed on its way.
    Json(Vec<u8>),
    /// One message of an upstream, untouched.
    Original(O),
    /// A stream of messages.
    Events(LocalBoxStream<'static, Outgoing>),
}

/// One thing on an event stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// A message.
    Message(Vec<u8>),
    /// A comment that keeps the connection open.
    KeepAlive,
}

impl<O> Reply<O> {
    /// A message of ours with status 200.
    #[must_use]
    pub fn json(body: Vec<u8>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: ReplyBody::Json(body),
            call: None,
        }
    }

    /// A status without a body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: ReplyBody::Empty,
            call: None,
        }
    }

    /// A stream of messages.
    #[must_use]
    pub fn events(events: LocalBoxStream<'static, Outgoing>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: ReplyBody::Events(events),
            call: None,
        }
    }

    /// An error; `id` is the request's id as JSON text, or `null`.
    #[must_use]
    pub fn error(id: &str, error: &PortalError, era: Era, request_id: &str) -> Self {
        let wire: Wire = to_wire(error, era);
        Self {
            status: wire.status,
            headers: Vec::new(),
            body: ReplyBody::Json(reply::error(id, &wire, request_id)),
            call: None,
        }
    }
}

impl<O> std::fmt::Debug for Reply<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
