//! What a call under way carries until its end: who called, where it went, under which ids, and what it may do there.

use std::cell::Cell;
use std::rc::Rc;

use super::caller::{Caller, Deed, Ending};
use super::inspect::{Seen, Toward};
use super::ports::{Ports, UpstreamSession};
use super::record::Again;
use super::send::{Route, SharedSession};
use super::tasks::TaskPart;
use crate::audit::{Kind, Status};
use crate::config::{Inspect, Server};
use crate::error::{Internal, PortalError};
use crate::mcp::{Era, Method, Request};
use crate::policy::Permit;
use crate::upstream::source::LastEventId;

/// What is needed to end a call properly.
pub struct Finisher<P: Ports> {
    /// The way to the server and back: the world, where, and by which permit.
    pub route: Route<P>,
    /// Who called.
    pub caller: Rc<Caller>,
    /// What they did.
    pub deed: Deed,
    /// What inspection saw of what came back, and of what went out after the beginning.
    pub came_back: Rc<Cell<Seen>>,
    /// How the server speaks.
    pub server_era: Era,
    /// The id of the client's request, as JSON text.
    pub request_id: String,
    /// The id under which the server knows it.
    pub sent_id: String,
    /// The client's progress token, as JSON text.
    pub progress_token: Option<String>,
    /// What a modern client declared with its request of what it can be asked.
    pub askable: Option<String>,
    /// How much the client wants logged, where it said so with the request.
    pub log_level: Option<String>,
    /// The method.
    pub method: Method,
    /// The request's arguments as JSON text, for what only the same request may continue.
    pub arguments: String,
    /// What it has to do with tasks.
    pub task: TaskPart,
    /// What the call is made of, where it may go to the server again with answers.
    pub again: Option<Rc<Again>>,
}

impl<P: Ports> Finisher<P> {
    /// For a call without an id yet.
    pub fn new(
        ports: &P,
        caller: &Rc<Caller>,
        deed: Deed,
        server: Rc<Server>,
        server_era: Era,
        method: Method,
        permit: Permit,
    ) -> Self {
        Self {
            route: Route {
                ports: ports.clone(),
                permit: Rc::new(permit),
                server,
                subject: caller.principal.subject.clone(),
                session: SharedSession::default(),
                last_event_id: LastEventId::default(),
                call: None,
                on_line: false,
            },
            caller: caller.clone(),
            deed,
            came_back: Rc::default(),
            server_era,
            request_id: String::new(),
            sent_id: String::new(),
            progress_token: None,
            askable: None,
            log_level: None,
            method,
            arguments: String::new(),
            task: TaskPart::None,
            again: None,
        }
    }

    /// Notes what the request says.
    pub(super) fn about(&mut self, request: &Request<'_>) {
        let params = &request.params;
        request.id.text.clone_into(&mut self.request_id);
        request.id.text.clone_into(&mut self.sent_id);
        self.progress_token = params
            .meta
            .progress_token
            .map(|token| token.text.to_owned());
        self.log_level = params
            .meta
            .log_level
            .as_ref()
            .map(|level| level.value.to_string());
        if let (Era::Modern, Some(arguments)) = (self.caller.era, params.arguments) {
            arguments.text.clone_into(&mut self.arguments);
        }
    }

    /// (7) Looks at a message on its way to the server.
    pub(super) fn inspect_outgoing(&mut self, message: &[u8]) {
        if self.caller.portal.inspect == Inspect::Log {
            let seen = self.deed.seen.get_or_insert_default();
            seen.look(Toward::Server, message);
        }
    }

    /// (10, first half) Records that a write is about to leave, before it does.
    ///
    /// # Errors
    /// [`Internal::AuditAway`](crate::error::Internal::AuditAway): it must not leave.
    pub(super) async fn intend(&self) -> Result<(), PortalError> {
        if !self.deed.is_write {
            return Ok(());
        }
        let intent = Ending {
            kind: Kind::Intent,
            status: Status::Pending,
            reason: None,
            reply_bytes: 0,
        };
        let ports = &self.route.ports;
        let event = self.caller.event(ports, &self.deed, intent);
        let recorded = ports.append(vec![event]).await;
        recorded.map_err(|_| Internal::AuditAway.into())
    }

    /// The legacy session the call was made in.
    #[must_use]
    pub fn session(&self) -> Option<UpstreamSession> {
        self.route.session.borrow().clone()
    }

    /// Notes it.
    pub fn set_session(&self, session: Option<UpstreamSession>) {
        *self.route.session.borrow_mut() = session;
    }
}
