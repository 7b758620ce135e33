//! Who asks, where, and under which revision of the rules: what every step of one request shares.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::inspect::Seen;
use super::ports::{AuditSink, Clock, Random, Toggles};
use crate::audit::{Event, Kind, Status, next_event_id};
use crate::config::{Config, Portal};
use crate::identity::Principal;
use crate::mcp::{Era, Revision};
use crate::policy::Admission;

/// The configuration in force.
#[derive(Debug)]
pub struct Active {
    /// Its revision.
    pub revision: u64,
    /// The document.
    pub config: Config,
}

/// Reads a header of the client's request.
pub type SentHeader = Rc<dyn Fn(&str) -> Option<String>>;

/// One request's caller.
#[derive(Clone)]
pub struct Caller {
    /// Who.
    pub principal: Rc<Principal>,
    /// Why they may be here.
    pub admission: Admission,
    /// Where.
    pub portal: Rc<Portal>,
    /// The rules in force.
    pub active: Rc<Active>,
    /// What the client calls itself: the OAuth client, else its self-given name.
    pub agent: Option<String>,
    /// Found again in the audit.
    pub request_id: String,
    /// Unix milliseconds of receipt.
    pub received_ms: u64,
    /// How the client speaks.
    pub era: Era,
    /// Which revision it speaks.
    pub revision: Revision,
    /// Size of its body.
    pub request_bytes: u64,
    /// Headers of its request.
    pub sent_header: SentHeader,
}

/// What a row says beyond the caller.
#[derive(Debug, Clone, Default)]
pub struct Deed {
    /// The MCP method.
    pub method: String,
    /// The server.
    pub server: Option<String>,
    /// The tool, prompt or resource there.
    pub target: Option<String>,
    /// The rule that decided.
    pub rule: Option<String>,
    /// Whether it could change something.
    pub is_write: bool,
    /// What inspection saw, where the portal inspects.
    pub seen: Option<Seen>,
}

/// How a deed ended.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Which row.
    pub kind: Kind,
    /// How.
    pub status: Status,
    /// Why.
    pub reason: Option<String>,
    /// How much was answered.
    pub reply_bytes: u64,
}

impl Caller {
    /// What toggles and the like belong to: the grant of one agent of one principal.
    #[must_use]
    pub fn grant(&self) -> String {
        format!("{}|{}", self.portal.id, self.principal.grant_key())
    }

    /// The servers the caller switched off. A portal without its own tools has no switches to look up.
    pub async fn toggled_off<P: Toggles>(&self, ports: &P) -> Rc<BTreeSet<String>> {
        if self.portal.portal_tools {
            ports.toggled_off(&self.grant()).await
        } else {
            Rc::default()
        }
    }

    /// The row of a deed.
    pub fn event<P: Clock + Random>(&self, ports: &P, deed: &Deed, ending: Ending) -> Event {
        let now_ms = ports.now_ms();
        let mut random = [0_u8; 10];
        ports.fill(&mut random);
        Event {
            id: next_event_id(now_ms, random),
            request_id: self.request_id.clone(),
            at_ms: now_ms,
            kind: ending.kind,
            status: ending.status,
            reason: ending.reason,
            rule: deed.rule.clone(),
            portal: self.portal.id.clone(),
            principal: self.principal.subject.clone(),
            email: self.principal.email.clone(),
            agent: self.agent.clone(),
            method: deed.method.clone(),
            server: deed.server.clone(),
            target: deed.target.clone(),
            era: self.era.as_str().to_owned(),
            is_write: deed.is_write,
            duration_ms: now_ms.saturating_sub(self.received_ms),
            request_bytes: self.request_bytes,
            reply_bytes: ending.reply_bytes,
            revision: self.active.revision,
            inspected_out_bytes: deed.seen.map(|seen| seen.to_server_bytes),
            inspected_in_bytes: deed.seen.map(|seen| seen.to_client_bytes),
        }
    }

    /// Records a refusal.
    pub fn refuse<P: Clock + Random + AuditSink>(&self, ports: &P, deed: &Deed, reason: &str) {
        let ending = Ending {
            kind: Kind::Refusal,
            status: Status::Refused,
            reason: Some(reason.to_owned()),
            reply_bytes: 0,
        };
        ports.queue(self.event(ports, deed, ending));
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller")
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}
