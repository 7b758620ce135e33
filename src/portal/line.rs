//! Step 8 for a server that speaks HTTP+SSE: a connection for the call alone.

use futures::StreamExt as _;

use super::finisher::Finisher;
use super::ports::{ClientFacts, Ports, UpstreamSession};
use super::relay::Relay;
use super::send::Route;
use crate::catalog::snapshot::Facts;
use crate::config::{Server, Transport};
use crate::error::UpstreamFault;
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

/// Opens a connection on behalf of the client and prepares a call on it. `log_level` is how much its caller wants logged,
/// where they said so with the request.
///
/// # Errors
/// Why there is none. Nothing was called then. A server that does not speak the transport any more is asked anew before
/// the next call.
pub(super) async fn open<P: Ports>(
    route: &Route<P>,
    log_level: Option<&str>,
    body: Vec<u8>,
) -> Result<(Opened, UpstreamSession), UpstreamFault> {
    let (ports, server) = (&route.ports, &route.server);
    let client = ports.client().unwrap_or_else(ClientFacts::portal);
    let opened = line::open(ports, &route.permit, server, &client).await;
    let was_found = server.transport == Transport::Auto;
    if was_found && opened.as_ref().is_err_and(is_settled) {
        ports.outdate(&server.id).await;
    }
    let (mut line, _) = opened?;
    let level = log_level.map(str::to_owned).or_else(|| ports.log_level());
    if let Some(level) = level {
        line.set_log_level(&level).await?;
    }
    Ok(line.into_call(body))
}

impl<P: Ports> Route<P> {
    /// Makes the call on its connection; what comes back.
    pub(super) fn on_connection(&self, opened: Opened) -> Messages {
        let session = self.session.borrow().clone();
        let (ports, permit, server) =
            (self.ports.clone(), self.permit.clone(), self.server.clone());
        Source::of_line(ports, permit, server, session, opened).messages()
    }

    /// Keeps what may be a connection open until its server can have heard of the call's end.
    pub(super) fn linger(&self, messages: Messages) {
        /// How long a server may need to take a message.
        const LINGER_MS: u64 = 1_000;
        if self.on_line {
            let ports = self.ports.clone();
            self.ports.spawn(Box::pin(async move {
                ports.sleep_ms(LINGER_MS).await;
                drop(messages);
            }));
        }
    }
}

impl<P: Ports> Relay<P> {
    /// The connection that is this call's own, taken away from it: it has to stay open until the server has heard of the
    /// call's end.
    pub(super) fn own_connection(&mut self) -> Option<Messages> {
        self.finisher.session()?.endpoint?;
        Some(std::mem::replace(
            &mut self.messages,
            futures::stream::empty().boxed_local(),
        ))
    }
}

impl<P: Ports> Finisher<P> {
    /// Makes the call on its connection, where the client may cancel it.
    pub(super) fn call_on_line(&self, opened: Opened) -> Messages {
        let messages = self.route.on_connection(opened);
        let ports = &self.route.ports;
        ports.note_in_flight(&self.request_id, Some(&self.place()));
        messages
    }

    /// The name under which this call's server waits for what the client sends.
    pub(super) fn place(&self) -> String {
        let server = &self.route.server.id;
        self.session().map_or_else(
            || server.clone(),
            |session| session.place(server).to_owned(),
        )
    }
}
