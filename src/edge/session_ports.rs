//! A legacy session in memory: a cache of its rows, and the open streams.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::oneshot;
use futures::future::{AbortHandle, Abortable, select};
use futures::stream::LocalBoxStream;
use serde::{Deserialize, Serialize};
use worker::State;

use super::ports::{EdgePorts, now_ms};
use super::session_pump::pump;
use super::session_rows::SessionRows;
use super::session_streams::Streams;
use super::session_subscriptions::Subscribed;
use crate::error::Rejection;
use crate::limits::SESSION_REQUESTS_MAX;
use crate::portal::kept::Kept;
use crate::portal::ports::{Background as _, ClientFacts, Clock as _, Parked, UpstreamSession};
use crate::portal::{Caller, Outgoing, rounds};

/// How long a call waits for the server's own stream to be open.
const LISTENING_MS_MAX: u64 = 1_000;

/// Servers' own streams that nobody has needed for this long, twice looked at, are let go.
const IDLE_MS: u64 = 30_000;

/// What is known of the session's client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Opened {
    /// Whose session it is.
    pub subject: String,
    /// At which portal.
    pub portal: String,
    /// The negotiated revision.
    pub revision: String,
    /// What the client declared.
    pub capabilities: String,
    /// What it calls itself.
    pub info: String,
}

/// The session.
pub(super) struct SessionMemory {
    pub rows: SessionRows,
    pub streams: Streams,
    pub subscriptions: Subscribed,
    opened: RefCell<Option<Opened>>,
    upstreams: RefCell<HashMap<String, UpstreamSession>>,
    /// Sessions of calls that have a connection of their own, by its name.
    connections: RefCell<HashMap<String, UpstreamSession>>,
    pumps: RefCell<HashMap<String, AbortHandle>>,
    in_flight: RefCell<HashMap<String, String>>,
    /// Requests that have no response yet.
    unanswered: Rc<Cell<usize>>,
    /// The caller of the latest request, for what happens between requests.
    caller: RefCell<Option<Rc<Caller>>>,
    /// Calls that outlive their requests.
    pub kept: Rc<Kept>,
    /// Set where the object does modern clients' calls.
    bridge: RefCell<Option<Bridge>>,
    /// Whether somebody waits for the servers' streams to be needed no more.
    is_resting: Cell<bool>,
    /// When the object is woken next, in Unix milliseconds; nothing where it has not been said since the object began.
    wakes_at_ms: Cell<Option<u64>>,
}

/// A request without a response yet.
pub(super) struct Ticket(Rc<Cell<usize>>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// An object that does one grant's calls on one server.
struct Bridge {
    name: String,
    client: ClientFacts,
}

impl SessionMemory {
    pub(super) fn new(rows: SessionRows) -> Self {
        let exists = rows.exists();
        let opened = exists
            .then(|| rows.fact("opened"))
            .flatten()
            .and_then(|text| serde_json::from_str::<Opened>(&text).ok());
        let upstreams = if exists {
            rows.adopt(now_ms());
            rows.remove_connections();
            rows.upstreams().into_iter().collect()
        } else {
            HashMap::new()
        };
        let subscriptions = Subscribed::from_rows(exists.then_some(&rows));
        Self {
            rows,
            streams: Streams::default(),
            subscriptions,
            opened: RefCell::new(opened),
            upstreams: RefCell::new(upstreams),
            connections: RefCell::default(),
            pumps: RefCell::default(),
            in_flight: RefCell::default(),
            unanswered: Rc::default(),
            caller: RefCell::default(),
            kept: Rc::default(),
            bridge: RefCell::default(),
            is_resting: Cell::default(),
            wakes_at_ms: Cell::default(),
        }
    }

    /// Notes that the object does modern clients' calls, and for whom: as the first call said, since sessions with the
    /// server are opened for that. False where it could not be stored.
    pub(super) fn set_bridge(&self, name: &str, client: ClientFacts) -> bool {
        if self.is_bridge() {
            return true;
        }
        let stored = self.rows.exists().then(|| self.rows.fact("client"));
        let known = stored
            .flatten()
            .and_then(|text| serde_json::from_str(&text).ok());
        let is_stored = known.is_some() || {
            let text = serde_json::to_string(&client).unwrap_or_default();
            self.rows.create() && self.rows.set_fact("client", &text)
        };
        *self.bridge.borrow_mut() = Some(Bridge {
            name: name.to_owned(),
            client: known.unwrap_or(client),
        });
        is_stored
    }

    pub(super) fn is_bridge(&self) -> bool {
        self.bridge.borrow().is_some()
    }

    pub(super) fn bridge_name(&self) -> Option<String> {
        let bridge = self.bridge.borrow();
        bridge.as_ref().map(|bridge| bridge.name.clone())
    }

    /// Has the object woken at a time, unless it wakes earlier.
    pub(super) fn wake_at(&self, state: &Rc<State>, at_ms: u64) {
        const TOLERANCE_MS: u64 = 1_000;
        let now = now_ms();
        let at_ms = match self.wakes_at_ms.get() {
            // The alarm that is set may be for a call of before the object began anew.
            None => self
                .rows
                .next_expiry_ms(0)
                .map_or(at_ms, |next_ms| next_ms.min(at_ms)),
            Some(known) if known > now && known <= at_ms.saturating_add(TOLERANCE_MS) => return,
            Some(_) => at_ms,
        };
        self.wakes_at_ms.set(Some(at_ms));
        let task_state = state.clone();
        let wait = Duration::from_millis(at_ms.saturating_sub(now).saturating_add(TOLERANCE_MS));
        state.wait_until(async move {
            let _ = task_state.storage().set_alarm(wait).await;
        });
    }

    /// The object was woken, and wakes no more.
    pub(super) fn woken(&self) {
        self.wakes_at_ms.set(Some(0));
    }

    /// Goes on with a call of which only the row is left, on the stream its client has.
    pub(super) async fn revive(self: &Rc<Self>, ports: &EdgePorts, call: &str) {
        let Some(stream) = self.rows.stream_of(call) else {
            return;
        };
        if !self.streams.reopen(&self.rows, stream) {
            return;
        }
        match rounds::revive(ports, call).await {
            Some(events) => self.drain(ports, stream, events),
            None => self.streams.end(&self.rows, stream),
        }
    }

    /// Writes events to a stream, whether or not its client is there.
    pub(super) fn drain(
        self: &Rc<Self>,
        ports: &EdgePorts,
        stream: u64,
        mut events: LocalBoxStream<'static, Outgoing>,
    ) {
        let memory = self.clone();
        ports.spawn(Box::pin(async move {
            while let Some(event) = events.next().await {
                match event {
                    Outgoing::Message(message) => {
                        let text = String::from_utf8_lossy(&message);
                        memory.streams.send(&memory.rows, stream, &text);
                    }
                    Outgoing::KeepAlive => {
                        memory.streams.keep_alive(stream);
                    }
                }
            }
            memory.streams.end(&memory.rows, stream);
        }));
    }

    pub(super) fn opened(&self) -> Option<Opened> {
        self.opened.borrow().clone()
    }

    /// Opens the session.
    pub(super) fn open(&self, opened: Opened) -> bool {
        let text = serde_json::to_string(&opened).unwrap_or_default();
        let stored = self.rows.create() && self.rows.set_fact("opened", &text);
        *self.opened.borrow_mut() = Some(opened);
        stored
    }

    /// Ends it in memory.
    pub(super) fn close(&self) {
        *self.opened.borrow_mut() = None;
        *self.bridge.borrow_mut() = None;
        self.upstreams.borrow_mut().clear();
        self.subscriptions.close();
        self.streams.end_all();
        self.kept.clear();
        for (_, pump) in self.pumps.borrow_mut().drain() {
            pump.abort();
        }
    }

    pub(super) fn set_caller(&self, caller: Rc<Caller>) {
        *self.caller.borrow_mut() = Some(caller);
    }

    pub(super) fn caller(&self) -> Option<Rc<Caller>> {
        self.caller.borrow().clone()
    }

    pub(super) fn client(&self) -> ClientFacts {
        if let Some(bridge) = &*self.bridge.borrow() {
            return bridge.client.clone();
        }
        self.opened()
            .map_or_else(ClientFacts::portal, |opened| ClientFacts {
                capabilities: opened.capabilities,
                info: opened.info,
            })
    }

    pub(super) fn upstream(&self, server: &str) -> Option<UpstreamSession> {
        self.upstreams.borrow().get(server).cloned()
    }

    pub(super) fn upstreams(&self) -> Vec<String> {
        self.upstreams.borrow().keys().cloned().collect()
    }

    /// Remembers a session with a server, and listens to it before anything is sent in it: what a server sends
    /// outside of calls is lost where nobody listens.
    pub(super) async fn remember_upstream(
        &self,
        ports: &EdgePorts,
        server: &str,
        upstream: UpstreamSession,
    ) {
        self.rows.set_upstream(server, &upstream);
        self.upstreams
            .borrow_mut()
            .insert(server.to_owned(), upstream);
        self.hear(ports, server).await;
    }

    /// Listens to a server, and waits until it does: a question that comes earlier is lost.
    pub(super) async fn hear(&self, ports: &EdgePorts, server: &str) {
        if let Some(is_listening) = self.listen_to(ports, server) {
            let alarm = std::pin::pin!(ports.sleep_ms(LISTENING_MS_MAX));
            select(is_listening, alarm).await;
        }
    }

    /// Whether nobody would hear what a server says outside of calls.
    fn is_idle(&self) -> bool {
        self.kept.holds() == 0 && self.in_flight.borrow().is_empty() && !self.streams.has_listener()
    }

    /// Lets the servers' own streams go once nobody has needed them for a while: open streams keep the object alive, and
    /// a connection at each server.
    fn rest_later(self: &Rc<Self>, ports: &EdgePorts) {
        if self.is_resting.replace(true) {
            return;
        }
        let (memory, task_ports) = (self.clone(), ports.clone());
        ports.spawn(Box::pin(async move {
            let mut was_idle = false;
            loop {
                task_ports.sleep_ms(IDLE_MS).await;
                let is_idle = memory.is_idle();
                if is_idle && was_idle {
                    break;
                }
                was_idle = is_idle;
            }
            memory.is_resting.set(false);
            let pumps = std::mem::take(&mut *memory.pumps.borrow_mut());
            for (_, pump) in pumps {
                pump.abort();
            }
        }));
    }

    pub(super) fn forget_upstream(&self, server: &str) {
        self.rows.remove_upstream(server);
        self.upstreams.borrow_mut().remove(server);
        if let Some(pump) = self.pumps.borrow_mut().remove(server) {
            pump.abort();
        }
    }

    /// Listens no more to servers that the caller's rules do not have any more.
    pub(super) fn stop_listening(&self, caller: &Caller) {
        let is_there = |server: &str| {
            let place = caller.portal.server(server);
            place.is_some_and(|place| place.server.enabled)
        };
        self.pumps.borrow_mut().retain(|server, pump| {
            let stays = is_there(server);
            if !stays {
                pump.abort();
            }
            stays
        });
    }

    /// Listens to what a server sends outside of calls, until the session with it ends. A server without such a stream
    /// answers 405, and that is that.
    pub(super) fn listen_to(
        &self,
        ports: &EdgePorts,
        server: &str,
    ) -> Option<oneshot::Receiver<()>> {
        let memory = ports.session.clone()?;
        let is_stateless = self.upstream(server)?.id.is_none();
        if is_stateless || self.pumps.borrow().contains_key(server) {
            return None;
        }
        memory.rest_later(ports);
        let (handle, registration) = AbortHandle::new_pair();
        self.pumps.borrow_mut().insert(server.to_owned(), handle);
        let (listening, is_listening) = oneshot::channel();
        let (task_ports, server) = (ports.clone(), server.to_owned());
        let pump = async move { pump(&task_ports, &memory, &server, listening).await };
        ports.spawn(Box::pin(async move {
            let _ = Abortable::new(pump, registration).await;
        }));
        Some(is_listening)
    }

    pub(super) fn note_connection(&self, place: &str, session: Option<UpstreamSession>) {
        let mut connections = self.connections.borrow_mut();
        if let Some(session) = session {
            connections.insert(place.to_owned(), session);
        } else {
            connections.remove(place);
            // What waited on it waits for nobody any more.
            self.rows.remove_upstream(place);
        }
    }

    pub(super) fn connection(&self, place: &str) -> Option<UpstreamSession> {
        self.connections.borrow().get(place).cloned()
    }

    /// `wait_ms` is how long the client has to answer.
    pub(super) fn park(&self, server: &str, parked: &Parked, wait_ms: u64) -> Option<String> {
        let mut bytes = [0_u8; 8];
        super::web::random(&mut bytes);
        let client_id = format!("\"{server}:{:016x}\"", u64::from_be_bytes(bytes));
        let now = now_ms();
        self.rows
            .park(
                &client_id,
                server,
                parked,
                (now, now.saturating_sub(wait_ms)),
            )
            .then_some(client_id)
    }

    pub(super) fn parked(&self, server: &str, upstream_id: &str) -> Option<String> {
        self.rows.parked(server, upstream_id)
    }

    /// Whether a server waits for an answer that may still come.
    pub(super) fn is_asking(&self, server: &str, call: Option<&str>, wait_ms: u64) -> bool {
        if self.is_bridge() {
            return call.is_some_and(|call| self.kept.is_waiting(call));
        }
        self.rows
            .is_parked(server, now_ms().saturating_sub(wait_ms))
    }

    /// `wait_ms` is how long the client had to answer.
    pub(super) fn unpark(&self, client_id: &str, wait_ms: u64) -> Option<(String, Parked)> {
        self.rows
            .unpark(client_id, now_ms().saturating_sub(wait_ms))
    }

    /// Takes a request on, for as long as the ticket is kept or its stream is open.
    ///
    /// # Errors
    /// [`Rejection::TooMany`] beyond [`SESSION_REQUESTS_MAX`].
    pub(super) fn take_on(&self) -> Result<Ticket, Rejection> {
        let count = self.unanswered.get();
        if count.saturating_add(self.streams.open()) >= SESSION_REQUESTS_MAX {
            return Err(Rejection::TooMany("requests in one session"));
        }
        self.unanswered.set(count.saturating_add(1));
        Ok(Ticket(self.unanswered.clone()))
    }

    pub(super) fn note_in_flight(&self, request_id: &str, server: Option<&str>) {
        let mut in_flight = self.in_flight.borrow_mut();
        match server {
            Some(server) => {
                super::isolate::bound(&mut in_flight, 10_000);
                in_flight.insert(request_id.to_owned(), server.to_owned());
            }
            None => {
                in_flight.remove(request_id);
            }
        }
    }

    pub(super) fn in_flight(&self, request_id: &str) -> Option<String> {
        self.in_flight.borrow().get(request_id).cloned()
    }

    pub(super) fn log_level(&self) -> Option<String> {
        self.rows.fact("log_level")
    }

    pub(super) fn set_log_level(&self, level: &str) {
        self.rows.set_fact("log_level", level);
    }

    pub(super) fn toggled_off(&self) -> Rc<BTreeSet<String>> {
        Rc::new(self.rows.toggled_off().into_iter().collect())
    }

    pub(super) fn toggle(&self, server: &str, off: bool) {
        self.rows.toggle(server, off);
    }
}
