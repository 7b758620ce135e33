//! What a server sends before and with its answer, made the client's, message by message in the order it came.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use futures::StreamExt as _;

use super::caller::Ending;
use super::finish::{Finished, Finisher};
use super::ports::Ports;
use super::reply::Outgoing;
use crate::audit::{Kind, Status};
use crate::error::{PortalError, Rejection, UpstreamFault};
use crate::limits::CLIENT_EVENT_BYTES_MAX;
use crate::mcp::Era;
use crate::mcp::json::splice;
use crate::mcp::reply::{Direction, Glance};
use crate::upstream::source::Messages;
use crate::upstream::{legacy_cancel, legacy_request};

/// A stream on its way from a server to the client.
pub(super) struct Relay<P: Ports> {
    pub(super) finisher: Finisher<P>,
    pub(super) messages: Messages,
    ready: VecDeque<Outgoing>,
    is_finished: bool,
    bytes: usize,
    /// What is passed on from here on is an event.
    is_stream: Rc<Cell<bool>>,
}

impl<P: Ports> Relay<P> {
    pub(super) fn new(
        finisher: Finisher<P>,
        messages: Messages,
        is_stream: Rc<Cell<bool>>,
    ) -> Self {
        Self {
            finisher,
            messages,
            ready: VecDeque::new(),
            is_finished: false,
            bytes: 0,
            is_stream,
        }
    }

    /// The next thing for the client, and whether it is the last; nothing after the answer.
    pub(super) async fn next(&mut self) -> Option<(Outgoing, bool)> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                self.is_stream.set(true);
                return Some((message, self.is_finished && self.ready.is_empty()));
            }
            if self.is_finished {
                return None;
            }
            match self.messages.next().await {
                Some(Ok(message)) => {
                    self.bytes = self.bytes.saturating_add(message.len());
                    self.take(message).await;
                }
                Some(Err(fault)) => self.fail(fault).await,
                None => self.fail(UpstreamFault::Cut).await,
            }
        }
    }

    async fn take(&mut self, data: Vec<u8>) {
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
                if let Some(message) =
                    super::session::cancelled_for_client(&finisher.ports, finisher.place(), &data)
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
                super::session::ask_client(&finisher.ports, finisher.place(), data, id).await
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
    fn tell_cancelled(&mut self) {
        let connection = self.own_connection();
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
            drop(connection);
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
