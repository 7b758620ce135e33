//! The way to the ledger: at once and awaited for writes, in small batches for the rest.

use std::time::Duration;

use worker::{Delay, Env};

use super::ports::{EdgePorts, now_ms};
use super::{isolate, web};
use crate::audit::Event;
use crate::limits::{AUDIT_FLUSH_MS, AUDIT_QUEUE_EVENTS_MAX, AUDIT_SHARDS};
use crate::portal::ports::{AuditAway, Background as _};

/// How long a flusher may be trusted to be alive. One whose request died leaves its events to the next.
const FLUSHER_MS: u64 = 2_000;

/// Events in one request to the ledger.
const APPEND_EVENTS_MAX: usize = 200;

/// How often a flush is tried while the ledger is away.
const ATTEMPTS_MAX: u32 = 5;

/// Appends and returns once the ledger has stored the events.
pub(super) async fn append(env: &Env, events: &[Event]) -> Result<(), AuditAway> {
    let body = serde_json::to_string(events).map_err(|_| AuditAway)?;
    store(env, &body).await
}

/// Has the ledger store a JSON array of events.
async fn store(env: &Env, events: &str) -> Result<(), AuditAway> {
    let ledger = format!("ledger-{}", shard());
    match web::ask(env, "AUDIT", &ledger, Some(events.as_bytes())).await {
        Some((204, _)) => Ok(()),
        _ => Err(AuditAway),
    }
}

/// One ledger for each isolate, so that batches stay together.
fn shard() -> u32 {
    isolate::with(|isolate| {
        let shard = isolate.audit_shard.get().unwrap_or_else(|| {
            let mut byte = [0_u8; 1];
            web::random(&mut byte);
            u32::from(byte[0]) % AUDIT_SHARDS
        });
        isolate.audit_shard.set(Some(shard));
        shard
    })
}

/// Queues an event; somebody is on the way to the ledger with it within [`AUDIT_FLUSH_MS`].
pub(super) fn queue(ports: &EdgePorts, event: &Event) {
    let now = now_ms();
    // Text already: one buffer waits instead of a dozen.
    let Ok(event) = serde_json::to_string(event) else {
        return;
    };
    let needs_flusher = isolate::with(|isolate| {
        isolate.audit_queue.borrow_mut().push_back(event);
        let is_unattended = isolate.audit_flusher_until_ms.get() <= now;
        if is_unattended {
            isolate
                .audit_flusher_until_ms
                .set(now.saturating_add(FLUSHER_MS));
        }
        is_unattended
    });
    if needs_flusher {
        let env = ports.env.clone();
        ports.spawn(Box::pin(async move { flush(&env).await }));
    }
}

/// Whether the queue has room.
pub(super) fn has_room() -> bool {
    isolate::with(|isolate| isolate.audit_queue.borrow().len() < AUDIT_QUEUE_EVENTS_MAX)
}

/// Takes everything that is queued to the ledger. What the ledger does not take goes back in order.
async fn flush(env: &Env) {
    Delay::from(Duration::from_millis(AUDIT_FLUSH_MS)).await;
    let mut attempts = 0_u32;
    loop {
        let batch: Vec<String> = isolate::with(|isolate| {
            let mut queue = isolate.audit_queue.borrow_mut();
            let count = queue.len().min(APPEND_EVENTS_MAX);
            queue.drain(..count).collect()
        });
        if batch.is_empty() {
            break;
        }
        isolate::with(|isolate| {
            isolate
                .audit_flusher_until_ms
                .set(now_ms().saturating_add(FLUSHER_MS));
        });
        if store(env, &format!("[{}]", batch.join(","))).await.is_ok() {
            attempts = 0;
            continue;
        }
        isolate::with(|isolate| {
            let mut queue = isolate.audit_queue.borrow_mut();
            for event in batch.into_iter().rev() {
                queue.push_front(event);
            }
        });
        attempts = attempts.saturating_add(1);
        if attempts >= ATTEMPTS_MAX {
            worker::console_error!("the audit ledger does not answer; events wait in memory");
            break;
        }
        Delay::from(Duration::from_millis(
            100_u64.saturating_mul(attempts.into()),
        ))
        .await;
    }
    isolate::with(|isolate| isolate.audit_flusher_until_ms.set(0));
}
