//! The portal's own requests to a server: one question, one answer, however it is framed.

use crate::config::Server;
use crate::error::{METHOD_NOT_FOUND, UpstreamFault};
use crate::limits::{REPLY_BODY_BYTES_MAX, UPSTREAM_EVENT_BYTES_MAX};
use crate::mcp::event_stream::EventReader;
use crate::mcp::reply::{Direction, Glance, unquote};
use crate::policy::Permit;
use crate::portal::ports::{BodyKind, Outbound, UpstreamBody, UpstreamReply, Upstreams};

/// An answer to a question of the portal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// `result`, as JSON text.
    Result(String),
    /// `error`, as JSON text.
    Error(String),
}

/// A question, and the id under which it is asked.
pub struct Question<'a> {
    /// The id, plain text.
    pub id: &'a str,
    /// The request that carries it.
    pub request: Outbound,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// `Mcp-Session-Id`.
    pub session_id: Option<String>,
    /// `Retry-After`.
    pub retry_after_s: Option<u32>,
    /// The message, where there was one.
    pub answer: Option<Answer>,
    /// The raw body where it was no message, for telling what a status means.
    pub text: Vec<u8>,
}

/// Asks and waits for the answer.
///
/// # Errors
/// No reply, or one that breaks off or is too large. An HTTP error status is an [`Answered`].
pub async fn ask<U: Upstreams>(
    upstreams: &U,
    permit: &Permit,
    server: &Server,
    question: Question<'_>,
) -> Result<Answered, UpstreamFault> {
    let Question { id, request } = question;
    let reply = upstreams.send(permit, server, request).await?;
    let UpstreamReply {
        status,
        kind,
        session_id,
        retry_after_s,
        body,
    } = reply;
    let message = match kind {
        BodyKind::Events => Some(final_message(body, id).await?),
        BodyKind::Json => Some(body.whole(REPLY_BODY_BYTES_MAX).await?.bytes),
        BodyKind::Other => None,
    };
    let answer = message
        .as_deref()
        .and_then(|message| answer_in(message, id))
        .filter(|answer| fits(answer, status));
    let text = if answer.is_none() {
        message.unwrap_or_default()
    } else {
        Vec::new()
    };
    Ok(Answered {
        status,
        session_id,
        retry_after_s,
        answer,
        text,
    })
}

/// Whether an answer can come under a status: a result only under a success, an error also under a refusal that means
/// nothing else.
fn fits(answer: &Answer, status: u16) -> bool {
    super::may_answer(status) && (status < 400 || matches!(answer, Answer::Error(_)))
}

/// The answer to a server that asks where nobody can be asked: its pings are answered, anything else is declined, so that
/// it does not wait or take its client for dead. Nothing where a message asks nothing. `why` is plain text without quotes.
#[must_use]
pub fn declined(message: &[u8], why: &str) -> Option<Vec<u8>> {
    let glance = Glance::at(message).ok()?;
    let id = glance
        .id
        .filter(|_| glance.direction() == Some(Direction::Request))?;
    let outcome = if glance.method_name() == Some("ping") {
        "\"result\":{}".to_owned()
    } else {
        format!("\"error\":{{\"code\":{METHOD_NOT_FOUND},\"message\":\"{why}\"}}")
    };
    Some(format!("{{\"jsonrpc\":\"2.0\",\"id\":{},{outcome}}}", id.text).into_bytes())
}

pub(super) fn answer_in(message: &[u8], id: &str) -> Option<Answer> {
    let glance = Glance::at(message).ok()?;
    // An error that could not name its request is about this one: it is the only one in this exchange.
    let names_it = glance.id.and_then(unquote) == Some(id);
    let names_none = glance.id.is_none_or(|id| id.text == "null");
    let is_ours = names_it || (names_none && glance.error.is_some());
    if !is_ours {
        return None;
    }
    glance
        .direction()
        .filter(|direction| *direction == Direction::Answer)?;
    match (glance.result, glance.error) {
        (Some(result), None) => Some(Answer::Result(result.text.to_owned())),
        (None, Some(error)) => Some(Answer::Error(error.text.to_owned())),
        _ => None,
    }
}

/// Reads an event stream up to its answer; notifications on the way concern nobody.
async fn final_message<B: UpstreamBody>(mut body: B, id: &str) -> Result<Vec<u8>, UpstreamFault> {
    let mut reader = EventReader::new(UPSTREAM_EVENT_BYTES_MAX);
    while let Some(chunk) = body.chunk().await {
        let pushed = reader.push(&chunk?);
        while let Some(event) = reader.next_event() {
            let data = event.data.into_bytes();
            if answer_in(&data, id).is_some() {
                return Ok(data);
            }
        }
        pushed.map_err(|_| UpstreamFault::BadAnswer("unreadable event stream"))?;
    }
    Err(UpstreamFault::Cut)
}

impl Answered {
    /// An answer that came without an HTTP exchange of its own.
    #[must_use]
    pub fn of(answer: Answer) -> Self {
        Self {
            status: 200,
            session_id: None,
            retry_after_s: None,
            answer: Some(answer),
            text: Vec::new(),
        }
    }

    /// Whether a server says that it takes no such request at this address: one of another transport may be there.
    #[must_use]
    pub fn says_absent(&self) -> bool {
        self.answer.is_none() && super::is_absence(self.status)
    }

    /// The result, or what its absence means.
    ///
    /// # Errors
    /// The fault of the status, or [`UpstreamFault::BadAnswer`].
    pub fn into_result(self) -> Result<String, UpstreamFault> {
        match self.answer {
            Some(Answer::Result(result)) => Ok(result),
            Some(Answer::Error(_)) => Err(UpstreamFault::BadAnswer("an error")),
            None => Err(super::status_fault(self.status, self.retry_after_s)
                .unwrap_or(UpstreamFault::BadAnswer("no JSON-RPC message"))),
        }
    }
}
