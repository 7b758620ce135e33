//! The core's ports on Workers.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use worker::{Context, Delay, Env};

use super::session_ports::SessionMemory;
use super::upstream::Passed;
use super::{audit_queue, grant_object, isolate, session_object, store, upstream, web};
use crate::audit::Event;
use crate::catalog::{Snapshot, SnapshotKey};
use crate::config::Server;
use crate::error::{PortalError, UpstreamFault};
use crate::limits::{
    EPOCH_AGE_MAX_MS, INPUT_WAIT_MS, SYNC_COOLDOWN_MS, SYNC_DEADLINE_MS, UPSTREAM_SESSIONS_MAX,
};
use crate::policy::Permit;
use crate::portal::Caller;
use crate::portal::caller::Active;
use crate::portal::kept::Kept;
use crate::portal::ports::{
    AuditAway, AuditSink, Background, Catalogs, ClientFacts, Clock, Keeping, Outbound, Parked,
    Random, Rules, Seals, Sessions, Toggles, UpstreamReply, UpstreamSession, Upstreams,
};
use crate::seal::Sealer;

/// Where work goes on after the reply.
#[derive(Clone)]
pub(super) enum Lifetime {
    /// A request's.
    Request(Rc<Context>),
    /// A Durable Object's.
    Object(Rc<worker::State>),
    /// A schedule's: the handler itself waits.
    Schedule(Rc<worker::ScheduleContext>),
}

/// The world of one request, or of one legacy session.
#[derive(Clone)]
pub(super) struct EdgePorts {
    /// Bindings.
    pub env: Rc<Env>,
    /// Where work goes on.
    pub lifetime: Lifetime,
    /// Fires when the client goes away; only requests have one.
    pub client_gone: Option<web_sys::AbortSignal>,
    /// The legacy session, where there is one.
    pub session: Option<Rc<SessionMemory>>,
    /// The sealing key.
    pub sealer: Rc<Sealer>,
}

/// Unix milliseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole milliseconds since 1970"
)]
pub(super) fn now_ms() -> u64 {
    // No `Date` object is made for it.
    js_sys::Date::now() as u64
}

impl EdgePorts {
    /// The ports of a request; nothing where the worker lacks its sealing key.
    pub(super) fn new(env: Rc<Env>, lifetime: Lifetime) -> Option<Self> {
        let sealer = isolate::with(|isolate| {
            let mut kept = isolate.sealer.borrow_mut();
            if kept.is_none() {
                *kept = env
                    .secret("SEAL_KEY")
                    .ok()
                    .and_then(|key| Sealer::from_secret(&key.to_string()));
            }
            kept.clone()
        })?;
        Some(Self {
            env,
            lifetime,
            client_gone: None,
            session: None,
            sealer: Rc::new(sealer),
        })
    }
}

impl Clock for EdgePorts {
    fn now_ms(&self) -> u64 {
        now_ms()
    }

    async fn sleep_ms(&self, ms: u64) {
        // Shared, since it wakes whoever polled last: the platform's own wakes whoever polled first, and a stream is
        // begun by the request and read on by the response.
        Delay::from(Duration::from_millis(ms)).shared().await;
    }
}

impl Random for EdgePorts {
    fn fill(&self, bytes: &mut [u8]) {
        web::random(bytes);
    }
}

impl Background for EdgePorts {
    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        match &self.lifetime {
            Lifetime::Request(context) => context.wait_until(task),
            Lifetime::Object(state) => state.wait_until(task),
            Lifetime::Schedule(context) => context.wait_until(task),
        }
    }
}

impl Upstreams for EdgePorts {
    type Body = upstream::EdgeBody;

    async fn send(
        &self,
        permit: &Permit,
        server: &Server,
        request: Outbound,
    ) -> Result<UpstreamReply<Self::Body>, UpstreamFault> {
        upstream::send(self, permit, server, request).await
    }
}

impl AuditSink for EdgePorts {
    async fn append(&self, events: Vec<Event>) -> Result<(), AuditAway> {
        audit_queue::append(&self.env, &events).await
    }

    fn queue(&self, event: Event) {
        audit_queue::queue(self, &event);
    }

    fn has_room(&self) -> bool {
        audit_queue::has_room()
    }
}

impl Catalogs for EdgePorts {
    async fn snapshot(&self, key: &SnapshotKey) -> Option<Rc<Snapshot>> {
        self.snapshots(std::slice::from_ref(key))
            .await
            .pop()
            .flatten()
    }

    async fn snapshots(&self, keys: &[SnapshotKey]) -> Vec<Option<Rc<Snapshot>>> {
        let missing: Vec<SnapshotKey> = isolate::with(|isolate| {
            let known = isolate.snapshots.borrow();
            keys.iter()
                .filter(|key| !known.contains_key(*key))
                .cloned()
                .collect()
        });
        if !missing.is_empty() {
            for snapshot in store::load_snapshots(&self.env, &missing).await {
                store::remember(&Rc::new(snapshot));
            }
        }
        isolate::with(|isolate| {
            let known = isolate.snapshots.borrow();
            keys.iter().map(|key| known.get(key).cloned()).collect()
        })
    }

    async fn store_snapshot(&self, snapshot: Rc<Snapshot>) {
        store::remember(&snapshot);
        isolate::with(|isolate| {
            isolate.claims.borrow_mut().remove(&snapshot.key);
            isolate.failures.borrow_mut().remove(&snapshot.key);
        });
        store::save_snapshot(&self.env, &snapshot).await;
    }

    async fn outdate(&self, server: &str) {
        isolate::with(|isolate| {
            for (key, snapshot) in isolate.snapshots.borrow_mut().iter_mut() {
                if key.server == server {
                    let mut outdated = (**snapshot).clone();
                    outdated.fetched_at_ms = 0;
                    *snapshot = Rc::new(outdated);
                }
            }
            isolate
                .claims
                .borrow_mut()
                .retain(|key, _| key.server != server);
        });
        store::outdate(&self.env, server).await;
    }

    fn claim_sync(&self, key: &SnapshotKey) -> bool {
        let now_ms = now_ms();
        isolate::with(|isolate| {
            let mut claims = isolate.claims.borrow_mut();
            isolate::bound(&mut claims, 10_000);
            let is_free = claims.get(key).is_none_or(|until_ms| *until_ms <= now_ms);
            if is_free {
                claims.insert(key.clone(), now_ms.saturating_add(SYNC_DEADLINE_MS));
            }
            is_free
        })
    }

    fn note_failure(&self, key: &SnapshotKey, fault: UpstreamFault) {
        let until_ms = now_ms().saturating_add(SYNC_COOLDOWN_MS);
        isolate::with(|isolate| {
            let mut failures = isolate.failures.borrow_mut();
            isolate::bound(&mut failures, 10_000);
            failures.insert(key.clone(), (until_ms, fault));
        });
    }

    fn recent_failure(&self, key: &SnapshotKey) -> Option<UpstreamFault> {
        let now_ms = now_ms();
        isolate::with(|isolate| {
            let failures = isolate.failures.borrow();
            failures
                .get(key)
                .filter(|(until_ms, _)| now_ms < *until_ms)
                .map(|(_, fault)| fault.clone())
        })
    }
}

impl Sessions for EdgePorts {
    fn client(&self) -> Option<ClientFacts> {
        self.session.as_ref().map(|session| session.client())
    }

    fn upstream_session(&self, subject: &str, server: &str) -> Option<UpstreamSession> {
        match &self.session {
            Some(session) => session.upstream(server),
            None => isolate::with(|isolate| {
                let sessions = isolate.upstream_sessions.borrow();
                sessions
                    .get(&(subject.to_owned(), server.to_owned()))
                    .cloned()
            }),
        }
    }

    fn open_upstreams(&self) -> Vec<String> {
        self.session
            .as_ref()
            .map(|session| session.upstreams())
            .unwrap_or_default()
    }

    async fn remember_upstream(&self, subject: &str, server: &str, upstream: UpstreamSession) {
        match &self.session {
            Some(session) => session.remember_upstream(self, server, upstream).await,
            None => isolate::with(|isolate| {
                let mut sessions = isolate.upstream_sessions.borrow_mut();
                isolate::bound(&mut sessions, UPSTREAM_SESSIONS_MAX);
                sessions.insert((subject.to_owned(), server.to_owned()), upstream);
            }),
        }
    }

    async fn forget_upstream(&self, subject: &str, server: &str) {
        match &self.session {
            Some(session) => session.forget_upstream(server),
            None => isolate::with(|isolate| {
                isolate
                    .upstream_sessions
                    .borrow_mut()
                    .remove(&(subject.to_owned(), server.to_owned()));
            }),
        }
    }

    fn note_connection(&self, place: &str, session: Option<UpstreamSession>) {
        if let Some(memory) = &self.session {
            memory.note_connection(place, session);
        }
    }

    fn connection(&self, place: &str) -> Option<UpstreamSession> {
        self.session.as_ref()?.connection(place)
    }

    async fn park(&self, server: &str, parked: Parked) -> Option<String> {
        let wait_ms = self.input_wait_ms();
        self.session.as_ref()?.park(server, &parked, wait_ms)
    }

    fn parked(&self, server: &str, upstream_id: &str) -> Option<String> {
        self.session.as_ref()?.parked(server, upstream_id)
    }

    fn is_asking(&self, server: &str, call: Option<&str>) -> bool {
        self.session
            .as_ref()
            .is_some_and(|session| session.is_asking(server, call, self.input_wait_ms()))
    }

    async fn unpark(&self, client_id: &str) -> Option<(String, Parked)> {
        let wait_ms = self.input_wait_ms();
        self.session.as_ref()?.unpark(client_id, wait_ms)
    }

    fn forget_parked(&self, call: &str) -> Vec<String> {
        let session = self.session.as_ref();
        session.map_or_else(Vec::new, |session| session.rows.forget_parked(call))
    }

    fn note_in_flight(&self, request_id: &str, server: Option<&str>) {
        if let Some(session) = &self.session {
            session.note_in_flight(request_id, server);
        }
    }

    fn in_flight(&self, request_id: &str) -> Option<String> {
        self.session.as_ref()?.in_flight(request_id)
    }

    fn log_level(&self) -> Option<String> {
        self.session.as_ref()?.log_level()
    }

    async fn set_log_level(&self, level: &str) {
        if let Some(session) = &self.session {
            session.set_log_level(level);
        }
    }
}

impl Keeping for EdgePorts {
    fn kept(&self) -> Option<Rc<Kept>> {
        self.session.as_ref().map(|session| session.kept.clone())
    }

    fn is_holding(&self) -> bool {
        self.session
            .as_ref()
            .is_some_and(|session| session.is_bridge())
    }

    fn object_name(&self) -> String {
        let session = self.session.as_ref();
        session
            .and_then(|session| session.bridge_name())
            .unwrap_or_default()
    }

    fn keep_call(&self, call: &str, text: &str, expires_at_ms: u64) -> bool {
        let (Some(session), Lifetime::Object(state)) = (&self.session, &self.lifetime) else {
            return false;
        };
        session.wake_at(state, expires_at_ms);
        session.rows.keep_call(call, text, expires_at_ms)
    }

    fn note_event_id(&self, call: &str, last_event_id: &str) {
        if let Some(session) = &self.session {
            session.rows.note_event_id(call, last_event_id);
        }
    }

    fn kept_call(&self, call: &str) -> Option<(String, Option<String>)> {
        self.session.as_ref()?.rows.kept_call(call)
    }

    fn drop_call(&self, call: &str) {
        if let Some(session) = &self.session {
            session.rows.drop_call(call);
        }
    }

    async fn revive(&self, call: &str) {
        if let Some(session) = &self.session {
            session.revive(self, call).await;
        }
    }

    fn input_wait_ms(&self) -> u64 {
        let shortened = || {
            let variable = |name: &str| self.env.var(name).ok().map(|value| value.to_string());
            // Tests do not wait ten minutes; production does.
            variable("LOCAL_DEVELOPMENT").filter(|value| value == "1")?;
            variable("INPUT_WAIT_MS")?.parse().ok()
        };
        shortened().unwrap_or(INPUT_WAIT_MS)
    }

    async fn hand_over(
        &self,
        caller: &Caller,
        object: &str,
        body: &[u8],
    ) -> Result<Passed, PortalError> {
        session_object::hand_over_call(self, caller, object, body).await
    }
}

impl Rules for EdgePorts {
    async fn active(&self) -> Option<Rc<Active>> {
        store::active(&self.env).await
    }

    fn store_is_away(&self) -> bool {
        let answered_ms = isolate::with(|isolate| isolate.store_answered_ms.get());
        now_ms().saturating_sub(answered_ms) > EPOCH_AGE_MAX_MS.saturating_mul(2)
    }
}

impl Toggles for EdgePorts {
    async fn toggled_off(&self, grant: &str) -> Rc<BTreeSet<String>> {
        match &self.session {
            Some(session) if !session.is_bridge() => session.toggled_off(),
            _ => grant_object::toggled_off(&self.env, grant).await,
        }
    }

    async fn toggle(&self, grant: &str, server: &str, off: bool) -> Result<(), ()> {
        match &self.session {
            Some(session) if !session.is_bridge() => {
                session.toggle(server, off);
                Ok(())
            }
            _ => grant_object::toggle(&self.env, grant, server, off).await,
        }
    }
}

impl Seals for EdgePorts {
    fn sealer(&self) -> &Sealer {
        &self.sealer
    }
}
