//! The end of a call: its answer read and made the client's, its row written.
//!
//! The answer is recorded before it is passed on where the call could change something, and soon after otherwise.

use std::cell::Cell;
use std::rc::Rc;

use super::call::state_binding;
use super::caller::{Caller, Deed, Ending};
use super::inspect::{Seen, Toward};
use super::ports::{AuditSink, Ports, UpstreamSession};
use super::tasks::TaskPart;
use crate::audit::{Kind, Status};
use crate::config::{Inspect, Server};
use crate::error::{Internal, PortalError, Rejection, UpstreamFailure, UpstreamFault, to_wire};
use crate::mcp::json::{Raw, escape_into, splice};
use crate::mcp::reply::{Direction, Glance};
use crate::mcp::{Era, Method, reply as wire_reply};
use crate::policy::Permit;
use crate::upstream::body::result_supplement;
use crate::upstream::source::Source;

/// What is needed to end a call properly.
pub struct Finisher<P: Ports> {
    /// The world.
    pub ports: P,
    /// Who called.
    pub caller: Rc<Caller>,
    /// What they did.
    pub deed: Deed,
    /// What inspection saw of what came back.
    pub came_back: Cell<Seen>,
    /// Where.
    pub server: Rc<Server>,
    /// How the server speaks.
    pub server_era: Era,
    /// The legacy session the call was made in.
    pub session: Option<UpstreamSession>,
    /// The id of the client's request, as JSON text.
    pub request_id: String,
    /// The id under which the server knows it.
    pub sent_id: String,
    /// The client's progress token, as JSON text.
    pub progress_token: Option<String>,
    /// The method.
    pub method: Method,
    /// What it has to do with tasks.
    pub task: TaskPart,
    /// The permit of the call, for what belongs to it: taking its stream up again, answering for an absent client.
    pub permit: Rc<Permit>,
}

/// What an answer was.
pub struct Finished {
    pub(super) status: Status,
    pub(super) reason: Option<String>,
    /// The client's answer, where it is not the server's own.
    pub(super) changed: Option<Vec<u8>>,
    pub(super) refused: Option<PortalError>,
}

impl<P: Ports> Finisher<P> {
    /// The messages of the call, from the body that carries them.
    pub fn source(&self, body: P::Body) -> Source<P> {
        let (permit, server) = (self.permit.clone(), self.server.clone());
        Source::new(
            self.ports.clone(),
            permit,
            server,
            self.session.clone(),
            body,
        )
    }

    /// Reads an answer and makes the client's of it.
    ///
    /// # Errors
    /// A word for what is wrong with it: it is no answer to this request.
    pub fn read(&self, message: &[u8], status: u16) -> Result<Finished, &'static str> {
        self.inspect(message);
        let id = Glance::at(message).ok().and_then(|glance| glance.id);
        let Some(id) = id.filter(|id| self.sent_id != self.request_id && id.text != "null") else {
            return self.judge(message, status);
        };
        if !is_same_id(id.text, &self.sent_id) {
            return Err("an answer to something else");
        }
        let renamed = splice(message, &[(id.start..id.end, self.request_id.as_bytes())]);
        let mut finished = self.judge(&renamed, status)?;
        finished.changed.get_or_insert(renamed);
        Ok(finished)
    }

    /// Judges an answer that names the client's request.
    fn judge(&self, message: &[u8], status: u16) -> Result<Finished, &'static str> {
        let glance = Glance::at(message).map_err(|_| "not JSON")?;
        if glance.direction() != Some(Direction::Answer) {
            return Err("no answer");
        }
        if glance.error.is_some() {
            if glance
                .id
                .is_some_and(|id| !self.is_own(id) && id.text != "null")
            {
                return Err("an answer to something else");
            }
            // An error without an id is about this request: it is the only one in this exchange.
            let changed = match glance.id {
                Some(id) if id.text == self.request_id => None,
                Some(id) => Some(splice(
                    message,
                    &[(id.start..id.end, self.request_id.as_bytes())],
                )),
                None => glance.error.map(|error| self.error_with_id(error.text)),
            };
            return Ok(Finished {
                status: Status::RpcError,
                reason: None,
                changed,
                refused: None,
            });
        }
        if status >= 400 {
            return Err("a result under an error status");
        }
        if glance.id.is_none_or(|id| !self.is_own(id)) {
            return Err("an answer to something else");
        }
        if glance.is_task() {
            return self.task_begun(message, &glance);
        }
        if glance.wants_input() {
            return Ok(self.input_required(message, &glance));
        }
        let status = if glance.is_error {
            Status::ToolError
        } else {
            Status::Ok
        };
        Ok(Finished {
            status,
            reason: None,
            changed: self.in_clients_words(message, &glance)?,
            refused: None,
        })
    }

    fn error_with_id(&self, error: &str) -> Vec<u8> {
        let id = &self.request_id;
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}").into_bytes()
    }

    /// Whether an id is the request's.
    fn is_own(&self, id: Raw<'_>) -> bool {
        is_same_id(id.text, &self.request_id)
    }

    /// The server asks for input: its state leaves sealed. Across eras nobody can be asked yet.
    fn input_required(&self, message: &[u8], glance: &Glance<'_>) -> Finished {
        let ended = |changed, refused| Finished {
            status: Status::InputRequired,
            reason: None,
            changed,
            refused,
        };
        if self.caller.era == Era::Legacy {
            return ended(None, Some(Rejection::InputAcrossEras.into()));
        }
        let Some(state) = glance.request_state else {
            return ended(None, None);
        };
        let plain = serde_json::from_str::<String>(state.text).unwrap_or_default();
        let mut nonce = [0_u8; 24];
        self.ports.fill(&mut nonce);
        let request = format!(
            "{} {}",
            self.method.as_str(),
            self.deed.target.as_deref().unwrap_or_default()
        );
        let binding = state_binding(&self.caller, &self.server, &request);
        match self
            .ports
            .sealer()
            .seal(binding, plain.as_bytes(), self.ports.now_ms(), nonce)
        {
            Some(sealed) => {
                let mut quoted = Vec::with_capacity(sealed.len().saturating_add(2));
                escape_into(&mut quoted, &sealed);
                ended(
                    Some(splice(message, &[(state.start..state.end, &quoted)])),
                    None,
                )
            }
            None => ended(None, Some(Internal::Platform.into())),
        }
    }

    /// What a modern client requires of a result and the server did not send.
    pub(super) fn supplemented(&self, message: &[u8], glance: &Glance<'_>) -> Option<Vec<u8>> {
        if self.caller.era == Era::Legacy {
            return None;
        }
        let is_cacheable = self.method == Method::ResourcesRead;
        let supplement = result_supplement(
            glance.result_type.is_none(),
            is_cacheable && !glance.has_ttl,
            is_cacheable && !glance.has_cache_scope,
        );
        if supplement.is_empty() {
            return None;
        }
        let result = glance.result?;
        let inside = result.text.strip_prefix('{')?;
        let is_empty = inside.trim_start().starts_with('}');
        let insertion = if is_empty {
            supplement
        } else {
            format!("{supplement},")
        };
        let at = result.start.saturating_add(1);
        Some(splice(message, &[(at..at, insertion.as_bytes())]))
    }

    /// (9) Looks at a message on its way to the client.
    pub fn inspect(&self, message: &[u8]) {
        if self.caller.portal.inspect == Inspect::Log {
            let mut seen = self.came_back.get();
            seen.look(Toward::Client, message);
            self.came_back.set(seen);
        }
    }

    /// Records the end and returns the changed answer, where it was changed.
    ///
    /// # Errors
    /// The answer may not be passed on: it asks for input that cannot be given, or it could not be recorded.
    pub async fn finish(
        &self,
        finished: Finished,
        reply_bytes: usize,
    ) -> Result<Option<Vec<u8>>, PortalError> {
        let Finished {
            status,
            reason,
            changed,
            refused,
        } = finished;
        let reason = reason.or_else(|| refused.as_ref().map(|error| error.label().to_owned()));
        self.record(status, reason, reply_bytes).await?;
        refused.map_or(Ok(changed), Err)
    }

    pub(super) async fn record(
        &self,
        status: Status,
        reason: Option<String>,
        reply_bytes: usize,
    ) -> Result<(), PortalError> {
        self.ports.note_in_flight(&self.request_id, None);
        let ending = Ending {
            kind: Kind::Outcome,
            status,
            reason,
            reply_bytes: reply_bytes as u64,
        };
        let event = self.caller.event(&self.ports, &self.done(), ending);
        if !self.deed.is_write {
            self.ports.queue(event);
            return Ok(());
        }
        let keeper = Keeper::new(&self.ports, event.clone());
        self.ports
            .append(vec![event])
            .await
            .map_err(|_| PortalError::from(Internal::OutcomeUnrecorded))?;
        keeper.let_go();
        Ok(())
    }

    /// The deed with all that was seen of it.
    pub(super) fn done(&self) -> Deed {
        let mut deed = self.deed.clone();
        if let Some(seen) = &mut deed.seen {
            seen.add(self.came_back.get());
        }
        deed
    }

    pub(super) fn failure(&self, fault: UpstreamFault) -> PortalError {
        UpstreamFailure {
            server: self.server.id.clone(),
            fault,
        }
        .into()
    }

    /// An error in place of the answer.
    pub(super) fn error_message(&self, error: &PortalError) -> Vec<u8> {
        wire_reply::error(
            &self.request_id,
            &to_wire(error, self.caller.era),
            &self.caller.request_id,
        )
    }
}

/// Whether two ids are one, however they are spelled.
fn is_same_id(one: &str, other: &str) -> bool {
    let text = |json: &str| serde_json::from_str::<String>(json).ok();
    one == other || text(one).is_some_and(|one| text(other) == Some(one))
}

/// Queues a row that was not stored for certain, also where nobody waits for that any more. The ledger keeps one row of
/// an id.
pub(super) struct Keeper<'p, P: AuditSink> {
    ports: &'p P,
    event: Option<crate::audit::Event>,
}

impl<'p, P: AuditSink> Keeper<'p, P> {
    pub(super) fn new(ports: &'p P, event: crate::audit::Event) -> Self {
        let event = Some(event);
        Self { ports, event }
    }

    pub(super) fn let_go(mut self) {
        self.event = None;
    }
}

impl<P: AuditSink> Drop for Keeper<'_, P> {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            self.ports.queue(event);
        }
    }
}
