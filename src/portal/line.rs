//! Step 8 for a server that speaks HTTP+SSE: a connection for the call alone.

use futures::StreamExt as _;

use super::finish::Finisher;
use super::ports::{ClientFacts, Ports, UpstreamSession};
use super::relay::Relay;
use crate::catalog::snapshot::Facts;
use crate::config::{Server, Transport};
use crate::error::UpstreamFault;
use crate::mcp::Method;
use crate::policy::Permit;
use crate::upstream::is_settled;
use crate::upstream::line::{self, Opened};
use crate::upstream::source::{Messages, Source};

/// Whether a server is reached this way: as its configuration says, else as it was found.
pub(super) fn is_on_line(server: &Server, facts: &Facts) -> bool {
    match server.transport {
        Transport::Auto => facts.events,
        Transport::StreamableHttp => false,
        Transport::HttpSse => true,
    }
}

/// Opens a connection on behalf of the client and prepares a call on it.
///
/// # Errors
/// Why there is none. Nothing was called then. A server that does not speak the transport any more is asked anew before
/// the next call.
pub(super) async fn open<P: Ports>(
    ports: &P,
    permit: &Permit,
    server: &Server,
    method: Method,
    body: Vec<u8>,
) -> Result<(Opened, UpstreamSession), UpstreamFault> {
    if matches!(
        method,
        Method::ResourcesSubscribe | Method::ResourcesUnsubscribe
    ) {
        return Err(UpstreamFault::NoSubscriptions);
    }
    let client = ports.client().unwrap_or_else(ClientFacts::portal);
    let opened = line::open(ports, permit, server, &client).await;
    let was_found = server.transport == Transport::Auto;
    if was_found && opened.as_ref().is_err_and(is_settled) {
        ports.outdate(&server.id).await;
    }
    let (mut line, _) = opened?;
    if let Some(level) = ports.log_level() {
        line.set_log_level(&level).await?;
    }
    Ok(line.into_call(body))
}

impl<P: Ports> Relay<P> {
    /// The connection that is this call's own, taken away from it: it has to stay open until the server has heard of the
    /// call's end.
    pub(super) fn own_connection(&mut self) -> Option<Messages> {
        let session = self.finisher.session.as_ref()?;
        session.endpoint.as_ref()?;
        Some(std::mem::replace(
            &mut self.messages,
            futures::stream::empty().boxed_local(),
        ))
    }
}

impl<P: Ports> Finisher<P> {
    /// Makes the call on its connection; what comes back.
    pub(super) fn call_on_line(&self, opened: Opened) -> Messages {
        let source = Source::of_line(
            self.ports.clone(),
            self.permit.clone(),
            self.server.clone(),
            self.session.clone(),
            opened,
        );
        self.ports
            .note_in_flight(&self.request_id, Some(self.place()));
        source.messages()
    }

    /// The name under which this call's server waits for what the client sends.
    pub(super) fn place(&self) -> &str {
        let server = &self.server.id;
        self.session
            .as_ref()
            .map_or(server, |session| session.place(server))
    }
}
