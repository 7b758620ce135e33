//! Looking at the stored snapshots again and again: nothing is waited for, and what is too old is fetched meanwhile.

use std::rc::Rc;

use super::snapshot::{Snapshot, SnapshotKey};
use super::sync;
use crate::config::Server;
use crate::limits::LISTENED_AGE_MS_MAX;
use crate::portal::ports::Ports;

/// One server's snapshot at one look.
#[derive(Debug, Clone)]
pub struct Looked {
    /// As it is stored.
    pub snapshot: Option<Rc<Snapshot>>,
    /// This look began to fetch a newer one.
    pub was_renewed: bool,
    /// The server failed a moment ago.
    pub is_failing: bool,
}

/// Looks at the snapshots of servers for one principal, in the order asked. One that is due is fetched in the
/// background, by whoever claims it: one fetch for all who look.
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
        let (key, stored) = if is_private(&stored) {
            let own = own_stored.next().flatten();
            (SnapshotKey::of(&server.id, subject), own)
        } else {
            (SnapshotKey::shared(&server.id), stored)
        };
        let is_failing = ports.recent_failure(&key).is_some();
        let is_due = stored
            .as_ref()
            .is_none_or(|snapshot| is_due(snapshot, ports.now_ms()));
        let was_renewed = is_due && !is_failing && ports.claim_sync(&key);
        if was_renewed {
            renew(ports, server, key, subject, stored.clone());
        }
        looked.push(Looked {
            snapshot: stored,
            was_renewed,
            is_failing,
        });
    }
    looked
}

/// Whether a snapshot that somebody watches is fetched anew: when its server's own word for how long it holds is over,
/// or after [`LISTENED_AGE_MS_MAX`] where the server gave none.
fn is_due(snapshot: &Snapshot, now_ms: u64) -> bool {
    let age_ms = now_ms.saturating_sub(snapshot.fetched_at_ms);
    !snapshot.is_fresh(now_ms) || (!snapshot.ttl_given && age_ms >= LISTENED_AGE_MS_MAX)
}

fn renew<P: Ports>(
    ports: &P,
    server: &Rc<Server>,
    key: SnapshotKey,
    subject: &str,
    old: Option<Rc<Snapshot>>,
) {
    let (task_ports, server, subject) = (ports.clone(), server.clone(), subject.to_owned());
    ports.spawn(Box::pin(async move {
        let _ = sync::refresh(&task_ports, &server, key, &subject, old).await;
    }));
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
