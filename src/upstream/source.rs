//! A server's messages from an event stream, one by one, to the end of a call. A legacy stream that breaks off is taken
//! up where it did; the call is never repeated.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use futures::future::{Either, select};
use futures::stream::LocalBoxStream;
use futures::{FutureExt as _, StreamExt as _};

use super::chunks::{Chunks, Heard, Posting, chunks, hear};
use super::legacy_stream;
use super::line::{Opened, message_in, post};
use crate::config::Server;
use crate::error::{PortalError, UpstreamFailure, UpstreamFault};
use crate::limits::{CALL_TIMEOUTS_MAX, UPSTREAM_EVENT_BYTES_MAX};
use crate::mcp::event_stream::{Event, EventReader};
use crate::policy::Permit;
use crate::portal::ports::{BodyKind, Ports, UpstreamSession};

/// How often a legacy stream that breaks off is taken up again before the call is called cut.
const RESUMPTIONS_MAX: u32 = 10;

/// Pause before taking a stream up again, where the server names none.
const RESUMPTION_PAUSE_MS: u64 = 1_000;

/// Longest pause a server may ask for.
const RESUMPTION_PAUSE_MS_MAX: u64 = 30_000;

/// Messages in their order; the first error is the end.
pub type Messages = LocalBoxStream<'static, Result<Vec<u8>, PortalError>>;

/// Where a stream can be taken up again: the last event id, shared with whoever keeps it.
pub type LastEventId = Rc<RefCell<Option<String>>>;

/// The stream of one call.
pub struct Source<P: Ports> {
    ports: P,
    permit: Rc<Permit>,
    server: Rc<Server>,
    /// The legacy session in which the stream can be taken up again.
    session: Option<UpstreamSession>,
    /// Owns the read that is under way.
    chunks: Chunks,
    /// Messages that were read before.
    early: VecDeque<Vec<u8>>,
    /// The call's own connection, where it has one.
    connection: Option<Connection<P>>,
    reader: EventReader,
    is_unreadable: bool,
    began_ms: u64,
    /// When the call ends whatever the server still sends.
    ends_ms: u64,
    last_event_id: LastEventId,
    /// The kept call whose row says it too.
    call: Option<String>,
    pause_ms: u64,
    resumptions: u32,
}

impl<P: Ports> Source<P> {
    /// Reads a body. `reader` holds what was read of it already.
    pub fn new(
        ports: P,
        permit: Rc<Permit>,
        server: Rc<Server>,
        session: Option<UpstreamSession>,
        body: P::Body,
    ) -> Self {
        Self::over(ports, permit, server, session, chunks(body))
    }

    /// Makes a call on a line that was opened for it, and reads the line.
    pub fn of_line(
        ports: P,
        permit: Rc<Permit>,
        server: Rc<Server>,
        session: Option<UpstreamSession>,
        opened: Opened,
    ) -> Self {
        let Opened {
            chunks,
            reader,
            early,
            call,
        } = opened;
        let posting = {
            let (ports, permit, server) = (ports.clone(), permit.clone(), server.clone());
            async move { post(&ports, &permit, &server, call).await }.boxed_local()
        };
        let mut source = Self::over(ports, permit, server, session, chunks);
        source.reader = reader;
        source.early = early;
        source.connection = Some(Connection::begin(&source, posting));
        source
    }

    fn over(
        ports: P,
        permit: Rc<Permit>,
        server: Rc<Server>,
        session: Option<UpstreamSession>,
        chunks: Chunks,
    ) -> Self {
        let began_ms = ports.now_ms();
        let life_ms = life_ms(&server);
        Self {
            ports,
            permit,
            server,
            session,
            chunks,
            early: VecDeque::new(),
            connection: None,
            reader: EventReader::new(UPSTREAM_EVENT_BYTES_MAX),
            is_unreadable: false,
            began_ms,
            ends_ms: began_ms.saturating_add(life_ms),
            last_event_id: LastEventId::default(),
            call: None,
            pause_ms: RESUMPTION_PAUSE_MS,
            resumptions: 0,
        }
    }

    /// Takes up the stream of a call after an event, at once.
    ///
    /// # Errors
    /// Why the server does not go on with it.
    pub async fn taken_up(
        ports: P,
        permit: Rc<Permit>,
        server: Rc<Server>,
        session: UpstreamSession,
        last_event_id: LastEventId,
        call: Option<String>,
    ) -> Result<Self, UpstreamFault> {
        let after = last_event_id.borrow().clone().ok_or(UpstreamFault::Cut)?;
        let request = legacy_stream(&server, &session, Some(&after));
        let reply = ports.send(&permit, &server, request).await?;
        if reply.status != 200 || reply.kind != BodyKind::Events {
            return Err(UpstreamFault::Cut);
        }
        Ok(
            Self::new(ports, permit, server, Some(session), reply.body)
                .keeping(last_event_id, call),
        )
    }

    /// Notes the last event id where somebody else sees it too, and in the row of a kept call.
    #[must_use]
    pub fn keeping(mut self, last_event_id: LastEventId, call: Option<String>) -> Self {
        self.last_event_id = last_event_id;
        self.call = call;
        self
    }

    /// The messages.
    #[must_use]
    pub fn messages(self) -> Messages {
        futures::stream::unfold(Some(self), |source| async move {
            let mut source = source?;
            let next = source.next().await.map_err(|fault| {
                let server = source.server.id.clone();
                PortalError::from(UpstreamFailure { server, fault })
            });
            let rest = next.is_ok().then_some(source);
            Some((next, rest))
        })
        .fuse()
        .boxed_local()
    }

    /// The next message.
    ///
    /// # Errors
    /// How the stream ended before the answer.
    async fn next(&mut self) -> Result<Vec<u8>, UpstreamFault> {
        if let Some(message) = self.early.pop_front() {
            return Ok(message);
        }
        loop {
            if let Some(event) = self.reader.next_event() {
                if let Some(message) = self.take(event)? {
                    return Ok(message);
                }
                continue;
            }
            if self.is_unreadable {
                return Err(UpstreamFault::BadAnswer("unreadable event stream"));
            }
            let now_ms = self.ports.now_ms();
            if now_ms >= self.ends_ms {
                if !self.is_asking() {
                    return Err(self.outlived());
                }
                // The person takes their time, and so does the server that waits for them.
                self.ends_ms = now_ms.saturating_add(life_ms(&self.server));
            }
            let left_ms = self.ends_ms.saturating_sub(now_ms);
            let posting = self.connection.as_mut().map(|line| &mut line.posting);
            let alarm = self.ports.sleep_ms(left_ms);
            match hear(&mut self.chunks, posting.unwrap_or(&mut None), alarm).await {
                Heard::Chunk(Some(Ok(chunk))) => {
                    self.is_unreadable = self.reader.push(&chunk).is_err();
                }
                Heard::Chunk(Some(Err(UpstreamFault::TimedOut(_)))) if self.is_asking() => {}
                Heard::Chunk(Some(Err(fault))) => self.broken(fault).await?,
                Heard::Chunk(None) => self.broken(UpstreamFault::Cut).await?,
                // A server may hold back its reply to the call for as long as it works; the stream says whether it does.
                Heard::Posted(Ok(()) | Err(UpstreamFault::TimedOut(_))) | Heard::Nothing => {}
                Heard::Posted(Err(fault)) => return Err(fault),
            }
        }
    }

    /// Whether the server waits for the client: its silence is no fault then.
    fn is_asking(&self) -> bool {
        self.ports.is_asking(self.place(), self.call.as_deref())
    }

    /// The name under which this call's server waits for the client.
    fn place(&self) -> &str {
        let server = &self.server.id;
        self.session
            .as_ref()
            .map_or(server, |session| session.place(server))
    }

    fn take(&mut self, event: Event) -> Result<Option<Vec<u8>>, UpstreamFault> {
        if self.connection.is_some() {
            // A line that breaks off is gone, whatever ids its events had.
            return message_in(event);
        }
        if let Some(id) = event.id {
            // An empty one takes back those before it.
            let id = Some(id).filter(|id| !id.is_empty());
            if let (Some(call), Some(id)) = (&self.call, &id) {
                self.ports.note_event_id(call, id);
            }
            *self.last_event_id.borrow_mut() = id;
        }
        if let Some(retry_ms) = event.retry_ms {
            self.pause_ms = retry_ms.min(RESUMPTION_PAUSE_MS_MAX);
        }
        Ok((!event.data.is_empty()).then(|| event.data.into_bytes()))
    }

    /// The stream ended early.
    async fn broken(&mut self, fault: UpstreamFault) -> Result<(), UpstreamFault> {
        let last_event_id = self.last_event_id.borrow().clone();
        let resumable = self.session.clone().zip(last_event_id);
        let Some((session, last_event_id)) =
            resumable.filter(|_| self.resumptions < RESUMPTIONS_MAX)
        else {
            return Err(fault);
        };
        self.resumptions = self.resumptions.saturating_add(1);
        let ports = &self.ports;
        let again = async {
            ports.sleep_ms(self.pause_ms).await;
            let request = legacy_stream(&self.server, &session, Some(&last_event_id));
            ports.send(&self.permit, &self.server, request).await
        };
        let left_ms = self.ends_ms.saturating_sub(ports.now_ms());
        let sent = {
            let alarm = std::pin::pin!(ports.sleep_ms(left_ms));
            match select(std::pin::pin!(again), alarm).await {
                Either::Left((sent, _)) => Some(sent),
                Either::Right(_) => None,
            }
        };
        let reply = sent.ok_or_else(|| self.outlived())??;
        if reply.status != 200 || reply.kind != BodyKind::Events {
            return Err(fault);
        }
        self.chunks = chunks(reply.body);
        self.reader = EventReader::new(UPSTREAM_EVENT_BYTES_MAX);
        Ok(())
    }

    /// The call lasted too long, whatever the server still sends.
    fn outlived(&self) -> UpstreamFault {
        UpstreamFault::TimedOut(self.ends_ms.saturating_sub(self.began_ms))
    }
}

fn life_ms(server: &Server) -> u64 {
    u64::from(server.timeout_ms).saturating_mul(CALL_TIMEOUTS_MAX)
}

/// A call's own connection: noted while it is open, so that what the client sends to its server finds the way.
struct Connection<P: Ports> {
    ports: P,
    place: String,
    /// The call on its way.
    posting: Option<Posting<'static>>,
}

impl<P: Ports> Connection<P> {
    fn begin(source: &Source<P>, posting: Posting<'static>) -> Self {
        let place = source.place().to_owned();
        source.ports.note_connection(&place, source.session.clone());
        Self {
            ports: source.ports.clone(),
            place,
            posting: Some(posting),
        }
    }
}

impl<P: Ports> Drop for Connection<P> {
    fn drop(&mut self) {
        self.ports.note_connection(&self.place, None);
    }
}
