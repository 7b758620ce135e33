//! The HTTP+SSE transport (2024-11-05, basic/transports): a stream of the server's messages, whose first event names the
//! endpoint for the client's. A line is opened for one use, a call or a listing, and closed with it: nothing of it is
//! shared or remembered.

use std::collections::VecDeque;

use futures::FutureExt as _;

use super::chunks::{Chunks, Heard, Posting, chunks, hear};
use super::endpoint::{Address, Endpoint};
use super::rpc::{Answer, Answered, answer_in, declined};
use super::session::{
    INITIALIZE_ID, INITIALIZED, Initialized, LEVEL_ID, initialize, level_request, negotiated,
};
use super::{events_stream, legacy_request, status_fault};
use crate::config::Server;
use crate::error::UpstreamFault;
use crate::limits::{DECLINED_MAX, EARLY_MESSAGES_MAX, ENDPOINT_MS_MAX, UPSTREAM_EVENT_BYTES_MAX};
use crate::mcp::Revision;
use crate::mcp::event_stream::{Event, EventReader};
use crate::policy::Permit;
use crate::portal::ports::{
    BodyKind, ClientFacts, Outbound, Ports, UpstreamSession, Upstreams, random_id,
};

/// The server answers a GET with something else than a stream: it does not speak this transport.
pub const NO_STREAM: UpstreamFault = UpstreamFault::BadAnswer("no event stream");

const NO_ENDPOINT: UpstreamFault =
    UpstreamFault::BadAnswer("an event stream that names no endpoint");
const LATE_ENDPOINT: UpstreamFault =
    UpstreamFault::BadAnswer("an event stream that does not begin with its endpoint");
const SECOND_ENDPOINT: UpstreamFault = UpstreamFault::BadAnswer("a second endpoint");
const UNREADABLE: UpstreamFault = UpstreamFault::BadAnswer("unreadable event stream");

/// An open connection, and the session in it.
pub struct Line<'a, P: Ports> {
    ports: &'a P,
    permit: &'a Permit,
    server: &'a Server,
    chunks: Chunks,
    reader: EventReader,
    is_unreadable: bool,
    session: UpstreamSession,
    /// What came before anybody waited for it, where it is kept.
    early: Option<VecDeque<Vec<u8>>>,
    declined: usize,
}

/// A connection on which a call is about to be made.
pub struct Opened {
    /// The stream.
    pub chunks: Chunks,
    /// What was read of it and not yet taken.
    pub reader: EventReader,
    /// Messages that came before the call.
    pub early: VecDeque<Vec<u8>>,
    /// The call.
    pub call: Outbound,
}

/// Opens a connection on behalf of a client and shakes hands.
///
/// # Errors
/// What the status of the stream means; [`NO_STREAM`]; a stream without an endpoint in time, or with one of another
/// origin; how the handshake failed.
pub async fn open<'a, P: Ports>(
    ports: &'a P,
    permit: &'a Permit,
    server: &'a Server,
    client: &ClientFacts,
) -> Result<(Line<'a, P>, Initialized), UpstreamFault> {
    let reply = ports.send(permit, server, events_stream(server)).await?;
    if let Some(fault) = status_fault(reply.status, reply.retry_after_s) {
        return Err(fault);
    }
    if reply.kind != BodyKind::Events {
        return Err(NO_STREAM);
    }
    let mut chunks = chunks(reply.body);
    let mut reader = EventReader::new(UPSTREAM_EVENT_BYTES_MAX);
    let address = named_address(ports, server, &mut chunks, &mut reader).await?;
    let mut line = Line {
        ports,
        permit,
        server,
        chunks,
        reader,
        is_unreadable: false,
        session: UpstreamSession {
            id: None,
            // Nothing is negotiated yet, and this one has no header that would say so.
            revision: Revision::V2024_11_05,
            log_level: None,
            endpoint: Some(Endpoint::new(address, &server.id, &random_id(ports))),
        },
        early: None,
        declined: 0,
    };
    let Answer::Result(result) = line.asked(INITIALIZE_ID, initialize(client)).await? else {
        return Err(UpstreamFault::NoCommonRevision);
    };
    let (revision, initialized) = negotiated(&result)?;
    line.session.revision = revision;
    line.post(INITIALIZED.to_vec()).await?;
    Ok((line, initialized))
}

/// Waits for the first event, which names the endpoint.
async fn named_address<P: Ports>(
    ports: &P,
    server: &Server,
    chunks: &mut Chunks,
    reader: &mut EventReader,
) -> Result<Address, UpstreamFault> {
    let ends_ms = ports
        .now_ms()
        .saturating_add(u64::from(server.timeout_ms).min(ENDPOINT_MS_MAX));
    let mut is_unreadable = false;
    loop {
        while let Some(event) = reader.next_event() {
            match event.event.as_deref() {
                Some("endpoint") => return Address::resolve(&server.target, &event.data),
                // An id or a pause alone is no event to a browser.
                None if event.data.is_empty() => {}
                _ => return Err(LATE_ENDPOINT),
            }
        }
        if is_unreadable {
            return Err(UNREADABLE);
        }
        let left_ms = ends_ms.saturating_sub(ports.now_ms());
        if left_ms == 0 {
            return Err(NO_ENDPOINT);
        }
        match hear(chunks, &mut None, ports.sleep_ms(left_ms)).await {
            Heard::Chunk(Some(Ok(chunk))) => is_unreadable = reader.push(&chunk).is_err(),
            Heard::Chunk(Some(Err(UpstreamFault::TimedOut(_))) | None) | Heard::Nothing => {
                return Err(NO_ENDPOINT);
            }
            Heard::Chunk(Some(Err(fault))) | Heard::Posted(Err(fault)) => return Err(fault),
            Heard::Posted(Ok(())) => {}
        }
    }
}

/// The message in an event of an open line; nothing for events of other names, which are none of the protocol's.
///
/// # Errors
/// A second endpoint: what was posted to the first one is then anybody's guess.
pub fn message_in(event: Event) -> Result<Option<Vec<u8>>, UpstreamFault> {
    match event.event.as_deref() {
        Some("endpoint") => Err(SECOND_ENDPOINT),
        None | Some("message") if !event.data.is_empty() => Ok(Some(event.data.into_bytes())),
        _ => Ok(None),
    }
}

/// Posts a message to an endpoint. The reply's body is ignored, and its status is what counts.
///
/// # Errors
/// No reply, or what its status means.
pub async fn post<U: Upstreams>(
    upstreams: &U,
    permit: &Permit,
    server: &Server,
    message: Outbound,
) -> Result<(), UpstreamFault> {
    let reply = upstreams.send(permit, server, message).await?;
    status_fault(reply.status, reply.retry_after_s).map_or(Ok(()), Err)
}

impl<P: Ports> Line<'_, P> {
    /// The session, for as long as the line is open.
    #[must_use]
    pub fn session(&self) -> &UpstreamSession {
        &self.session
    }

    /// Asks a question of the portal's own and waits for the answer, at most for the server's time-out.
    ///
    /// # Errors
    /// What a status means, a stream that ends or cannot be read, or no answer in time.
    pub async fn ask(&mut self, id: &str, body: Vec<u8>) -> Result<Answered, UpstreamFault> {
        self.asked(id, body).await.map(Answered::of)
    }

    /// Tells the server how much to log. One that does not is no failure. What else it says meanwhile is kept.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn set_log_level(&mut self, level: &str) -> Result<(), UpstreamFault> {
        self.early.get_or_insert_default();
        self.asked(LEVEL_ID, level_request(level)).await.map(drop)
    }

    /// Hands the connection over to a call.
    #[must_use]
    pub fn into_call(self, body: Vec<u8>) -> (Opened, UpstreamSession) {
        let call = legacy_request(self.server, Some(&self.session), body);
        let opened = Opened {
            chunks: self.chunks,
            reader: self.reader,
            early: self.early.unwrap_or_default(),
            call,
        };
        (opened, self.session)
    }

    async fn asked(&mut self, id: &str, body: Vec<u8>) -> Result<Answer, UpstreamFault> {
        let (ports, permit, server) = (self.ports, self.permit, self.server);
        let request = legacy_request(server, Some(&self.session), body);
        let timeout_ms = u64::from(server.timeout_ms);
        let ends_ms = ports.now_ms().saturating_add(timeout_ms);
        let mut posting: Option<Posting<'_>> =
            Some(post(ports, permit, server, request).boxed_local());
        loop {
            while let Some(event) = self.reader.next_event() {
                let Some(message) = message_in(event)? else {
                    continue;
                };
                if let Some(answer) = answer_in(&message, id) {
                    return Ok(answer);
                }
                self.mind(message).await;
            }
            if self.is_unreadable {
                return Err(UNREADABLE);
            }
            let left_ms = ends_ms.saturating_sub(ports.now_ms());
            if left_ms == 0 {
                return Err(UpstreamFault::TimedOut(timeout_ms));
            }
            match hear(&mut self.chunks, &mut posting, ports.sleep_ms(left_ms)).await {
                Heard::Chunk(Some(Ok(chunk))) => {
                    self.is_unreadable = self.reader.push(&chunk).is_err();
                }
                Heard::Chunk(Some(Err(fault))) | Heard::Posted(Err(fault)) => return Err(fault),
                Heard::Chunk(None) => return Err(UpstreamFault::Cut),
                Heard::Posted(Ok(())) | Heard::Nothing => {}
            }
        }
    }

    async fn post(&self, body: Vec<u8>) -> Result<(), UpstreamFault> {
        let message = legacy_request(self.server, Some(&self.session), body);
        post(self.ports, self.permit, self.server, message).await
    }

    /// What else a server says: kept for the call, where there will be one, else its requests are declined, so that it
    /// does not wait.
    async fn mind(&mut self, message: Vec<u8>) {
        if let Some(early) = &mut self.early {
            if early.len() < EARLY_MESSAGES_MAX {
                early.push_back(message);
            }
            return;
        }
        if self.declined >= DECLINED_MAX {
            return;
        }
        if let Some(answer) = declined(&message, "The client cannot be asked here.") {
            self.declined = self.declined.saturating_add(1);
            let _ = self.post(answer).await;
        }
    }
}
