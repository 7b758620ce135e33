//! The end of a call: its answer read and made the client's, its row written.
//!
//! The answer is recorded before it is passed on where the call could change something, and soon after otherwise.

use super::caller::{Deed, Ending};
use super::finisher::Finisher;
use super::inspect::Toward;
use super::keeper::Keeper;
use super::ports::Ports;
use super::questions::{Question, links_first};
use super::rounds::Asks;
use super::state::{self, Asked, State};
use crate::audit::{Kind, Status};
use crate::config::Inspect;
use crate::error::{
    HEADER_MISMATCH, Internal, MISSING_CAPABILITY, PortalError, UNSUPPORTED_VERSION,
    UpstreamFailure, UpstreamFault, to_wire,
};
use crate::mcp::json::{Raw, escape_into, splice};
use crate::mcp::reply::{Direction, Glance};
use crate::mcp::{Era, Method, reply as wire_reply};
use crate::upstream::body::result_supplement;

/// What an answer was.
pub struct Finished {
    pub(super) status: Status,
    pub(super) reason: Option<String>,
    /// The client's answer, where it is not the server's own.
    pub(super) changed: Option<Vec<u8>>,
    pub(super) refused: Option<PortalError>,
    /// What a client in a session is asked before the call goes on.
    pub(super) asks: Option<Asks>,
    /// The HTTP status under which it goes to the client, where it is not part of a stream.
    pub(super) http: u16,
}

impl Finished {
    pub(super) fn of(status: Status) -> Self {
        Self {
            status,
            reason: None,
            changed: None,
            refused: None,
            asks: None,
            http: 200,
        }
    }
}

impl<P: Ports> Finisher<P> {
    /// Reads an answer and makes the client's of it.
    ///
    /// # Errors
    /// A word for what is wrong with it: it is no answer to this request.
    pub fn read(&self, message: &[u8], status: u16) -> Result<Finished, &'static str> {
        self.inspect(message);
        if self.sent_id == self.request_id {
            return self.judge(message, status);
        }
        let id = Glance::at(message).ok().and_then(|glance| glance.id);
        let Some(id) = id.filter(|id| id.text != "null") else {
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
            if let Some(finished) = glance.error.and_then(|error| self.links_first(error.text)) {
                return Ok(finished);
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
                changed,
                http: self.http_status(glance.error, status),
                ..Finished::of(Status::RpcError)
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
        if glance.wants_input() && self.server_era == Era::Legacy {
            return Err("a request for input that its revision does not have");
        }
        if glance.wants_input() {
            return self.input_required(message, &glance);
        }
        let status = if glance.is_error {
            Status::ToolError
        } else {
            Status::Ok
        };
        Ok(Finished {
            changed: self.in_clients_words(message, &glance)?,
            ..Finished::of(status)
        })
    }

    /// The HTTP status of an error: 200, except that 2026-07-28 gives its own errors 400 and 404, which a legacy server
    /// does not know. `upstream` is the status under which it came.
    fn http_status(&self, error: Option<Raw<'_>>, upstream: u16) -> u16 {
        match (self.caller.era, self.server_era) {
            (Era::Modern, Era::Modern) if matches!(upstream, 400 | 404) => upstream,
            (Era::Modern, Era::Legacy) if error.is_some_and(is_modern_error) => 400,
            _ => 200,
        }
    }

    fn error_with_id(&self, error: &str) -> Vec<u8> {
        let id = &self.request_id;
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}").into_bytes()
    }

    /// Whether an id is the request's.
    fn is_own(&self, id: Raw<'_>) -> bool {
        is_same_id(id.text, &self.request_id)
    }

    /// The server asks for input. Its state leaves sealed to a client that answers with its next request; a client in a
    /// session is asked there.
    fn input_required(
        &self,
        message: &[u8],
        glance: &Glance<'_>,
    ) -> Result<Finished, &'static str> {
        if !self.method.may_ask() {
            return Err("a request for input where none is possible");
        }
        let plain = glance
            .request_state
            .map(|state| serde_json::from_str::<String>(state.text).unwrap_or_default());
        if self.caller.era == Era::Legacy {
            let asks = Asks::read(glance, plain).ok_or("a request for what no client can give")?;
            return Ok(Finished {
                asks: Some(asks),
                ..Finished::of(Status::InputRequired)
            });
        }
        let (Some(state), Some(plain)) = (glance.request_state, plain) else {
            return Ok(Finished::of(Status::InputRequired));
        };
        Ok(match self.sealed(&State::Server(plain)) {
            Ok(sealed) => {
                let mut quoted = Vec::with_capacity(sealed.len().saturating_add(2));
                escape_into(&mut quoted, &sealed);
                Finished {
                    changed: Some(splice(message, &[(state.start..state.end, &quoted)])),
                    ..Finished::of(Status::InputRequired)
                }
            }
            Err(error) => Finished {
                refused: Some(error),
                ..Finished::of(Status::InputRequired)
            },
        })
    }

    /// A state for this request's client.
    ///
    /// # Errors
    /// [`Internal::Platform`](crate::error::Internal::Platform).
    pub(super) fn sealed(&self, state: &State) -> Result<String, PortalError> {
        let asked = Asked {
            method: self.method,
            server: &self.route.server.id,
            target: self.deed.target.as_deref().unwrap_or_default(),
            arguments: &self.arguments,
        };
        state::seal(&self.route.ports, &self.caller, asked, state)
    }

    /// A result that asks a modern client for input: questions by key, and a sealed state.
    pub(super) fn asking<'q>(
        &self,
        questions: impl Iterator<Item = (String, &'q Question)>,
        state: &State,
    ) -> Result<Vec<u8>, PortalError> {
        let requests: serde_json::Map<String, serde_json::Value> = questions
            .map(|(key, question)| (key, question.to_input()))
            .collect();
        let result = serde_json::json!({
            "resultType": "input_required",
            "inputRequests": requests,
            "requestState": self.sealed(state)?,
        });
        Ok(wire_reply::result(
            &self.request_id,
            result.to_string().as_bytes(),
        ))
    }

    /// A legacy server wants links followed before it begins: a modern client is asked to, and calls again.
    fn links_first(&self, error: &str) -> Option<Finished> {
        let crosses = self.caller.era == Era::Modern && self.server_era == Era::Legacy;
        if !crosses || !self.method.may_ask() {
            return None;
        }
        let links = links_first(error)?;
        if links
            .iter()
            .any(|link| link.missing(self.askable.as_deref()).is_some())
        {
            return None;
        }
        let keyed = links
            .iter()
            .enumerate()
            .map(|(index, link)| (format!("link_{index}"), link));
        let changed = self.asking(keyed, &State::Again).ok()?;
        Some(Finished {
            changed: Some(changed),
            ..Finished::of(Status::InputRequired)
        })
    }

    /// What a modern client requires of a result and its server did not send; without what only modern results have for a
    /// legacy client.
    pub(super) fn supplemented(&self, message: &[u8], glance: &Glance<'_>) -> Option<Vec<u8>> {
        if self.caller.era == Era::Legacy {
            let crosses = self.server_era == Era::Modern;
            let (start, end) = member_around(message, glance.result_type.filter(|_| crosses)?)?;
            return Some(splice(message, &[(start..end, b"")]));
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
            asks: _,
            http: _,
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
        self.route.ports.note_in_flight(&self.request_id, None);
        let ending = Ending {
            kind: Kind::Outcome,
            status,
            reason,
            reply_bytes: reply_bytes as u64,
        };
        let event = self.caller.event(&self.route.ports, &self.done(), ending);
        if !self.deed.is_write {
            self.route.ports.queue(event);
            return Ok(());
        }
        let keeper = Keeper::new(&self.route.ports, event.clone());
        self.route
            .ports
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
            server: self.route.server.id.clone(),
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

/// Whether an error is one that 2026-07-28 defines and sends under 400.
fn is_modern_error(error: Raw<'_>) -> bool {
    let error: serde_json::Value = serde_json::from_str(error.text).unwrap_or_default();
    let code = error.get("code").and_then(serde_json::Value::as_i64);
    let own = [HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION];
    code.is_some_and(|code| own.into_iter().any(|own| i64::from(own) == code))
}

/// Where a member with this value stands, its name and one comma included. Nothing where its name is not spelled plainly.
fn member_around(message: &[u8], value: Raw<'_>) -> Option<(usize, usize)> {
    let before = message.get(..value.start)?.trim_ascii_end();
    let before = before.strip_suffix(b":")?.trim_ascii_end();
    let before = before.strip_suffix(b"\"resultType\"")?.trim_ascii_end();
    if let Some(before) = before.strip_suffix(b",") {
        return Some((before.len(), value.end));
    }
    let after = message.get(value.end..)?;
    let rest = after.trim_ascii_start();
    let rest = rest.strip_prefix(b",").unwrap_or(rest);
    Some((before.len(), message.len().saturating_sub(rest.len())))
}

/// Whether two ids are one, however they are spelled.
fn is_same_id(one: &str, other: &str) -> bool {
    let text = |json: &str| serde_json::from_str::<String>(json).ok();
    one == other || text(one).is_some_and(|one| text(other) == Some(one))
}
