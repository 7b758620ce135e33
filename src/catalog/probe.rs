//! Finding out how a server is spoken to, in the order of the specification: the modern question, the legacy handshake,
//! and then, only where a server takes no POST, the stream of HTTP+SSE (MCP 2026-07-28, basic/transports/streamable-http,
//! "Backward Compatibility"; 2025-11-25, basic/transports, "Backwards Compatibility").

use super::snapshot::Facts;
use super::sync::{Modern, legacy_facts, modern_facts};
use crate::config::{EraChoice, Server, Transport};
use crate::error::UpstreamFault;
use crate::mcp::Era;
use crate::policy::Permit;
use crate::portal::ports::{ClientFacts, Ports};
use crate::upstream::body::own_request;
use crate::upstream::line::{self, Line};
use crate::upstream::rpc::{self, Answered, Question};
use crate::upstream::session::OwnSession;
use crate::upstream::{is_absence, is_settled, legacy_request, modern_request, session};

/// How a server is asked what it has.
pub(super) enum Way<'a, P: Ports> {
    /// Each request for itself.
    Modern,
    /// In a legacy session.
    Session(OwnSession<'a, P>),
    /// Over one HTTP+SSE connection.
    Line(Box<Line<'a, P>>),
}

impl<P: Ports> Way<'_, P> {
    /// Asks one question. `members` is the inside of `params`.
    pub(super) async fn ask(
        &mut self,
        ports: &P,
        permit: &Permit,
        server: &Server,
        (id, method, members): (&str, &str, &str),
    ) -> Result<Answered, UpstreamFault> {
        let legacy = || own_request(id, method, members, Era::Legacy);
        let request = match self {
            Self::Modern => {
                let body = own_request(id, method, members, Era::Modern);
                modern_request(server, method, None, Vec::new(), body)
            }
            Self::Session(session) => legacy_request(server, Some(session.get()), legacy()),
            Self::Line(line) => return line.ask(id, legacy()).await,
        };
        rpc::ask(ports, permit, server, Question { id, request }).await
    }
}

/// Finds out how a server is spoken to. What it was is tried first; what it may have become, when it is that no more.
///
/// # Errors
/// Why it cannot be spoken to. A refusal, a rate limit, a redirect, a server error or silence says nothing about how a
/// server speaks: nothing else is tried then.
pub(super) async fn probe<'a, P: Ports>(
    ports: &'a P,
    permit: &'a Permit,
    server: &'a Server,
    known: Option<&Facts>,
) -> Result<(Facts, Way<'a, P>), UpstreamFault> {
    let may_be_on_line =
        server.transport != Transport::StreamableHttp && server.era != EraChoice::Modern;
    let was_on_line =
        server.transport == Transport::HttpSse || known.is_some_and(|known| known.events);
    if may_be_on_line && was_on_line {
        match on_line(ports, permit, server).await {
            Err(fault) if server.transport == Transport::Auto && is_settled(&fault) => {}
            found => return found,
        }
    }
    let known = known.filter(|known| !known.events);
    let may_be_modern = server.era != EraChoice::Legacy;
    let was_legacy = known.is_some_and(|known| !known.modern);
    // Every question so far was answered as by a server that takes no POST here.
    let mut is_absent = true;
    if may_be_modern && !was_legacy {
        match modern_facts(ports, permit, server, known).await? {
            Modern::Is(facts) => return Ok((*facts, Way::Modern)),
            Modern::IsNot => is_absent = false,
            Modern::IsAbsent => {}
        }
    }
    if server.era == EraChoice::Modern {
        return Err(UpstreamFault::NoCommonRevision);
    }
    let fault = match session::open(ports, permit, server, &ClientFacts::capable()).await {
        Ok((opened, initialized)) => {
            let facts = legacy_facts(opened.revision, initialized);
            return Ok((facts, Way::Session(OwnSession::new(ports, server, opened))));
        }
        Err(fault) => fault,
    };
    is_absent &= matches!(fault, UpstreamFault::Status(status) if is_absence(status));
    if may_be_modern && was_legacy && is_settled(&fault) {
        match modern_facts(ports, permit, server, known).await? {
            Modern::Is(facts) => return Ok((*facts, Way::Modern)),
            Modern::IsNot => is_absent = false,
            Modern::IsAbsent => {}
        }
    }
    if !is_absent || !may_be_on_line || was_on_line {
        return Err(fault);
    }
    match on_line(ports, permit, server).await {
        // Not this transport either: what the documented one was answered says more.
        Err(UpstreamFault::Status(_) | line::NO_STREAM) => Err(fault),
        found => found,
    }
}

async fn on_line<'a, P: Ports>(
    ports: &'a P,
    permit: &'a Permit,
    server: &'a Server,
) -> Result<(Facts, Way<'a, P>), UpstreamFault> {
    let (line, initialized) = line::open(ports, permit, server, &ClientFacts::capable()).await?;
    let facts = Facts {
        events: true,
        // A subscription would end with the connection that made it.
        subscribe: false,
        ..legacy_facts(line.session().revision, initialized)
    };
    Ok((facts, Way::Line(Box::new(line))))
}
