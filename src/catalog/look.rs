//! Looking at the stored snapshots again and again: nothing is waited for, and what is too old is fetched meanwhile.

use std::rc::Rc;

use futures::StreamExt as _;
use futures::future::{Either, select};

use super::snapshot::{Snapshot, SnapshotKey};
use super::sync;
use crate::config::Server;
use crate::error::UpstreamFault;
use crate::limits::{FAN_OUT_MAX, LISTENED_AGE_MS_MAX, SYNC_DEADLINE_MS};
use crate::portal::ports::Ports;

/// One server's snapshot at one look.
#[derive(Debug, Clone)]
pub struct Looked {
    server: Rc<Server>,
    key: SnapshotKey,
    /// As it is stored.
    pub snapshot: Option<Rc<Snapshot>>,
    /// The server failed a moment ago.
    pub is_failing: bool,
}

impl Looked {
    /// Whose it is.
    #[must_use]
    pub fn server_id(&self) -> &str {
        &self.server.id
    }
}

/// Looks at the snapshots of servers for one principal, in the order asked.
pub async fn look<P: Ports>(ports: &P, servers: &[Rc<Server>], subject: &str) -> Vec<Looked> {
    let shared: Vec<SnapshotKey> = servers
        .iter()
        .map(|server| SnapshotKey::shared(&server.id))
        .collect();
    let stored = ports.snapshots(&shared).await;
    let is_private = |stored: &Option<Rc<Snapshot>>| {
        let facts = stored.as_ref().map(|snapshot| &snapshot.facts);
        facts.is_some_and(|facts| facts.private)
    };
    let own: Vec<SnapshotKey> = servers
        .iter()
        .zip(&stored)
        .filter(|(_, stored)| is_private(stored))
        .map(|(server, _)| SnapshotKey::of(&server.id, subject))
        .collect();
    let mut own_stored = if own.is_empty() {
        Vec::new()
    } else {
        ports.snapshots(&own).await
    }
    .into_iter();
    let mut looked = Vec::with_capacity(servers.len());
    for (server, stored) in servers.iter().zip(stored) {
        let (key, snapshot) = if is_private(&stored) {
            let own = own_stored.next().flatten();
            (SnapshotKey::of(&server.id, subject), own)
        } else {
            (SnapshotKey::shared(&server.id), stored)
        };
        looked.push(Looked {
            server: server.clone(),
            is_failing: ports.recent_failure(&key).is_some(),
            key,
            snapshot,
        });
    }
    looked
}

/// Claims those snapshots that are due, as many as are fetched at once: one fetch for all who look. It begins after a
/// server, so that those that hang do not keep the others from their turn.
pub fn claim<P: Ports>(ports: &P, looked: &[Looked], after: Option<&str>) -> Vec<Looked> {
    let now_ms = ports.now_ms();
    let last = looked
        .iter()
        .position(|looked| Some(looked.server_id()) == after);
    let first = last.map_or(0, |at| at.saturating_add(1));
    let is_due = |looked: &&Looked| {
        let snapshot = looked.snapshot.as_ref();
        !looked.is_failing && snapshot.is_none_or(|snapshot| is_due(snapshot, now_ms))
    };
    looked
        .iter()
        .cycle()
        .skip(first)
        .take(looked.len())
        .filter(is_due)
        .filter(|looked| ports.claim_sync(&looked.key))
        .take(FAN_OUT_MAX)
        .cloned()
        .collect()
}

/// Fetches what was claimed, each within the time a sync has.
pub async fn renew<P: Ports>(ports: &P, claimed: Vec<Looked>, subject: &str) {
    let renewals = futures::stream::iter(claimed);
    renewals
        .for_each_concurrent(FAN_OUT_MAX, |looked| async move {
            let Looked {
                server,
                key,
                snapshot,
                ..
            } = looked;
            let refresh = sync::refresh(ports, &server, key.clone(), subject, snapshot);
            let alarm = std::pin::pin!(ports.sleep_ms(SYNC_DEADLINE_MS));
            if let Either::Right(_) = select(std::pin::pin!(refresh), alarm).await {
                ports.note_failure(&key, UpstreamFault::TimedOut(SYNC_DEADLINE_MS));
            }
        })
        .await;
}

/// Whether a snapshot that somebody watches is fetched anew: when its server's own word for how long it holds is over,
/// or after [`LISTENED_AGE_MS_MAX`] where the server gave none.
fn is_due(snapshot: &Snapshot, now_ms: u64) -> bool {
    let age_ms = now_ms.saturating_sub(snapshot.fetched_at_ms);
    !snapshot.is_fresh(now_ms) || (!snapshot.ttl_given && age_ms >= LISTENED_AGE_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Facts;
    use crate::limits::SNAPSHOT_TTL_DEFAULT_MS;

    #[test]
    fn a_servers_own_word_holds_and_without_one_a_minute_does() {
        let fetched = |ttl_ms, ttl_given| {
            let key = SnapshotKey::shared("jira");
            let mut snapshot = Snapshot::empty(key, Facts::default(), 1_000_000, ttl_ms);
            snapshot.ttl_given = ttl_given;
            snapshot
        };
        for (ttl_ms, ttl_given, age_ms, due) in [
            (SNAPSHOT_TTL_DEFAULT_MS, false, 59_999, false),
            (SNAPSHOT_TTL_DEFAULT_MS, false, 60_000, true),
            (SNAPSHOT_TTL_DEFAULT_MS, true, 60_000, false),
            (SNAPSHOT_TTL_DEFAULT_MS, true, 300_000, true),
            (2_000, true, 1_999, false),
            (2_000, true, 2_000, true),
        ] {
            let snapshot = fetched(ttl_ms, ttl_given);
            let what = format!("{ttl_ms} {ttl_given} {age_ms}");
            assert_eq!(is_due(&snapshot, 1_000_000 + age_ms), due, "{what}");
        }
        let mut outdated = fetched(600_000, true);
        outdated.fetched_at_ms = 0;
        assert!(is_due(&outdated, 1_000_001));
    }
}
