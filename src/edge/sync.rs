//! The schedule: listings that are old are read again.

use std::rc::Rc;

use futures::StreamExt as _;
use worker::{Env, ScheduleContext};

use super::ports::{EdgePorts, Lifetime, now_ms};
use super::store;
use crate::catalog::SnapshotKey;
use crate::catalog::sync;
use crate::limits::FAN_OUT_MAX;
use crate::portal::ports::Catalogs as _;

/// Reads the shared listings of all servers again, six at a time.
pub(super) async fn refresh_all(env: Env, context: ScheduleContext) {
    let env = Rc::new(env);
    let Some(ports) = EdgePorts::new(env.clone(), Lifetime::Schedule(Rc::new(context))) else {
        return;
    };
    let Some(active) = store::active(&env).await else {
        return;
    };
    let servers: Vec<_> = active
        .config
        .servers
        .values()
        .filter(|server| server.enabled)
        .cloned()
        .collect();
    futures::stream::iter(servers)
        .for_each_concurrent(FAN_OUT_MAX, |server| {
            let ports = ports.clone();
            async move {
                let key = SnapshotKey::shared(&server.id);
                let old = ports.snapshot(&key).await;
                let is_due = old.as_ref().is_none_or(|old| !old.is_fresh(now_ms()));
                let is_private = old.as_ref().is_some_and(|old| old.facts.private);
                if is_due && !is_private && ports.claim_sync(&key) {
                    let _ = sync::refresh(&ports, &server, key, "", old).await;
                }
            }
        })
        .await;
}
