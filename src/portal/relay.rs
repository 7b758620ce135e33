//! What a server sends before and with its answer, made the client's, message by message in the order it came.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use futures::StreamExt as _;
use futures::channel::oneshot;
use futures::future::{Either, select};

use super::caller::Ending;
use super::finish::Finished;
use super::finisher::Finisher;
use super::ports::{Outbound, Ports};
use super::questions::Question;
use super::reply::Outgoing;
use super::rounds::Asks;
use super::{hold, rounds, session};
use crate::audit::{Kind, Status};
use crate::error::{PortalError, Rejection, UpstreamFault};
use crate::limits::{CLIENT_EVENT_BYTES_MAX, QUESTIONS_GATHER_MS, QUESTIONS_MAX};
use crate::mcp::Era;
use crate::mcp::json::splice;
use crate::mcp::log_level::is_wanted;
use crate::mcp::reply::{Direction, Glance, unquote};
use crate::upstream::source::Messages;
use crate::upstream::{legacy_cancel, legacy_request};

/// Questions of one round to a modern client: one message, with the state sealed beside them.
const ROUND_BYTES_MAX: usize = CLIENT_EVENT_BYTES_MAX - 1024;

/// A stream on its way from a server to the client.
pub(super) struct Relay<P: Ports> {
    pub(super) finisher: Finisher<P>,
    pub(super) messages: Messages,
    ready: VecDeque<Outgoing>,
    is_finished: bool,
    bytes: usize,
    framing: Rc<Framing>,
    /// Questions to a modern client that become one round: the server's id, as JSON text, and what it asks.
    asked: Vec<(String, Question)>,
    /// How large they are together: one message brings them to the client.
    asked_bytes: usize,
    /// When they do, in Unix milliseconds.
    asks_ms: u64,
    /// The round of questions to a legacy client.
    round: u32,
    /// Fires when the client cancels.
    cancelled: Option<oneshot::Receiver<()>>,
}

/// How what is passed on is framed; shared with whoever makes the response.
pub(super) struct Framing {
    /// What is passed on from here on is an event.
    pub(super) is_stream: Cell<bool>,
    /// The HTTP status of an answer that is none.
    pub(super) http: Cell<u16>,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            is_stream: Cell::new(false),
            http: Cell::new(200),
        }
    }
}

/// What comes next.
enum Next {
    Message(Option<Result<Vec<u8>, PortalError>>),
    Ask,
    Cancelled,
}

impl<P: Ports> Relay<P> {
    pub(super) fn new(finisher: Finisher<P>, messages: Messages, framing: Rc<Framing>) -> Self {
        let is_modern = finisher.server_era == Era::Modern;
        let kept = finisher.route.ports.kept();
        // A legacy server is told itself; a modern one sees its stream closed.
        let cancelled = kept
            .filter(|_| finisher.caller.era == Era::Legacy && is_modern)
            .map(|kept| kept.cancelled(&finisher.request_id));
        Self {
            finisher,
            messages,
            ready: VecDeque::new(),
            is_finished: false,
            bytes: 0,
            framing,
            asked: Vec::new(),
            asked_bytes: 0,
            asks_ms: 0,
            round: 0,
            cancelled,
        }
    }

    /// The rest of a call whose object began anew.
    pub(super) fn revived(mut finisher: Finisher<P>, messages: Messages, round: u32) -> Self {
        if round > 0 {
            finisher.sent_id = rounds::round_id(&finisher.caller, round);
        }
        let framing = Rc::new(Framing::default());
        framing.is_stream.set(true);
        let mut relay = Self::new(finisher, messages, framing);
        relay.round = round;
        relay
    }

    /// The next thing for the client, and whether it is the last; nothing after the answer.
    pub(super) async fn next(&mut self) -> Option<(Outgoing, bool)> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                self.framing.is_stream.set(true);
                return Some((message, self.is_finished && self.ready.is_empty()));
            }
            if self.is_finished {
                return None;
            }
            match self.wait().await {
                Next::Message(Some(Ok(message))) => {
                    self.bytes = self.bytes.saturating_add(message.len());
                    self.take(message).await;
                }
                Next::Message(Some(Err(error))) => self.fail(error).await,
                Next::Message(None) => self.fault(UpstreamFault::Cut).await,
                Next::Ask => self.lay_down().await,
                Next::Cancelled => self.cancel(),
            }
        }
    }

    async fn wait(&mut self) -> Next {
        let ports = &self.finisher.route.ports;
        let message = self.messages.next();
        if let Some(cancelled) = &mut self.cancelled {
            return match select(message, cancelled).await {
                Either::Left((message, _)) => Next::Message(message),
                Either::Right((Ok(()), _)) => Next::Cancelled,
                // Another request of this id took its place.
                Either::Right((Err(_), message)) => {
                    let message = message.await;
                    self.cancelled = None;
                    Next::Message(message)
                }
            };
        }
        if self.asked.is_empty() {
            return Next::Message(message.await);
        }
        let alarm = std::pin::pin!(ports.sleep_ms(self.asks_ms.saturating_sub(ports.now_ms())));
        match select(message, alarm).await {
            Either::Left((message, _)) => Next::Message(message),
            Either::Right(_) => Next::Ask,
        }
    }

    /// Whether this is a modern client's call that may wait for it.
    fn is_held(&self) -> bool {
        self.finisher.caller.era == Era::Modern && self.finisher.route.call.is_some()
    }

    async fn take(&mut self, data: Vec<u8>) {
        let direction = Glance::at(&data).ok().and_then(|glance| glance.direction());
        match direction {
            Some(Direction::Answer) => match self.finisher.read(&data, 200) {
                Ok(mut finished) => match finished.asks.take() {
                    Some(asks) => self.begin_round(asks).await,
                    None => self.finish(finished, data).await,
                },
                Err(reason) => self.fault(UpstreamFault::BadAnswer(reason)).await,
            },
            Some(Direction::Notification) => self.notification(data).await,
            Some(Direction::Request) => self.request(&data).await,
            None => {
                self.fault(UpstreamFault::BadAnswer("an event that is no message"))
                    .await;
            }
        }
    }

    async fn finish(&mut self, finished: Finished, data: Vec<u8>) {
        let bytes = finished.changed.as_ref().map_or(data.len(), Vec::len);
        if self.framing.is_stream.get() && bytes > CLIENT_EVENT_BYTES_MAX {
            return self.fault(UpstreamFault::TooLarge).await;
        }
        self.is_finished = true;
        self.framing.http.set(finished.http);
        self.drop_call();
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
                let route = &finisher.route;
                route.ports.outdate(&route.server.id).await;
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
            // A modern client says with each request how much it wants logged; a session has one level for all.
            Some("notifications/message") if crosses && finisher.caller.era == Era::Modern => {
                let level = session::param(&data, "level").and_then(unquote);
                let wanted = finisher.log_level.as_deref();
                if !wanted.is_some_and(|wanted| is_wanted(level.unwrap_or_default(), wanted)) {
                    return;
                }
            }
            // Told on listening streams alone, where the client's own ids are known (SEP-2663).
            Some("notifications/tasks") => return,
            Some("notifications/cancelled") if self.is_held() => return,
            Some("notifications/cancelled") => {
                let route = &finisher.route;
                if let Some(message) =
                    session::cancelled_for_client(&route.ports, &finisher.place(), &data)
                {
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
        let token = session::param(data, "progressToken")?;
        let own = self.finisher.progress_token.as_ref()?;
        (token.text == self.finisher.sent_id)
            .then(|| splice(data, &[(token.start..token.end, own.as_bytes())]))
    }

    /// A legacy server asks the client something in the middle of a call.
    async fn request(&mut self, data: &[u8]) {
        let Ok(glance) = Glance::at(data) else { return };
        let Some(id) = glance.id else { return };
        self.finisher.inspect(data);
        if glance.method_name() == Some("ping") && self.finisher.caller.era == Era::Modern {
            let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{}}}}", id.text);
            return self.reply_soon(body);
        }
        if self.is_held() {
            return self.hold_question(id.text, &glance, data.len());
        }
        let finisher = &self.finisher;
        let asked = match finisher.caller.era {
            Era::Legacy if data.len() <= CLIENT_EVENT_BYTES_MAX => {
                let route = &finisher.route;
                let call = finisher.route.call.clone();
                session::ask_client(&route.ports, &finisher.place(), data, id, call).await
            }
            Era::Legacy | Era::Modern => None,
        };
        match asked {
            Some(message) => self.ready.push_back(Outgoing::Message(message)),
            None => self.decline(id.text),
        }
    }

    /// A question to a modern client. One that it cannot be asked is declined at once: the server may know a way without.
    fn hold_question(&mut self, id: &str, glance: &Glance<'_>, bytes: usize) {
        let method = glance.method_name().unwrap_or_default();
        let question = Question::from_request(method, glance.params.map(|params| params.text));
        let askable = self.finisher.askable.as_deref();
        let question = question
            .filter(|question| question.missing(askable).is_none())
            .filter(|_| self.asked.len() < QUESTIONS_MAX)
            .filter(|_| self.asked_bytes.saturating_add(bytes) <= ROUND_BYTES_MAX);
        let Some(question) = question else {
            return self.decline(id);
        };
        if self.asked.is_empty() {
            let now_ms = self.finisher.route.ports.now_ms();
            self.asks_ms = now_ms.saturating_add(QUESTIONS_GATHER_MS);
        }
        // A server that repeats an id asks the same.
        if self.asked.iter().all(|(known, _)| known != id) {
            self.asked.push((id.to_owned(), question));
            self.asked_bytes = self.asked_bytes.saturating_add(bytes);
        }
    }

    /// The client gets the questions as its result, and the call waits.
    async fn lay_down(&mut self) {
        let messages =
            std::mem::replace(&mut self.messages, futures::stream::empty().boxed_local());
        let asked = std::mem::take(&mut self.asked);
        let ids: Vec<String> = asked.iter().map(|(id, _)| id.clone()).collect();
        match hold::lay_down(&self.finisher, asked, messages) {
            Ok(result) => {
                self.is_finished = true;
                let recorded = self
                    .finisher
                    .record(Status::InputRequired, None, self.bytes);
                let message = match recorded.await {
                    Ok(()) => result,
                    Err(error) => {
                        // Nobody gets its state, so nobody comes back.
                        if let Some(call) = &self.finisher.route.call {
                            hold::abandon(&self.finisher.route.ports, call);
                        }
                        self.finisher.error_message(&error)
                    }
                };
                self.ready.push_back(Outgoing::Message(message));
            }
            Err(error) => {
                for id in ids {
                    self.decline(&id);
                }
                self.tell_cancelled();
                self.fail(error).await;
            }
        }
    }

    /// A modern server asks a legacy client for input before it goes on.
    async fn begin_round(&mut self, asks: Asks) {
        self.round = self.round.saturating_add(1);
        if let Err(error) = rounds::check(&self.finisher, &asks, self.round) {
            return self.fail(error).await;
        }
        let recorded = self
            .finisher
            .record(Status::InputRequired, None, self.bytes);
        if let Err(error) = recorded.await {
            return self.fail(error).await;
        }
        let route = &self.finisher.route;
        let request_id = self.finisher.request_id.clone();
        route
            .ports
            .note_in_flight(&request_id, Some(&route.server.id));
        match rounds::begin(&self.finisher, asks, self.round).await {
            Ok(next) => {
                let requests = next.requests.into_iter().map(Outgoing::Message);
                self.ready.extend(requests);
                self.finisher.sent_id = next.sent_id;
                self.messages = next.messages;
            }
            Err(error) => self.fail(error).await,
        }
    }

    /// The client wants no answer any more, and gets none.
    fn cancel(&mut self) {
        self.cancelled = None;
        self.drop_call();
        self.ready.clear();
        self.record_cancelled();
        self.is_finished = true;
        self.messages = futures::stream::empty().boxed_local();
    }

    fn record_cancelled(&self) {
        let finisher = &self.finisher;
        let ports = &finisher.route.ports;
        ports.note_in_flight(&finisher.request_id, None);
        let ending = Ending {
            kind: Kind::Outcome,
            status: Status::Cancelled,
            reason: None,
            reply_bytes: self.bytes as u64,
        };
        ports.queue(finisher.caller.event(ports, &finisher.done(), ending));
    }

    /// Nothing of the call is kept any more. A person need not answer what nobody waits for, and hears so.
    fn drop_call(&mut self) {
        let finisher = &self.finisher;
        let ports = &finisher.route.ports;
        if self.cancelled.is_some()
            && let Some(kept) = ports.kept()
        {
            kept.forget_cancel(&finisher.request_id);
        }
        let Some(call) = &finisher.route.call else {
            return;
        };
        if self.is_held() {
            return hold::end(ports, call);
        }
        for id in rounds::end(ports, call) {
            let message = format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{id},\"reason\":\"The call ended.\"}}}}"
            );
            self.ready
                .push_back(Outgoing::Message(message.into_bytes()));
        }
    }

    /// Tells a legacy server that nobody waits for its answer any more.
    fn tell_cancelled(&mut self) {
        let connection = self.own_connection();
        let session = self.finisher.session();
        let server = &self.finisher.route.server;
        let cancel = legacy_cancel(server, session.as_ref(), &self.finisher.sent_id);
        self.send_soon(cancel, connection);
    }

    /// Tells a server that there is nobody to ask, so that it does not wait.
    fn decline(&self, upstream_id: &str) {
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{upstream_id},\"error\":{{\"code\":-32601,\"message\":\"The client cannot be asked here.\"}}}}"
        );
        self.reply_soon(body);
    }

    fn reply_soon(&self, body: String) {
        let session = self.finisher.session();
        let server = &self.finisher.route.server;
        let reply = legacy_request(server, session.as_ref(), body.into_bytes());
        self.send_soon(reply, None);
    }

    /// Sends what is not waited for, and then lets go of a connection.
    fn send_soon(&self, request: Outbound, connection: Option<Messages>) {
        let route = self.finisher.route.clone();
        let ports = route.ports.clone();
        ports.spawn(Box::pin(async move {
            let _ = route
                .ports
                .send(&route.permit, &route.server, request)
                .await;
            drop(connection);
        }));
    }

    async fn fault(&mut self, fault: UpstreamFault) {
        self.fail(self.finisher.failure(fault)).await;
    }

    async fn fail(&mut self, error: PortalError) {
        self.is_finished = true;
        self.drop_call();
        let status = match &error {
            PortalError::Upstream(_) => Status::UpstreamFailed,
            PortalError::Rejected(Rejection::InputExpired) => Status::Cancelled,
            PortalError::Rejected(_) => Status::Refused,
            PortalError::Internal(_) => Status::Interrupted,
        };
        let timed_out = matches!(
            &error,
            PortalError::Upstream(failure) if matches!(failure.fault, UpstreamFault::TimedOut(_))
        );
        // A legacy server would go on for nobody.
        if timed_out && self.finisher.server_era == Era::Legacy {
            self.tell_cancelled();
        }
        let reason = Some(error.label().to_owned());
        let recorded = self.finisher.record(status, reason, self.bytes).await;
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
        self.drop_call();
        self.record_cancelled();
        if self.finisher.server_era == Era::Legacy {
            self.tell_cancelled();
        }
    }
}
