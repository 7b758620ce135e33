//! What an isolate remembers between requests: values only, never locks or channels, since a future woken by another
//! request dies. Everything here may vanish at any time and is bounded.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use wasm_bindgen::JsValue;

use crate::catalog::{Snapshot, SnapshotKey};
use crate::error::UpstreamFault;
use crate::identity::cache::VerifiedTokens;
use crate::identity::jwks::KeySetState;
use crate::portal::caller::Active;
use crate::portal::ports::UpstreamSession;
use crate::seal::Sealer;

/// The servers a grant switched off.
pub(super) type Off = Rc<BTreeSet<String>>;

/// The memory of an isolate.
#[derive(Default)]
pub(super) struct Isolate {
    /// The active configuration.
    pub active: RefCell<Option<Rc<Active>>>,
    /// When the epoch was last read.
    pub epoch_read_ms: Cell<u64>,
    /// When the store last answered.
    pub store_answered_ms: Cell<u64>,
    /// The generation of stored snapshots that memory reflects.
    pub generation: Cell<u64>,
    /// Snapshots.
    pub snapshots: RefCell<HashMap<SnapshotKey, Rc<Snapshot>>>,
    /// Failed syncs: until when they count, and what failed.
    pub failures: RefCell<HashMap<SnapshotKey, (u64, UpstreamFault)>>,
    /// Syncs under way: until when the claim holds.
    pub claims: RefCell<HashMap<SnapshotKey, u64>>,
    /// Tokens from `Authorization`.
    pub bearer_tokens: RefCell<VerifiedTokens>,
    /// Tokens from Cloudflare Access.
    pub access_tokens: RefCell<VerifiedTokens>,
    /// Issuers' key sets.
    pub key_sets: RefCell<HashMap<String, Rc<KeySetState>>>,
    /// Imported keys by their text.
    pub imported_keys: RefCell<HashMap<String, JsValue>>,
    /// Legacy sessions with upstreams for callers without a session: (principal, server).
    pub upstream_sessions: RefCell<HashMap<(String, String), UpstreamSession>>,
    /// Toggles by grant, and when they were read.
    pub toggles: RefCell<HashMap<String, (u64, Off)>>,
    /// Audit events on their way to the ledger, as JSON text.
    pub audit_queue: RefCell<VecDeque<String>>,
    /// Until when somebody is taking care of the queue.
    pub audit_flusher_until_ms: Cell<u64>,
    /// Which ledger this isolate writes to.
    pub audit_shard: Cell<Option<u32>>,
    /// The sealing key.
    pub sealer: RefCell<Option<Sealer>>,
}

thread_local! {
    static ISOLATE: Isolate = Isolate::default();
}

/// Looks at the memory. Never held across an await: the borrow ends with the closure.
pub(super) fn with<T>(look: impl FnOnce(&Isolate) -> T) -> T {
    ISOLATE.with(look)
}

/// Keeps a map within its bound by starting over: what it holds can be had again.
pub(super) fn bound<K, V>(map: &mut HashMap<K, V>, entries_max: usize) {
    if map.len() >= entries_max {
        map.clear();
    }
}
