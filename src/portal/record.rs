//! A call as a row: enough to go on with it, or to end it by name, after the object that made it began anew. Permits are
//! never stored; the rules decide again.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::caller::{Caller, Deed, Ending};
use super::finisher::Finisher;
use super::ports::{ClientFacts, Outbound, Ports, UpstreamSession};
use super::rounds::Asking;
use crate::audit::{Event, Kind, Status};
use crate::config::Server;
use crate::error::{Internal, PortalError};
use crate::identity::Principal;
use crate::mcp::{Method, Revision};
use crate::policy::{Ask, admit, decide};
use crate::upstream::legacy_cancel;

/// Who called, in which portal, when and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallerRecord {
    principal: Principal,
    portal: String,
    agent: Option<String>,
    request_id: String,
    received_ms: u64,
    revision: Revision,
    request_bytes: u64,
}

impl CallerRecord {
    fn of(caller: &Caller) -> Self {
        Self {
            principal: (*caller.principal).clone(),
            portal: caller.portal.id.clone(),
            agent: caller.agent.clone(),
            request_id: caller.request_id.clone(),
            received_ms: caller.received_ms,
            revision: caller.revision,
            request_bytes: caller.request_bytes,
        }
    }

    /// The caller under the rules in force; nothing where no rule lets them in any more. That the token of the call has
    /// expired meanwhile does not matter: whoever goes on with it came with one of their own.
    async fn caller<P: Ports>(self, ports: &P) -> Option<Caller> {
        let active = ports.active().await?;
        let portal = active.config.portal(&self.portal)?.clone();
        let admission = admit(&self.principal, &portal, &active.config.groups).ok()?;
        Some(Caller {
            principal: Rc::new(self.principal),
            admission,
            portal,
            active,
            agent: self.agent,
            request_id: self.request_id,
            received_ms: self.received_ms,
            era: self.revision.era(),
            revision: self.revision,
            request_bytes: self.request_bytes,
            sent_header: Rc::new(|_| None),
        })
    }
}

/// What a legacy client's call is made of each time it goes to a modern server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Again {
    /// The client's message.
    pub body: String,
    /// The server's own name of what it calls.
    pub name: String,
    /// Arguments mirrored in headers.
    pub headers: Vec<(String, String)>,
    /// What the client declared of what it can be asked.
    pub client: ClientFacts,
    /// How much the client wants logged.
    pub log_level: Option<String>,
}

/// One call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallRecord {
    caller: CallerRecord,
    method: String,
    server: String,
    target: String,
    is_write: bool,
    inspects: bool,
    /// The client's id, as JSON text.
    pub request_id: String,
    sent_id: String,
    progress_token: Option<String>,
    /// The server speaks the modern revision.
    modern: bool,
    session: Option<UpstreamSession>,
    again: Option<Again>,
    /// The round of questions that is under way.
    pub asking: Option<Asking>,
    /// What the audit says where nobody can go on with it: also where its caller may not be here any more.
    pub ending: Event,
}

impl CallRecord {
    /// The record of a call under way.
    #[must_use]
    pub fn of<P: Ports>(finisher: &Finisher<P>) -> Self {
        Self {
            caller: CallerRecord::of(&finisher.caller),
            method: finisher.method.as_str().to_owned(),
            server: finisher.route.server.id.clone(),
            target: finisher.deed.target.clone().unwrap_or_default(),
            is_write: finisher.deed.is_write,
            inspects: finisher.deed.seen.is_some(),
            request_id: finisher.request_id.clone(),
            sent_id: finisher.sent_id.clone(),
            progress_token: finisher.progress_token.clone(),
            modern: finisher.server_era == crate::mcp::Era::Modern,
            session: finisher.session(),
            again: finisher.again.as_deref().cloned(),
            asking: None,
            ending: finisher.caller.event(
                &finisher.route.ports,
                &finisher.done(),
                Ending {
                    kind: Kind::Outcome,
                    status: Status::Interrupted,
                    reason: Some(PortalError::from(Internal::Interrupted).label().to_owned()),
                    reply_bytes: 0,
                },
            ),
        }
    }

    /// The request, as the audit knows it.
    #[must_use]
    pub fn audit_id(&self) -> &str {
        &self.caller.request_id
    }

    /// What tells a legacy server that nobody waits for the call any more. Nothing for a modern one, which saw its
    /// connection end, or where the server is not configured any more.
    pub async fn cancel<P: Ports>(&self, ports: &P) -> Option<(Rc<Server>, Outbound)> {
        let session = self.session.as_ref().filter(|_| !self.modern)?;
        let active = ports.active().await?;
        let server = active.config.servers.get(&self.server)?.clone();
        let request = legacy_cancel(&server, Some(session), &self.sent_id);
        Some((server, request))
    }

    /// The text of the row.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a row.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// What ends the call, decided anew. Nothing where the rules have changed against it, or the server is gone.
    pub async fn finisher<P: Ports>(&self, ports: &P, call: &str) -> Option<Finisher<P>> {
        let caller = Rc::new(self.caller.clone().caller(ports).await?);
        let method = Method::parse(&self.method)?;
        let place = caller.portal.server(&self.server);
        let place = place.filter(|place| place.server.enabled)?;
        let server = place.server.clone();
        let ask = match method {
            Method::ToolsCall => Ask::Tool {
                name: &self.target,
                read_only: !self.is_write,
            },
            _ => Ask::Read,
        };
        let permit = decide(&caller.admission, &caller.portal, place, ask).ok()?;
        let deed = Deed {
            method: self.method.clone(),
            server: Some(self.server.clone()),
            target: Some(self.target.clone()),
            rule: Some(permit.rule().to_owned()),
            is_write: self.is_write,
            seen: self.inspects.then(Default::default),
        };
        let era = if self.modern {
            crate::mcp::Era::Modern
        } else {
            crate::mcp::Era::Legacy
        };
        let mut finisher = Finisher::new(ports, &caller, deed, server, era, method, permit);
        finisher.request_id.clone_from(&self.request_id);
        finisher.sent_id.clone_from(&self.sent_id);
        finisher.progress_token.clone_from(&self.progress_token);
        finisher.set_session(self.session.clone());
        finisher.again = self.again.clone().map(Rc::new);
        finisher.route.call = Some(call.to_owned());
        Some(finisher)
    }
}
