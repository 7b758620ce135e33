//! What comes back from a server: the answer as JSON or at the end of a stream, and everything before it.
//!
//! Messages pass in the order they came. The answer is recorded before it is passed on where the call could change
//! something, and soon after otherwise.

use std::rc::Rc;

use futures::StreamExt as _;
use futures::future::{Either, select};
use futures::stream::LocalBoxStream;

use super::finisher::Finisher;
use super::ports::{Original, Ports};
use super::record::CallRecord;
use super::relay::{Framing, Relay};
use super::reply::{Outgoing, Reply};
use crate::error::PortalError;
use crate::limits::KEEP_ALIVE_MS;
use crate::mcp::Era;
use crate::upstream::source::Messages;

/// How long the choice between a JSON reply and a stream waits for the server's first message.
const FIRST_MESSAGE_MS: u64 = 1_000;

/// Answers from an event stream: as JSON where the answer is the first message, else as a stream.
pub(super) async fn answer<P: Ports>(
    finisher: Finisher<P>,
    messages: Messages,
) -> Result<Reply<Original<P>>, (PortalError, bool)> {
    let ports = finisher.route.ports.clone();
    let began_ms = ports.now_ms();
    // A legacy client can come back for the rest of a stream, also after its object began anew.
    let record = finisher
        .route
        .call
        .clone()
        .filter(|_| finisher.caller.era == Era::Legacy)
        .map(|call| (call, CallRecord::of(&finisher)));
    let last_event_id = finisher.route.last_event_id.clone();
    let framing = Rc::new(Framing::default());
    // The stream owns the read that is under way, so giving up waiting for it loses nothing.
    let mut messages = futures::stream::unfold(
        Relay::new(finisher, messages, framing.clone()),
        |mut relay| async move {
            let next = relay.next().await?;
            Some((next, relay))
        },
    )
    // A call may end without a first message; what is asked again then says so again.
    .fuse()
    .boxed_local();
    let first = {
        let alarm = std::pin::pin!(ports.sleep_ms(FIRST_MESSAGE_MS));
        match select(messages.next(), alarm).await {
            // It ended without a word: its client cancelled it.
            Either::Left((None, _)) => {
                return Ok(Reply::events(futures::stream::empty().boxed_local()));
            }
            Either::Left((first, _)) => first,
            Either::Right(_) => {
                framing.is_stream.set(true);
                None
            }
        }
    };
    if let Some((Outgoing::Message(message), true)) = first {
        return Ok(Reply {
            status: framing.http.get(),
            ..Reply::json(message)
        });
    }
    let messages = futures::stream::iter(first)
        .chain(messages)
        .map(|(message, _)| message);
    let call = record.map(|(call, record)| {
        if ports.kept_call(&call).is_none() {
            let expires_at_ms = ports.now_ms().saturating_add(ports.input_wait_ms());
            ports.keep_call(&call, &record.to_text(), expires_at_ms);
            if let Some(id) = last_event_id.borrow().as_deref() {
                ports.note_event_id(&call, id);
            }
        }
        call
    });
    let events = kept_alive(ports, messages.boxed_local(), began_ms);
    Ok(Reply {
        call,
        ..Reply::events(events)
    })
}

/// Says something on a quiet stream, so that the connection is kept open and a client that left is noticed. What counts
/// is what the client receives, not what its server sends.
pub(super) fn kept_alive<P: Ports>(
    ports: P,
    messages: LocalBoxStream<'static, Outgoing>,
    since_ms: u64,
) -> LocalBoxStream<'static, Outgoing> {
    futures::stream::unfold(
        (ports, messages, since_ms),
        |(ports, mut messages, since_ms)| async move {
            let due_ms = since_ms.saturating_add(KEEP_ALIVE_MS);
            let next = {
                let alarm = std::pin::pin!(ports.sleep_ms(due_ms.saturating_sub(ports.now_ms())));
                // The stream owns what it is doing, so giving up waiting for it loses nothing.
                match select(messages.next(), alarm).await {
                    Either::Left((message, _)) => message?,
                    Either::Right(_) => Outgoing::KeepAlive,
                }
            };
            let now_ms = ports.now_ms();
            Some((next, (ports, messages, now_ms)))
        },
    )
    .boxed_local()
}
