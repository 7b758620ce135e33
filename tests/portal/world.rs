//! Everything the core sees of the world, in memory.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::ops::Deref;
use std::rc::Rc;
use std::task::Poll;

use futures::StreamExt as _;
use futures::future::{LocalBoxFuture, join_all, poll_fn};
use futures::stream::FuturesUnordered;
use portcullis::audit::Event;
use portcullis::catalog::{Snapshot, SnapshotKey};
use portcullis::error::UpstreamFault;
use portcullis::limits::{SYNC_COOLDOWN_MS, SYNC_DEADLINE_MS};
use portcullis::portal::caller::Active;
use portcullis::portal::ports::{
    AuditAway, AuditSink, Background, Catalogs, Clock, Parked, Random, Rules, Seals, Toggles,
    UpstreamSession,
};
use portcullis::seal::Sealer;

use super::keeping::Keeper;
use super::ledger::{Break, Ledger, status_word, word};
use super::subscribed::Subscribed;
use super::time::Timers;
use super::upstreams::FakeUpstreams;

/// When every scene begins.
pub const BEGIN_MS: u64 = 1_800_000_000_000;

#[derive(Clone)]
pub struct World(Rc<State>);

impl Deref for World {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

pub struct State {
    pub timers: Rc<Timers>,
    pub upstreams: FakeUpstreams,
    pub ledger: Ledger,
    pub catalogs: FakeCatalogs,
    pub session: RefCell<Option<ClientSession>>,
    pub keeper: Keeper,
    /// Sessions of callers without one of their own.
    pub isolate_sessions: RefCell<HashMap<(String, String), UpstreamSession>>,
    pub active: RefCell<Option<Rc<Active>>>,
    pub store_away: Cell<bool>,
    pub off: RefCell<HashMap<String, BTreeSet<String>>>,
    pub toggles_broken: Cell<bool>,
    pub subscribed: Subscribed,
    pub tasks: RefCell<Vec<LocalBoxFuture<'static, ()>>>,
    random: Cell<u64>,
    sealer: Sealer,
    steps: RefCell<Vec<String>>,
}

#[derive(Default)]
pub struct FakeCatalogs {
    pub kept: RefCell<HashMap<SnapshotKey, Rc<Snapshot>>>,
    claims: RefCell<HashMap<SnapshotKey, u64>>,
    failures: RefCell<HashMap<SnapshotKey, (u64, UpstreamFault)>>,
    /// Times somebody asked the store for several.
    pub trips: Cell<u32>,
    /// How long it takes to mark a server as outdated.
    pub slow_ms: Cell<u64>,
}

/// A client's legacy session.
#[derive(Debug, Clone, Default)]
pub struct ClientSession {
    pub upstreams: HashMap<String, UpstreamSession>,
    /// (client's id, server, what waits)
    pub parked: Vec<(String, String, Parked)>,
    pub in_flight: HashMap<String, String>,
    /// Sessions of calls that have a connection of their own.
    pub connections: HashMap<String, UpstreamSession>,
    pub log_level: Option<String>,
}

/// What the client of a session declared.
pub const CLIENT_CAPABILITIES: &str = r#"{"sampling":{},"roots":{"listChanged":true}}"#;

impl World {
    pub fn new() -> Self {
        // 32 bytes of 7, in base64url.
        let sealer = Sealer::from_secret("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc").unwrap();
        Self(Rc::new(State {
            timers: Timers::starting_at(BEGIN_MS),
            upstreams: FakeUpstreams::default(),
            ledger: Ledger::default(),
            catalogs: FakeCatalogs::default(),
            session: RefCell::default(),
            keeper: Keeper::default(),
            isolate_sessions: RefCell::default(),
            active: RefCell::default(),
            store_away: Cell::default(),
            off: RefCell::default(),
            toggles_broken: Cell::default(),
            subscribed: Subscribed::default(),
            tasks: RefCell::default(),
            random: Cell::new(1),
            sealer,
            steps: RefCell::default(),
        }))
    }

    /// Gives the client a session of its own.
    pub fn with_session(&self) {
        *self.session.borrow_mut() = Some(ClientSession::default());
    }

    pub fn session(&self) -> ClientSession {
        self.session.borrow().clone().expect("a session")
    }

    /// Notes a step; their order is what tests about order look at.
    pub fn step(&self, step: String) {
        self.steps.borrow_mut().push(step);
    }

    pub fn steps(&self) -> Vec<String> {
        self.steps.borrow().clone()
    }

    /// Runs what goes on after the reply, and what that begins.
    pub fn settle(&self) {
        loop {
            let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
            if tasks.is_empty() {
                return;
            }
            self.timers.run(join_all(tasks));
        }
    }

    /// Runs what goes on after the reply beside a future, to that future's end or to a moment. What has not ended by then
    /// goes on the next time.
    pub fn alongside<F: Future>(&self, future: F, until_ms: u64) -> Option<F::Output> {
        let mut pool = FuturesUnordered::new();
        let mut future = Box::pin(future);
        let both = poll_fn(|context| {
            loop {
                if let Poll::Ready(output) = future.as_mut().poll(context) {
                    return Poll::Ready(output);
                }
                pool.extend(std::mem::take(&mut *self.tasks.borrow_mut()));
                match pool.poll_next_unpin(context) {
                    Poll::Ready(Some(())) => {}
                    _ if self.tasks.borrow().is_empty() => return Poll::Pending,
                    _ => {}
                }
            }
        });
        let output = self.timers.run_until(both, until_ms);
        self.tasks.borrow_mut().extend(pool);
        output
    }

    /// Lets everything that goes on go on for a while.
    pub fn play(&self, ms: u64) {
        let until_ms = self.timers.now_ms() + ms;
        self.alongside(self.timers.sleep(ms), until_ms);
    }

    /// Drives a future to its end, and beside it what goes on in an object.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        self.run_until(future, u64::MAX).expect("ends in time")
    }

    /// Drives a future to its end, or drops it where it would wait beyond a moment.
    pub fn run_until<F: Future>(&self, future: F, until_ms: u64) -> Option<F::Output> {
        if self.is_object() {
            self.alongside(future, until_ms)
        } else {
            self.timers.run_until(future, until_ms)
        }
    }

    fn is_object(&self) -> bool {
        self.keeper.bridge.borrow().is_some()
    }

    /// Forgets what was sent and recorded so far.
    pub fn clear(&self) {
        if self.is_object() {
            self.play(1);
        } else {
            self.settle();
        }
        self.upstreams.clear();
        self.ledger.clear();
        self.steps.borrow_mut().clear();
    }
}

impl Clock for World {
    fn now_ms(&self) -> u64 {
        self.timers.now_ms()
    }

    async fn sleep_ms(&self, ms: u64) {
        self.timers.sleep(ms).await;
    }
}

impl Random for World {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            // A linear congruence: never twice the same nonce within a test.
            let next = self
                .random
                .get()
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            self.random.set(next);
            *byte = next.to_be_bytes()[0];
        }
    }
}

impl Background for World {
    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        self.tasks.borrow_mut().push(task);
    }
}

impl AuditSink for World {
    async fn append(&self, events: Vec<Event>) -> Result<(), AuditAway> {
        self.timers.sleep(self.ledger.slow_ms.get()).await;
        let fault = self.ledger.breaks.borrow_mut().pop_front().flatten();
        if fault != Some(Break::Before) {
            for event in &events {
                self.step(format!(
                    "durable {} {}",
                    word(event.kind),
                    status_word(event.status)
                ));
            }
            self.ledger.durable.borrow_mut().extend(events);
        }
        if fault.is_some() {
            Err(AuditAway)
        } else {
            Ok(())
        }
    }

    fn queue(&self, event: Event) {
        self.step(format!(
            "queued {} {}",
            word(event.kind),
            status_word(event.status)
        ));
        self.ledger.queued.borrow_mut().push(event);
    }

    fn has_room(&self) -> bool {
        !self.ledger.is_full.get()
    }
}

impl Catalogs for World {
    async fn snapshot(&self, key: &SnapshotKey) -> Option<Rc<Snapshot>> {
        self.catalogs.kept.borrow().get(key).cloned()
    }

    async fn snapshots(&self, keys: &[SnapshotKey]) -> Vec<Option<Rc<Snapshot>>> {
        self.catalogs.trips.set(self.catalogs.trips.get() + 1);
        let kept = self.catalogs.kept.borrow();
        keys.iter().map(|key| kept.get(key).cloned()).collect()
    }

    async fn store_snapshot(&self, snapshot: Rc<Snapshot>) {
        let catalogs = &self.catalogs;
        catalogs.claims.borrow_mut().remove(&snapshot.key);
        catalogs.failures.borrow_mut().remove(&snapshot.key);
        // Through the stored form, as another isolate would have it.
        let stored = Snapshot::from_json(&snapshot.to_json()).expect("loads");
        assert_eq!(stored, *snapshot);
        catalogs
            .kept
            .borrow_mut()
            .insert(snapshot.key.clone(), snapshot);
    }

    async fn outdate(&self, server: &str) {
        for (key, snapshot) in self.catalogs.kept.borrow_mut().iter_mut() {
            if key.server == server {
                let mut outdated = (**snapshot).clone();
                outdated.fetched_at_ms = 0;
                *snapshot = Rc::new(outdated);
            }
        }
        self.catalogs
            .claims
            .borrow_mut()
            .retain(|key, _| key.server != server);
        self.timers.sleep(self.catalogs.slow_ms.get()).await;
    }

    fn claim_sync(&self, key: &SnapshotKey) -> bool {
        let now_ms = self.now_ms();
        let mut claims = self.catalogs.claims.borrow_mut();
        let is_free = claims.get(key).is_none_or(|until_ms| *until_ms <= now_ms);
        if is_free {
            claims.insert(key.clone(), now_ms + SYNC_DEADLINE_MS);
        }
        is_free
    }

    fn note_failure(&self, key: &SnapshotKey, fault: UpstreamFault) {
        let until_ms = self.now_ms() + SYNC_COOLDOWN_MS;
        let mut failures = self.catalogs.failures.borrow_mut();
        failures.insert(key.clone(), (until_ms, fault));
    }

    fn recent_failure(&self, key: &SnapshotKey) -> Option<UpstreamFault> {
        let failures = self.catalogs.failures.borrow();
        let (until_ms, fault) = failures.get(key)?;
        (self.now_ms() < *until_ms).then(|| fault.clone())
    }
}

impl Rules for World {
    async fn active(&self) -> Option<Rc<Active>> {
        self.active.borrow().clone()
    }

    fn store_is_away(&self) -> bool {
        self.store_away.get()
    }
}

impl Toggles for World {
    async fn toggled_off(&self, grant: &str) -> Rc<BTreeSet<String>> {
        Rc::new(self.off.borrow().get(grant).cloned().unwrap_or_default())
    }

    async fn toggle(&self, grant: &str, server: &str, off: bool) -> Result<(), ()> {
        if self.toggles_broken.get() {
            return Err(());
        }
        let mut all = self.off.borrow_mut();
        let own = all.entry(grant.to_owned()).or_default();
        if off {
            own.insert(server.to_owned());
        } else {
            own.remove(server);
        }
        Ok(())
    }
}

impl Seals for World {
    fn sealer(&self) -> &Sealer {
        &self.sealer
    }
}
