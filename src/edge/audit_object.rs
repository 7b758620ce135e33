//! `AuditObject`: one shard of the ledger. Its rows are durable before it answers (the output gate holds the answer back
//! until they are), and leave for D1 in batches. While D1 is away they stay.

use std::time::Duration;

use serde::Deserialize;
use worker::{DurableObject, Env, Method, Request, Response, State, durable_object};

use crate::audit::Event;
use crate::limits::AUDIT_BATCH_ROWS_MAX;

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
}

impl DurableObject for AuditObject {
    fn new(state: State, env: Env) -> Self {
        // Idempotent, and the only schema this object has. A failure shows in the first append.
        let _ = state.storage().sql().exec(
            "CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL)",
            None,
        );
        Self { state, env }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        if request.method() != Method::Post {
            return Response::error("the ledger takes events by POST", 405);
        }
        let body = request.text().await?;
        if body.len() > APPEND_BYTES_MAX {
            return Response::error("too many events at once", 413);
        }
        if serde_json::from_str::<Vec<Event>>(&body).is_err() {
            return Response::error("not a list of events", 400);
        }
        self.state.storage().sql().exec(
            "INSERT INTO events (body) SELECT value FROM json_each(?1)",
            Some(vec![body.into()]),
        )?;
        if self.state.storage().get_alarm().await?.is_none() {
            self.state.storage().set_alarm(FLUSH_PAUSE).await?;
        }
        Ok(Response::empty()?.with_status(204))
    }

    async fn alarm(&self) -> worker::Result<Response> {
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
            self.state.storage().set_alarm(pause).await?;
        }
        Response::empty()
    }
}

#[derive(Deserialize)]
struct Row {
    seq: f64,
    body: String,
}

impl AuditObject {
    /// Moves one batch to D1. Whether there is more. A batch that arrives twice is stored once: rows have ids.
    async fn flush(&self) -> worker::Result<bool> {
        let sql = self.state.storage().sql();
        let rows: Vec<Row> = sql
            .exec(
                &format!("SELECT seq, body FROM events ORDER BY seq LIMIT {AUDIT_BATCH_ROWS_MAX}"),
                None,
            )?
            .to_array()?;
        let Some(last) = rows.last() else {
            return Ok(false);
        };
        let bodies: Vec<&str> = rows.iter().map(|row| row.body.as_str()).collect();
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
        statement
            .bind(&[format!("[{}]", bodies.join(",")).into()])?
            .run()
            .await?;
        sql.exec(
            "DELETE FROM events WHERE seq <= ?1",
            Some(vec![last.seq.into()]),
        )?;
        Ok(rows.len() == AUDIT_BATCH_ROWS_MAX)
    }
}
