//! A feed: what one server pushes about some of its resources, in the server's own era. A modern server is sent one
//! `subscriptions/listen`; at a legacy one a session of its own is kept for it.
//!
//! Changes of listings ride along, since the stream is open anyway. No stream is opened for them alone.

use std::rc::Rc;

use futures::StreamExt as _;
use futures::future::{Either, select};
use futures::stream::LocalBoxStream;
use serde_json::{Value, json};

use super::feed_session;
use super::ports::{BodyKind, Ports, UpstreamBody};
use crate::config::Server;
use crate::error::UpstreamFault;
use crate::limits::{
    FEED_ATTEMPTS_MAX, FEED_PAUSE_MS, FEED_PAUSE_MS_MAX, FEED_STEADY_MS, LISTEN_MS_MAX,
    REPLY_BODY_BYTES_MAX, SUBSCRIBE_MS_MAX, UPSTREAM_EVENT_BYTES_MAX,
};
use crate::mcp::Era;
use crate::mcp::event_stream::EventReader;
use crate::mcp::reply::{Direction, Glance};
use crate::policy::Permit;
use crate::upstream::body::own_request;
use crate::upstream::{may_answer, modern_request, status_fault};

const LISTEN_ID: &str = "portcullis-listen";

/// What a server pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pushed {
    /// One of its listings changed.
    Changed,
    /// A resource changed, or one beneath it.
    Updated(String),
}

/// An open feed.
pub(super) struct Feed {
    /// Those of the wanted resources whose updates the server promised, in the order they were asked for.
    pub(super) honoured: Vec<String>,
    /// Ends where the server's stream does. Dropped, it ends what was opened for it.
    pub(super) pushed: LocalBoxStream<'static, Pushed>,
}

impl Feed {
    /// The server answered, and promised nothing.
    pub(super) fn refused() -> Self {
        Self {
            honoured: Vec::new(),
            pushed: futures::stream::empty().boxed_local(),
        }
    }
}

/// Opens a feed. The permit is for reading at that server.
///
/// # Errors
/// How the server failed, within [`SUBSCRIBE_MS_MAX`]. One that refuses has not failed: its feed honours nothing.
pub(super) async fn open<P: Ports>(
    ports: &P,
    permit: Permit,
    server: Rc<Server>,
    era: Era,
    uris: &[String],
) -> Result<Feed, UpstreamFault> {
    let permit = Rc::new(permit);
    let opening = async {
        match era {
            Era::Modern => listen(ports, &permit, &server, uris).await,
            Era::Legacy => feed_session::open(ports, permit, server, uris).await,
        }
    };
    let alarm = std::pin::pin!(ports.sleep_ms(SUBSCRIBE_MS_MAX));
    match select(std::pin::pin!(opening), alarm).await {
        Either::Left((opened, _)) => opened,
        Either::Right(_) => Err(UpstreamFault::TimedOut(SUBSCRIBE_MS_MAX)),
    }
}

/// Opens a modern server's stream and reads up to its acknowledgment, which comes first and says what is honoured
/// (MCP 2026-07-28, basic/patterns/subscriptions, "Acknowledgment").
async fn listen<P: Ports>(
    ports: &P,
    permit: &Permit,
    server: &Server,
    uris: &[String],
) -> Result<Feed, UpstreamFault> {
    let wanted = json!({
        "toolsListChanged": true,
        "promptsListChanged": true,
        "resourcesListChanged": true,
        "resourceSubscriptions": uris,
    });
    let members = format!("\"notifications\":{wanted}");
    let method = "subscriptions/listen";
    let body = own_request(LISTEN_ID, method, &members, Era::Modern);
    let mut request = modern_request(server, method, None, Vec::new(), body);
    request.timeout_ms = LISTEN_MS_MAX;
    let reply = ports.send(permit, server, request).await?;
    let status = reply.status;
    match reply.kind {
        BodyKind::Events if status == 200 => {}
        BodyKind::Json if may_answer(status) => {
            let whole = reply.body.whole(REPLY_BODY_BYTES_MAX).await?;
            let glance = Glance::at(&whole.bytes).ok();
            return if glance.is_some_and(|glance| glance.error.is_some()) {
                Ok(Feed::refused())
            } else {
                Err(UpstreamFault::BadAnswer("no stream to a subscription"))
            };
        }
        _ => {
            return Err(status_fault(status, reply.retry_after_s)
                .unwrap_or(UpstreamFault::BadAnswer("no stream to a subscription")));
        }
    }
    let mut messages = messages(reply.body);
    let honoured = loop {
        let message = messages.next().await.ok_or(UpstreamFault::Cut)?;
        if let Some(acknowledged) = acknowledged(&message) {
            break acknowledged;
        }
        let Ok(glance) = Glance::at(&message) else {
            return Err(UpstreamFault::BadAnswer("an event that is no message"));
        };
        if glance.direction() == Some(Direction::Answer) {
            return Ok(Feed::refused());
        }
    };
    let honoured = uris
        .iter()
        .filter(|uri| honoured.contains(uri))
        .cloned()
        .collect();
    // Its answer is the server's goodbye.
    let pushed = messages
        .take_while(|message| std::future::ready(!is_answer(message)))
        .filter_map(|message| std::future::ready(pushed(&message)));
    Ok(Feed {
        honoured,
        pushed: pushed.boxed_local(),
    })
}

/// The messages of an event stream, to its end or to what cannot be read.
pub(super) fn messages<B: UpstreamBody>(body: B) -> LocalBoxStream<'static, Vec<u8>> {
    let state = (body, EventReader::new(UPSTREAM_EVENT_BYTES_MAX));
    let messages = futures::stream::unfold(state, |(mut body, mut reader)| async move {
        loop {
            while let Some(event) = reader.next_event() {
                if !event.data.is_empty() {
                    return Some((event.data.into_bytes(), (body, reader)));
                }
            }
            let chunk = body.chunk().await?.ok()?;
            reader.push(&chunk).ok()?;
        }
    });
    messages.boxed_local()
}

fn is_answer(message: &[u8]) -> bool {
    Glance::at(message).is_ok_and(|glance| glance.direction() == Some(Direction::Answer))
}

/// The resources an acknowledgment names; nothing where a message is none.
fn acknowledged(message: &[u8]) -> Option<Vec<String>> {
    let glance = Glance::at(message).ok()?;
    if glance.method_name()? != "notifications/subscriptions/acknowledged" {
        return None;
    }
    let params: Value = serde_json::from_str(glance.params?.text).ok()?;
    let uris = params.pointer("/notifications/resourceSubscriptions");
    Some(
        uris.and_then(|uris| serde_json::from_value(uris.clone()).ok())
            .unwrap_or_default(),
    )
}

/// What a message pushes, if anything.
pub(super) fn pushed(message: &[u8]) -> Option<Pushed> {
    let glance = Glance::at(message).ok()?;
    match glance.method_name()? {
        "notifications/tools/list_changed"
        | "notifications/prompts/list_changed"
        | "notifications/resources/list_changed" => Some(Pushed::Changed),
        "notifications/resources/updated" => {
            let params: Value = serde_json::from_str(glance.params?.text).ok()?;
            Some(Pushed::Updated(params.get("uri")?.as_str()?.to_owned()))
        }
        _ => None,
    }
}

/// Whether an update belongs to a subscription: to the resource itself or to one beneath it (2025-11-25 and 2026-07-28,
/// `ResourceUpdatedNotificationParams.uri`).
pub(super) fn covers(subscribed: &str, updated: &str) -> bool {
    updated.strip_prefix(subscribed).is_some_and(|beneath| {
        beneath.is_empty() || subscribed.ends_with('/') || beneath.starts_with(['/', '?', '#'])
    })
}

/// How often and when a feed that broke off is opened again.
#[derive(Debug, Default)]
pub(super) struct Retry {
    attempts: u32,
    opened_ms: Option<u64>,
}

impl Retry {
    /// The feed stands.
    pub(super) fn opened(&mut self, now_ms: u64) {
        self.opened_ms = Some(now_ms);
    }

    /// The feed broke off, or could not be opened: the pause before the next attempt, if there is one.
    pub(super) fn pause_ms(&mut self, now_ms: u64) -> Option<u64> {
        let stood_ms = self.opened_ms.take().map(|ms| now_ms.saturating_sub(ms));
        if stood_ms.is_some_and(|ms| ms >= FEED_STEADY_MS) {
            self.attempts = 0;
        }
        if self.attempts >= FEED_ATTEMPTS_MAX {
            return None;
        }
        let pause_ms = FEED_PAUSE_MS.saturating_mul(1 << self.attempts.min(16));
        self.attempts = self.attempts.saturating_add(1);
        Some(pause_ms.min(FEED_PAUSE_MS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_belongs_to_the_resource_and_to_what_is_beneath_it() {
        for (subscribed, updated, is_covered) in [
            ("a://b", "a://b", true),
            ("a://b", "a://b/c", true),
            ("a://b", "a://b#c", true),
            ("a://b/", "a://b/c", true),
            ("a://b", "a://bc", false),
            ("a://b/c", "a://b", false),
            ("a://b", "x://b", false),
        ] {
            assert_eq!(
                covers(subscribed, updated),
                is_covered,
                "{subscribed} {updated}"
            );
        }
    }

    #[test]
    fn attempts_are_bounded_unless_the_feed_stood_a_while() {
        let mut retry = Retry::default();
        let mut pauses = Vec::new();
        while let Some(ms) = retry.pause_ms(0) {
            pauses.push(ms);
        }
        assert_eq!(
            pauses,
            [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]
        );
        retry.opened(5);
        assert_eq!(retry.pause_ms(FEED_STEADY_MS), None, "not steady");
        assert_eq!(retry.pause_ms(u64::MAX), None, "never opened");
        retry.opened(5);
        assert_eq!(retry.pause_ms(5 + FEED_STEADY_MS), Some(1_000));
    }
}
