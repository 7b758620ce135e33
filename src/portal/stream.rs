//! What comes back from a server: the answer as JSON or at the end of a stream, and everything before it.
//!
//! Messages pass in the order they came. The answer is recorded before it is passed on where the call could change
//! something, and soon after otherwise.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use futures::StreamExt as _;
use futures::future::{Either, select};
use futures::stream::LocalBoxStream;

use super::caller::Ending;
use super::ports::{BodyKind, Original, Ports, UpstreamBody};
use super::reply::{Outgoing, Reply};
use crate::audit::{Kind, Status};
use crate::error::{PortalError, Rejection, UpstreamFault};
use crate::limits::{
    CALL_TIMEOUTS_MAX, CLIENT_EVENT_BYTES_MAX, KEEP_ALIVE_MS, UPSTREAM_EVENT_BYTES_MAX,
};
use crate::mcp::Era;
use crate::mcp::event_stream::{Event, EventReader};
use crate::mcp::json::splice;
use crate::mcp::reply::{Direction, Glance};
use crate::upstream::{legacy_cancel, legacy_request, legacy_stream};

use super::finish::{Finished, Finisher};
/// How long the choice between a JSON reply and a stream waits for the server's first message.
const FIRST_MESSAGE_MS: u64 = 1_000;

/// How often a legacy stream that breaks off is taken up again before the call is called cut.
const RESUMPTIONS_MAX: u32 = 10;

/// Pause before taking a stream up again, where the server names none.
const RESUMPTION_PAUSE_MS: u64 = 1_000;

/// Longest pause a server may ask for.
const RESUMPTION_PAUSE_MS_MAX: u64 = 30_000;

/// Answers from an event stream: as JSON where the answer is the first message, else as a stream.
pub(super) async fn answer<P: Ports>(
    finisher: Finisher<P>,
    body: P::Body,
) -> Result<Reply<Original<P>>, (PortalError, bool)> {
    let ports = finisher.ports.clone();
    let began_ms = ports.now_ms();
    let is_stream = Rc::new(Cell::new(false));
    // The stream owns the read that is under way, so giving up waiting for it loses nothing.
    let mut messages = futures::stream::unfold(
        Relay::new(finisher, body, is_stream.clone()),
        |mut relay| async move {
            let message = relay.next().await?;
            let is_last = relay.is_finished && relay.ready.is_empty();
            Some(((message, is_last), relay))
        },
    )
    .boxed_local();
    let first = {
        let alarm = std::pin::pin!(ports.sleep_ms(FIRST_MESSAGE_MS));
        match select(messages.next(), alarm).await {
            Either::Left((first, _)) => first,
            Either::Right(_) => {
                is_stream.set(true);
                None
            }
        }
    };
    if let Some((Outgoing::Message(message), true)) = first {
        return Ok(Reply::json(message));
    }
    let messages = futures::stream::iter(first)
        .chain(messages)
        .map(|(message, _)| message);
    let events = kept_alive(ports, messages.boxed_local(), began_ms);
    Ok(Reply::events(events))
}

/// Says something on a quiet stream, so that the connection is kept open and a client that left is noticed. What counts
/// is what the client receives, not what its server sends.
fn kept_alive<P: Ports>(
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

/// A body as a stream that owns the read under way: giving up waiting for it loses nothing.
fn chunks<B: UpstreamBody>(body: B) -> LocalBoxStream<'static, Result<Vec<u8>, UpstreamFault>> {
    futures::stream::unfold(body, |mut body| async move {
        let chunk = body.chunk().await?;
        Some((chunk, body))
    })
    .boxed_local()
}

/// A stream on its way from a server to the client.
struct Relay<P: Ports> {
    finisher: Finisher<P>,
    /// Owns the read that is under way.
    chunks: LocalBoxStream<'static, Result<Vec<u8>, UpstreamFault>>,
    began_ms: u64,
    /// When the call ends whatever the server still sends.
    ends_ms: u64,
    reader: EventReader,
    ready: VecDeque<Outgoing>,
    is_finished: bool,
    bytes: usize,
    last_event_id: Option<String>,
    pause_ms: u64,
    resumptions: u32,
    is_unreadable: bool,
    /// What is passed on from here on is an event.
    is_stream: Rc<Cell<bool>>,
}

impl<P: Ports> Relay<P> {
    fn new(finisher: Finisher<P>, body: P::Body, is_stream: Rc<Cell<bool>>) -> Self {
        let began_ms = finisher.ports.now_ms();
        let life_ms = u64::from(finisher.server.timeout_ms).saturating_mul(CALL_TIMEOUTS_MAX);
        Self {
            finisher,
            chunks: chunks(body),
            began_ms,
            ends_ms: began_ms.saturating_add(life_ms),
            reader: EventReader::new(UPSTREAM_EVENT_BYTES_MAX),
            ready: VecDeque::new(),
            is_finished: false,
            bytes: 0,
            last_event_id: None,
            pause_ms: RESUMPTION_PAUSE_MS,
            resumptions: 0,
            is_unreadable: false,
            is_stream,
        }
    }

    /// The next thing for the client; nothing after the answer.
    async fn next(&mut self) -> Option<Outgoing> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                self.is_stream.set(true);
                return Some(message);
            }
            if self.is_finished {
                return None;
            }
            if let Some(event) = self.reader.next_event() {
                self.take(event).await;
                continue;
            }
            if self.is_unreadable {
                self.fail(UpstreamFault::BadAnswer("unreadable event stream"))
                    .await;
                continue;
            }
            let ports = &self.finisher.ports;
            let now_ms = ports.now_ms();
            if now_ms >= self.ends_ms {
                self.outlived().await;
                continue;
            }
            let chunk = {
                let left_ms = self.ends_ms.saturating_sub(now_ms);
                let alarm = std::pin::pin!(ports.sleep_ms(left_ms));
                match select(self.chunks.next(), alarm).await {
                    Either::Left((chunk, _)) => Some(chunk),
                    Either::Right(_) => None,
                }
            };
            match chunk {
                Some(Some(Ok(chunk))) => {
                    self.bytes = self.bytes.saturating_add(chunk.len());
                    self.is_unreadable = self.reader.push(&chunk).is_err();
                }
                Some(Some(Err(fault))) => self.broken(fault).await,
                Some(None) => self.broken(UpstreamFault::Cut).await,
                None => {}
            }
        }
    }

    async fn take(&mut self, event: Event) {
        if let Some(id) = event.id {
            // An empty one takes back those before it.
            self.last_event_id = Some(id).filter(|id| !id.is_empty());
        }
        if let Some(retry_ms) = event.retry_ms {
            self.pause_ms = retry_ms.min(RESUMPTION_PAUSE_MS_MAX);
        }
        if event.data.is_empty() {
            return;
        }
        let data = event.data.into_bytes();
        let direction = Glance::at(&data).ok().and_then(|glance| glance.direction());
        match direction {
            Some(Direction::Answer) => match self.finisher.read(&data, 200) {
                Ok(finished) => self.finish(finished, data).await,
                Err(reason) => self.fail(UpstreamFault::BadAnswer(reason)).await,
            },
            Some(Direction::Notification) => self.notification(data).await,
            Some(Direction::Request) => self.request(&data).await,
            None => {
                self.fail(UpstreamFault::BadAnswer("an event that is no message"))
                    .await;
            }
        }
    }

    async fn finish(&mut self, finished: Finished, data: Vec<u8>) {
        let bytes = finished.changed.as_ref().map_or(data.len(), Vec::len);
        if self.is_stream.get() && bytes > CLIENT_EVENT_BYTES_MAX {
            return self.fail(UpstreamFault::TooLarge).await;
        }
        self.is_finished = true;
        let message = match self.finisher.finish(finished, self.bytes).await {
            Ok(changed) => changed.unwrap_or(data),
            Err(error) => self.finisher.error_message(&error),
        };
        self.ready.push_back(Outgoing::Message(message));
    }

    /// Notifications that belong to the request pass; those that belong to a listing refresh it as well.
    async fn notification(&mut self, data: Vec<u8>) {
        if data.len() > CLIENT_EVENT_BYTES_MAX {
            return;
        }
        self.finisher.inspect(&data);
        let Ok(glance) = Glance::at(&data) else {
            return;
        };
        let finisher = &self.finisher;
        let crosses = finisher.caller.era != finisher.server_era;
        match glance.method_name() {
            Some(
                "notifications/tools/list_changed"
                | "notifications/prompts/list_changed"
                | "notifications/resources/list_changed",
            ) => {
                finisher.ports.outdate(&finisher.server.id).await;
                if finisher.caller.era == Era::Modern {
                    return;
                }
            }
            Some("notifications/progress") if finisher.sent_id != finisher.request_id => {
                let Some(message) = self.with_clients_token(&data) else {
                    return;
                };
                self.ready.push_back(Outgoing::Message(message));
                return;
            }
            // A modern client asks for log messages with each request, and this server cannot know.
            Some("notifications/message") if crosses && finisher.caller.era == Era::Modern => {
                return;
            }
            Some("notifications/cancelled") => {
                if let Some(message) = super::session::cancelled_for_client(
                    &finisher.ports,
                    &finisher.server.id,
                    &data,
                ) {
                    self.ready.push_back(Outgoing::Message(message));
                }
                return;
            }
            _ => {}
        }
        self.ready.push_back(Outgoing::Message(data));
    }

    /// Progress of this call under the client's own token; nothing where it is another call's.
    fn with_clients_token(&self, data: &[u8]) -> Option<Vec<u8>> {
        let token = super::session::param(data, "progressToken")?;
        let own = self.finisher.progress_token.as_ref()?;
        (token.text == self.finisher.sent_id)
            .then(|| splice(data, &[(token.start..token.end, own.as_bytes())]))
    }

    /// A legacy server asks the client something in the middle of a call.
    async fn request(&mut self, data: &[u8]) {
        let finisher = &self.finisher;
        let Ok(glance) = Glance::at(data) else { return };
        let Some(id) = glance.id else { return };
        finisher.inspect(data);
        let asked = match finisher.caller.era {
            Era::Legacy => {
                super::session::ask_client(&finisher.ports, &finisher.server.id, data, id).await
            }
            Era::Modern => None,
        };
        if let Some(message) = asked {
            self.ready.push_back(Outgoing::Message(message));
        } else {
            self.decline(id.text);
            if self.finisher.caller.era == Era::Modern {
                self.end_unasked().await;
            }
        }
    }

    /// The call cannot go on without an answer that cannot be had across eras: it ends here, by name, and the server is
    /// told.
    async fn end_unasked(&mut self) {
        self.is_finished = true;
        self.tell_cancelled();
        let error = PortalError::from(Rejection::InputAcrossEras);
        let reason = Some(error.label().to_owned());
        let recorded = self
            .finisher
            .record(Status::InputRequired, reason, self.bytes)
            .await;
        let error = recorded.err().unwrap_or(error);
        self.ready
            .push_back(Outgoing::Message(self.finisher.error_message(&error)));
    }

    /// Tells a legacy server that nobody waits for its answer any more.
    fn tell_cancelled(&self) {
        let finisher = &self.finisher;
        let request = legacy_cancel(
            &finisher.server,
            finisher.session.as_ref(),
            &finisher.sent_id,
        );
        let (ports, permit, server) = (
            finisher.ports.clone(),
            finisher.permit.clone(),
            finisher.server.clone(),
        );
        finisher.ports.spawn(Box::pin(async move {
            let _ = ports.send(&permit, &server, request).await;
        }));
    }

    /// Tells a server that there is nobody to ask, so that it does not wait.
    fn decline(&self, upstream_id: &str) {
        let finisher = &self.finisher;
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{upstream_id},\"error\":{{\"code\":-32601,\"message\":\"The client cannot be asked here.\"}}}}"
        );
        let request = legacy_request(
            &finisher.server,
            finisher.session.as_ref(),
            body.into_bytes(),
        );
        let (ports, permit, server) = (
            finisher.ports.clone(),
            finisher.permit.clone(),
            finisher.server.clone(),
        );
        finisher.ports.spawn(Box::pin(async move {
            let _ = ports.send(&permit, &server, request).await;
        }));
    }

    /// The stream ended early. A legacy stream with event ids is taken up where it broke off; the call is never repeated.
    async fn broken(&mut self, fault: UpstreamFault) {
        let finisher = &self.finisher;
        let resumable = finisher.session.clone().zip(self.last_event_id.clone());
        let Some((session, last_event_id)) =
            resumable.filter(|_| self.resumptions < RESUMPTIONS_MAX)
        else {
            return self.fail(fault).await;
        };
        self.resumptions = self.resumptions.saturating_add(1);
        let ports = &finisher.ports;
        let again = async {
            ports.sleep_ms(self.pause_ms).await;
            let request = legacy_stream(&finisher.server, &session, Some(&last_event_id));
            ports
                .send(&finisher.permit, &finisher.server, request)
                .await
        };
        let left_ms = self.ends_ms.saturating_sub(ports.now_ms());
        let sent = {
            let alarm = std::pin::pin!(ports.sleep_ms(left_ms));
            match select(std::pin::pin!(again), alarm).await {
                Either::Left((sent, _)) => Some(sent),
                Either::Right(_) => None,
            }
        };
        let Some(sent) = sent else {
            return self.outlived().await;
        };
        match sent {
            Ok(reply) if reply.status == 200 && reply.kind == BodyKind::Events => {
                self.chunks = chunks(reply.body);
                self.reader = EventReader::new(UPSTREAM_EVENT_BYTES_MAX);
            }
            Ok(_) => self.fail(fault).await,
            Err(fault) => self.fail(fault).await,
        }
    }

    /// The call lasted too long, whatever the server still sends.
    async fn outlived(&mut self) {
        let life_ms = self.ends_ms.saturating_sub(self.began_ms);
        self.fail(UpstreamFault::TimedOut(life_ms)).await;
    }

    async fn fail(&mut self, fault: UpstreamFault) {
        self.is_finished = true;
        // A legacy server would go on for nobody.
        if matches!(fault, UpstreamFault::TimedOut(_)) && self.finisher.server_era == Era::Legacy {
            self.tell_cancelled();
        }
        let error = self.finisher.failure(fault);
        let recorded = self
            .finisher
            .record(
                Status::UpstreamFailed,
                Some(error.label().to_owned()),
                self.bytes,
            )
            .await;
        let error = recorded.err().unwrap_or(error);
        self.ready
            .push_back(Outgoing::Message(self.finisher.error_message(&error)));
    }
}

impl<P: Ports> Drop for Relay<P> {
    /// The client went away before the answer. A modern server sees its stream closed; a legacy one is told.
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        let finisher = &self.finisher;
        finisher.ports.note_in_flight(&finisher.request_id, None);
        let ending = Ending {
            kind: Kind::Outcome,
            status: Status::Cancelled,
            reason: None,
            reply_bytes: self.bytes as u64,
        };
        finisher.ports.queue(
            finisher
                .caller
                .event(&finisher.ports, &finisher.done(), ending),
        );
        if finisher.server_era == Era::Legacy {
            self.tell_cancelled();
        }
    }
}
