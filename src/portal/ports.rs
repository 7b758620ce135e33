//! What the core sees of the world: tiny traits, implemented at the edge and by fakes in tests.
//!
//! Nothing here is `Send`: an isolate has one thread.
#![allow(
    async_fn_in_trait,
    reason = "single-threaded by design; no caller needs a Send bound"
)]

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::rc::Rc;

use futures::future::LocalBoxFuture;

use super::caller::Caller;
use super::kept::Kept;
use super::subscriptions::Subscriptions;
use crate::audit::Event;
use crate::catalog::{Snapshot, SnapshotKey};
use crate::config::Server;
use crate::error::{PortalError, UpstreamFault};
use crate::mcp::Revision;
use crate::policy::Permit;
use crate::seal::Sealer;
use crate::upstream::endpoint::{Address, Endpoint};

/// The time.
pub trait Clock {
    /// Unix milliseconds. Does not advance during computation on Workers.
    fn now_ms(&self) -> u64;
    /// Waits.
    async fn sleep_ms(&self, ms: u64);
}

/// Randomness fit for keys and nonces.
pub trait Random {
    /// Fills a buffer.
    fn fill(&self, bytes: &mut [u8]);
}

/// Work that goes on after the reply.
pub trait Background {
    /// Runs a task to its end, however the client behaves.
    fn spawn(&self, task: LocalBoxFuture<'static, ()>);
}

/// How a request to an upstream is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// One message.
    Post,
    /// A stream of server messages (legacy).
    Get,
    /// The end of a session (legacy).
    Delete,
}

/// A request to an upstream, without its credential: the edge adds that from the worker's secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// The HTTP method.
    pub verb: Verb,
    /// Where to, where that is not the server's own address.
    pub to: Option<Address>,
    /// Protocol headers.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The message; empty for GET and DELETE.
    pub body: Vec<u8>,
    /// Until the reply's headers, and between any two chunks of its body.
    pub timeout_ms: u64,
}

/// What a body is, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// `application/json`
    Json,
    /// `text/event-stream`
    Events,
    /// Anything else, or nothing.
    Other,
}

/// The head of an upstream's reply.
#[derive(Debug)]
pub struct UpstreamReply<B> {
    /// HTTP status.
    pub status: u16,
    /// What the body is.
    pub kind: BodyKind,
    /// `Mcp-Session-Id`.
    pub session_id: Option<String>,
    /// `Retry-After` in seconds.
    pub retry_after_s: Option<u32>,
    /// The body, unread.
    pub body: B,
}

/// A body read whole: a copy to look at, and the platform's own, to pass on without copying back.
#[derive(Debug)]
pub struct Whole<O> {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The same, as the platform holds them.
    pub original: O,
}

/// An upstream's body.
pub trait UpstreamBody: 'static {
    /// The platform's own form of a whole body.
    type Original: 'static;
    /// Reads it to its end, or fails beyond the bound.
    async fn whole(self, bytes_max: usize) -> Result<Whole<Self::Original>, UpstreamFault>;
    /// Reads the next chunk; nothing at the end.
    async fn chunk(&mut self) -> Option<Result<Vec<u8>, UpstreamFault>>;
}

/// The way to upstream servers.
pub trait Upstreams {
    /// The platform's body.
    type Body: UpstreamBody;
    /// Sends one request. Redirects are not followed. The server's own credential is added here and nowhere else.
    ///
    /// # Errors
    /// Only failures without an HTTP reply; every status is a reply.
    async fn send(
        &self,
        permit: &Permit,
        server: &Server,
        request: Outbound,
    ) -> Result<UpstreamReply<Self::Body>, UpstreamFault>;
}

/// The ledger did not take the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditAway;

/// The audit trail.
pub trait AuditSink {
    /// Appends and returns once the events are durable.
    ///
    /// # Errors
    /// [`AuditAway`]: nothing was recorded.
    async fn append(&self, events: Vec<Event>) -> Result<(), AuditAway>;
    /// Appends soon. Used where nothing was changed.
    fn queue(&self, event: Event);
    /// Whether the queue has room; without it nothing new is begun.
    fn has_room(&self) -> bool;
}

/// Stored snapshots.
pub trait Catalogs {
    /// A snapshot from memory or the store.
    async fn snapshot(&self, key: &SnapshotKey) -> Option<Rc<Snapshot>>;
    /// Several at once: one trip to the store for all that memory lacks.
    async fn snapshots(&self, keys: &[SnapshotKey]) -> Vec<Option<Rc<Snapshot>>>;
    /// Stores a snapshot and tells the other isolates.
    async fn store_snapshot(&self, snapshot: Rc<Snapshot>);
    /// Marks every snapshot of a server as outdated, here and elsewhere: the next use fetches it anew.
    async fn outdate(&self, server: &str);
    /// Claims the sync of a key for a short while. Refused to whoever comes second, so that one stale snapshot is one
    /// fetch; nobody waits for it.
    fn claim_sync(&self, key: &SnapshotKey) -> bool;
    /// Notes a failed sync.
    fn note_failure(&self, key: &SnapshotKey, fault: UpstreamFault);
    /// The failure of a sync within the cool-down, if any.
    fn recent_failure(&self, key: &SnapshotKey) -> Option<UpstreamFault>;
}

/// What a client declared: when it opened a legacy session, or with its request.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ClientFacts {
    /// `capabilities`, as JSON text.
    pub capabilities: String,
    /// `clientInfo`, as JSON text.
    pub info: String,
}

impl ClientFacts {
    /// The portal asking what a server has for whom ever: some servers list a tool only to clients that could be asked
    /// what the tool will ask.
    #[must_use]
    pub fn capable() -> Self {
        Self {
            capabilities: "{\"elicitation\":{},\"roots\":{},\"sampling\":{}}".to_owned(),
            ..Self::portal()
        }
    }

    /// The portal speaking for itself, or for a client that cannot be asked anything.
    #[must_use]
    pub fn portal() -> Self {
        Self {
            capabilities: "{}".to_owned(),
            info: format!(
                "{{\"name\":\"portcullis\",\"version\":\"{}\"}}",
                env!("CARGO_PKG_VERSION")
            ),
        }
    }
}

/// A legacy session with an upstream.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UpstreamSession {
    /// `Mcp-Session-Id`; nothing where the server is stateless.
    pub id: Option<String>,
    /// What was negotiated.
    pub revision: Revision,
    /// How much the server was told to log, where it was.
    #[serde(default)]
    pub log_level: Option<String>,
    /// Over HTTP+SSE: where the connection takes messages, for as long as it is open. Such a session is its call's own, and
    /// where it was written down nothing is left of it.
    #[serde(skip)]
    pub endpoint: Option<Endpoint>,
}

impl UpstreamSession {
    /// The name under which what waits in this session is noted: the server's id, or the connection's own.
    #[must_use]
    pub fn place<'a>(&'a self, server: &'a str) -> &'a str {
        self.endpoint
            .as_ref()
            .map_or(server, |endpoint| &endpoint.place)
    }
}

/// What waits for an answer of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parked {
    /// A request of a legacy server.
    Server {
        /// The server's own id, as JSON text.
        id: String,
        /// The kept call in which it was asked, where that is known: it ends with the call.
        call: Option<String>,
    },
    /// A question of a call's round.
    Round {
        /// The kept call.
        call: String,
        /// The server's key.
        key: String,
    },
}

/// Legacy sessions: the client's own, and those with upstreams on its behalf. A caller without a session of its own still
/// has upstream sessions; it only cannot be asked anything.
pub trait Sessions {
    /// What the client declared, where it has a session.
    fn client(&self) -> Option<ClientFacts>;
    /// The session with an upstream on behalf of a principal.
    fn upstream_session(&self, subject: &str, server: &str) -> Option<UpstreamSession>;
    /// The servers with such a session in this client's session.
    fn open_upstreams(&self) -> Vec<String>;
    /// Remembers one.
    async fn remember_upstream(&self, subject: &str, server: &str, session: UpstreamSession);
    /// Forgets one that ended.
    async fn forget_upstream(&self, subject: &str, server: &str);
    /// Notes the session of a call that has a connection of its own, under the connection's name, or that it ended. It is
    /// kept in memory only, and what is parked under the name ends with it.
    fn note_connection(&self, place: &str, session: Option<UpstreamSession>);
    /// Such a session.
    fn connection(&self, place: &str) -> Option<UpstreamSession>;
    /// Parks a server's request and returns the id under which it goes to the client, as JSON text; written before it
    /// is delivered. Nothing where there is no client to ask.
    async fn park(&self, server: &str, parked: Parked) -> Option<String>;
    /// The id under which a server's request went to the client, without taking it: for its cancellation.
    fn parked(&self, server: &str, upstream_id: &str) -> Option<String>;
    /// Whether a request of a server waits for the client's answer: its silence is no fault then. `call` is the kept call
    /// that is silent; in a session a server may ask beside any call.
    fn is_asking(&self, server: &str, call: Option<&str>) -> bool;
    /// Takes a parked request by the id the client knows: the server, and what waits. Each is taken once.
    async fn unpark(&self, client_id: &str) -> Option<(String, Parked)>;
    /// Forgets what a call asked, since it ended: the ids under which the client was asked and did not answer, as JSON
    /// text.
    fn forget_parked(&self, call: &str) -> Vec<String>;
    /// Notes which server works on a request of the client, or that none does any more.
    fn note_in_flight(&self, request_id: &str, server: Option<&str>);
    /// The server that works on a request.
    fn in_flight(&self, request_id: &str) -> Option<String>;
    /// The log level the client asked for.
    fn log_level(&self) -> Option<String>;
    /// Sets it.
    async fn set_log_level(&self, level: &str);
}

/// Calls that outlive a request: only a Durable Object can keep any.
pub trait Keeping: Upstreams {
    /// What this object keeps in memory; nothing outside of one.
    fn kept(&self) -> Option<Rc<Kept>>;
    /// Whether this object is one for modern clients' calls.
    fn is_holding(&self) -> bool;
    /// Its name.
    fn object_name(&self) -> String;
    /// Writes a call's row. A call that is not in memory any more at a time, in Unix milliseconds, is looked into then.
    /// False where it could not be stored.
    fn keep_call(&self, call: &str, text: &str, expires_at_ms: u64) -> bool;
    /// Notes where a kept call's stream can be taken up.
    fn note_event_id(&self, call: &str, last_event_id: &str);
    /// Reads a call's row, and where its stream can be taken up.
    fn kept_call(&self, call: &str) -> Option<(String, Option<String>)>;
    /// Forgets a call's row.
    fn drop_call(&self, call: &str);
    /// Goes on with a call of which only the row is left, on the stream its client has.
    async fn revive(&self, call: &str);
    /// How long a person may take to answer, in milliseconds.
    fn input_wait_ms(&self) -> u64;
    /// Has the object of that name do a modern client's call, and gives what it answers.
    ///
    /// # Errors
    /// The object ended before it answered.
    async fn hand_over(
        &self,
        caller: &Caller,
        object: &str,
        body: &[u8],
    ) -> Result<<Self::Body as UpstreamBody>::Original, PortalError>;
}

/// The rules in force.
pub trait Rules {
    /// The active configuration, read again where this isolate's copy is older than
    /// [`EPOCH_AGE_MAX_MS`](crate::limits::EPOCH_AGE_MAX_MS).
    async fn active(&self) -> Option<Rc<super::caller::Active>>;
    /// Whether the store has not answered for a while: then nothing is written.
    fn store_is_away(&self) -> bool;
}

/// Servers a caller switched off for themselves.
pub trait Toggles {
    /// The ids switched off, of the session or grant.
    async fn toggled_off(&self, grant: &str) -> Rc<BTreeSet<String>>;
    /// Switches one; true is off.
    ///
    /// # Errors
    /// Where it could not be stored.
    async fn toggle(&self, grant: &str, server: &str, off: bool) -> Result<(), ()>;
}

/// The portal's sealing key.
pub trait Seals {
    /// The key.
    fn sealer(&self) -> &Sealer;
}

/// Everything together.
pub trait Ports:
    Clock
    + Random
    + Background
    + Upstreams
    + AuditSink
    + Catalogs
    + Sessions
    + Keeping
    + Rules
    + Toggles
    + Seals
    + Subscriptions
    + Clone
    + 'static
{
}

impl<T> Ports for T where
    T: Clock
        + Random
        + Background
        + Upstreams
        + AuditSink
        + Catalogs
        + Sessions
        + Keeping
        + Rules
        + Toggles
        + Seals
        + Subscriptions
        + Clone
        + 'static
{
}

/// The platform's form of a whole body behind some ports.
pub type Original<P> = <<P as Upstreams>::Body as UpstreamBody>::Original;

/// A random 128-bit id in hexadecimal.
pub fn random_id(random: &impl Random) -> String {
    let mut bytes = [0_u8; 16];
    random.fill(&mut bytes);
    let mut id = String::with_capacity(32);
    crate::hex::push(&mut id, &bytes);
    id
}
