//! `AuditObject`: one shard of the ledger. Its rows are durable before it answers (the output gate holds the answer back
//! until they are), and leave for D1 in batches. While D1 is away they stay.

use std::cell::Cell;
use std::time::Duration;

use serde::Deserialize;
use worker::{DurableObject, Env, Method, Request, Response, State, durable_object};

use crate::limits::{AUDIT_BATCH_BYTES_MAX, AUDIT_BATCH_ROWS_MAX};

/// Pause between an event and its batch.
const FLUSH_PAUSE: Duration = Duration::from_millis(500);

/// Pause after D1 did not answer.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Largest request of one isolate.
const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A shard.
#[durable_object]
pub struct AuditObject {
    state: State,
    env: Env,
    /// Whether this instance set the alarm: one from before is set again, which only moves it.
    is_alarm_set: Cell<bool>,
}

impl DurableObject for AuditObject {
    fn new(state: State, env: Env) -> Self {
        // Idempotent, and the only schema this object has. A failure shows in the first append.
        let _ = state.storage().sql().exec(
            "CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL)",
            None,
        );
        Self {
            state,
            env,
            is_alarm_set: Cell::new(false),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        if request.method() != Method::Post {
            return Response::error("the ledger takes events by POST", 405);
        }
        let body = request.text().await?;
        if body.len() > APPEND_BYTES_MAX {
            return Response::error("too many events at once", 413);
        }
        self.state.storage().sql().exec(
            "INSERT INTO events (body) SELECT value FROM json_each(?1)",
            Some(vec![body.into()]),
        )?;
        if !self.is_alarm_set.replace(true) {
            self.state.storage().set_alarm(FLUSH_PAUSE).await?;
        }
        Ok(Response::empty()?.with_status(204))
    }

    async fn alarm(&self) -> worker::Result<Response> {
        self.is_alarm_set.set(false);
        let next = match self.flush().await {
            Ok(true) => Some(Duration::from_millis(1)),
            Ok(false) => None,
            Err(error) => {
                worker::console_warn!(
                    "D1 did not take a batch of audit events, which stay in the ledger: {error}"
                );
                Some(RETRY_PAUSE)
            }
        };
        if let Some(pause) = next {
            self.is_alarm_set.set(true);
            self.state.storage().set_alarm(pause).await?;
        }
        Response::empty()
    }
}

/// What one batch takes: as much as fits, at least one event.
#[derive(Deserialize)]
struct Batch {
    last: Option<f64>,
    events: Option<String>,
    is_last: Option<f64>,
}

impl AuditObject {
    /// Moves one batch to D1. Whether there is more. A batch that arrives twice is stored once: rows have ids.
    async fn flush(&self) -> worker::Result<bool> {
        let sql = self.state.storage().sql();
        // One text, put together by the database, instead of an object for each row.
        let batch: Batch = sql
            .exec(
                &format!(
                    "SELECT MAX(seq) AS last, '[' || GROUP_CONCAT(body) || ']' AS events, \
                     MAX(seq) = (SELECT MAX(seq) FROM events) AS is_last FROM (SELECT seq, body, \
                     SUM(OCTET_LENGTH(body)) OVER (ORDER BY seq) - OCTET_LENGTH(body) AS before \
                     FROM (SELECT seq, body FROM events ORDER BY seq LIMIT {AUDIT_BATCH_ROWS_MAX})) \
                     WHERE before < {AUDIT_BATCH_BYTES_MAX}"
                ),
                None,
            )?
            .one()?;
        let (Some(last), Some(events)) = (batch.last, batch.events) else {
            return Ok(false);
        };
        let statement = self.env.d1("DB")?.prepare(
            "INSERT OR IGNORE INTO audit_events (id, request_id, at_ms, kind, status, reason, rule, portal, principal, \
             email, agent, method, server, target, era, is_write, duration_ms, request_bytes, reply_bytes, revision, \
             inspected_out_bytes, inspected_in_bytes) \
             SELECT value ->> 'id', value ->> 'request_id', value ->> 'at_ms', value ->> 'kind', value ->> 'status', \
             value ->> 'reason', value ->> 'rule', value ->> 'portal', value ->> 'principal', value ->> 'email', \
             value ->> 'agent', value ->> 'method', value ->> 'server', value ->> 'target', value ->> 'era', \
             value ->> 'is_write', value ->> 'duration_ms', value ->> 'request_bytes', value ->> 'reply_bytes', \
             value ->> 'revision', value ->> 'inspected_out_bytes', value ->> 'inspected_in_bytes' FROM json_each(?1)",
        );
        statement.bind(&[events.into()])?.run().await?;
        sql.exec(
            "DELETE FROM events WHERE seq <= ?1",
            Some(vec![last.into()]),
        )?;
        Ok(batch.is_last == Some(0.0))
    }
}
