//! The rows of a legacy session: what survives an eviction.

use serde::Deserialize;
use worker::{SqlStorage, SqlStorageValue};

use super::session_streams::STANDALONE;
use crate::limits::{SESSION_EVENTS_MAX, SESSION_PENDING_MAX};
use crate::mcp::Revision;
use crate::portal::ports::{Parked, UpstreamSession};

/// The tables, made with the first row: a request with an unknown session id leaves nothing behind.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS upstreams (server TEXT PRIMARY KEY, session_id TEXT, revision TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS waiting (client_id TEXT PRIMARY KEY, server TEXT NOT NULL, upstream_id TEXT, call TEXT, key TEXT, at_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS calls (id TEXT PRIMARY KEY, body TEXT NOT NULL, last_event_id TEXT, expires_at_ms REAL NOT NULL);
CREATE TABLE IF NOT EXISTS stream_calls (stream INTEGER PRIMARY KEY, call TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS streams (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE IF NOT EXISTS events (stream INTEGER NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (stream, seq));
CREATE TABLE IF NOT EXISTS toggles (server TEXT PRIMARY KEY);
";

/// A session's storage. Every method is one statement and no await.
pub(super) struct SessionRows {
    sql: SqlStorage,
}

#[derive(Deserialize)]
struct Text {
    value: String,
}

#[derive(Deserialize)]
struct Number {
    value: f64,
}

impl SessionRows {
    pub(super) fn new(sql: SqlStorage) -> Self {
        Self { sql }
    }

    pub(super) fn rows<T: serde::de::DeserializeOwned>(
        &self,
        query: &str,
        values: Vec<SqlStorageValue>,
    ) -> Vec<T> {
        self.sql
            .exec(query, Some(values))
            .and_then(|cursor| cursor.to_array())
            .unwrap_or_default()
    }

    pub(super) fn run(&self, query: &str, values: Vec<SqlStorageValue>) -> bool {
        self.sql.exec(query, Some(values)).is_ok()
    }

    /// Whether the session was ever opened.
    pub(super) fn exists(&self) -> bool {
        self.has_table("facts")
    }

    fn has_table(&self, name: &str) -> bool {
        let query = "SELECT name AS value FROM sqlite_master WHERE name = ?1";
        !self.rows::<Text>(query, vec![name.into()]).is_empty()
    }

    /// Takes over the rows of a session that was opened before calls were kept.
    pub(super) fn adopt(&self, now_ms: u64) {
        if self.has_table("waiting") {
            return;
        }
        self.create();
        self.run(
            "INSERT INTO waiting (client_id, server, upstream_id, at_ms) SELECT client_id, server, upstream_id, ?1 FROM parked",
            vec![value(now_ms)],
        );
        self.run("DROP TABLE parked", Vec::new());
    }

    /// Makes the tables.
    pub(super) fn create(&self) -> bool {
        SCHEMA
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .all(|part| self.run(part, Vec::new()))
    }

    pub(super) fn fact(&self, key: &str) -> Option<String> {
        self.rows::<Text>("SELECT value FROM facts WHERE key = ?1", vec![key.into()])
            .pop()
            .map(|row| row.value)
    }

    pub(super) fn set_fact(&self, key: &str, value: &str) -> bool {
        self.run(
            "INSERT INTO facts (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
            vec![key.into(), value.into()],
        )
    }

    pub(super) fn upstreams(&self) -> Vec<(String, UpstreamSession)> {
        #[derive(Deserialize)]
        struct Row {
            server: String,
            session_id: Option<String>,
            revision: String,
        }
        let rows: Vec<Row> = self.rows(
            "SELECT server, session_id, revision FROM upstreams",
            Vec::new(),
        );
        rows.into_iter()
            .filter_map(|row| {
                let revision = Revision::parse(&row.revision)?;
                Some((
                    row.server,
                    UpstreamSession {
                        id: row.session_id,
                        revision,
                        endpoint: None,
                        log_level: None,
                    },
                ))
            })
            .collect()
    }

    pub(super) fn set_upstream(&self, server: &str, session: &UpstreamSession) {
        let id = session
            .id
            .as_deref()
            .map_or(SqlStorageValue::Null, Into::into);
        self.run(
            "INSERT OR REPLACE INTO upstreams (server, session_id, revision) VALUES (?1, ?2, ?3)",
            vec![server.into(), id, session.revision.as_str().into()],
        );
    }

    /// Removes what waited on connections of calls: they ended with the object that had them open.
    pub(super) fn remove_connections(&self) {
        self.run(
            "DELETE FROM waiting WHERE instr(server, '#') > 0",
            Vec::new(),
        );
    }

    pub(super) fn remove_upstream(&self, server: &str) {
        self.run(
            "DELETE FROM upstreams WHERE server = ?1",
            vec![server.into()],
        );
        self.run(
            "DELETE FROM waiting WHERE server = ?1 AND key IS NULL",
            vec![server.into()],
        );
    }

    /// Parks what waits for the client, unless too much does. What was parked before `since_ms` waits no more.
    pub(super) fn park(
        &self,
        client_id: &str,
        server: &str,
        parked: &Parked,
        (now_ms, since_ms): (u64, u64),
    ) -> bool {
        self.forget_older(since_ms);
        let count: Vec<Number> = self.rows("SELECT COUNT(*) AS value FROM waiting", Vec::new());
        if count
            .first()
            .is_none_or(|count| whole(count) >= SESSION_PENDING_MAX as u64)
        {
            return false;
        }
        let text = |text: Option<&str>| text.map_or(SqlStorageValue::Null, Into::into);
        let (upstream_id, call, key) = match parked {
            Parked::Server { id, call } => (Some(id.as_str()), call.as_deref(), None),
            Parked::Round { call, key } => (None, Some(call.as_str()), Some(key.as_str())),
        };
        self.run(
            "INSERT INTO waiting (client_id, server, upstream_id, call, key, at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            vec![
                client_id.into(),
                server.into(),
                text(upstream_id),
                text(call),
                text(key),
                value(now_ms),
            ],
        )
    }

    pub(super) fn parked(&self, server: &str, upstream_id: &str) -> Option<String> {
        self.rows::<Text>(
            "SELECT client_id AS value FROM waiting WHERE server = ?1 AND upstream_id = ?2",
            vec![server.into(), upstream_id.into()],
        )
        .pop()
        .map(|row| row.value)
    }

    /// Whether something of a server waits that was parked since then. What waits longer waits for nobody.
    pub(super) fn is_parked(&self, server: &str, since_ms: u64) -> bool {
        let found: Vec<Number> = self.rows(
            "SELECT 1 AS value FROM waiting WHERE server = ?1 AND at_ms >= ?2 LIMIT 1",
            vec![server.into(), value(since_ms)],
        );
        !found.is_empty()
    }

    fn forget_older(&self, since_ms: u64) {
        self.run(
            "DELETE FROM waiting WHERE at_ms < ?1",
            vec![value(since_ms)],
        );
    }

    /// Takes what was parked since then.
    pub(super) fn unpark(&self, client_id: &str, since_ms: u64) -> Option<(String, Parked)> {
        #[derive(Deserialize)]
        struct Row {
            server: String,
            upstream_id: Option<String>,
            call: Option<String>,
            key: Option<String>,
        }
        let row: Row = self
            .rows(
                "DELETE FROM waiting WHERE client_id = ?1 AND at_ms >= ?2 RETURNING server, upstream_id, call, key",
                vec![client_id.into(), value(since_ms)],
            )
            .pop()?;
        let parked = match (row.upstream_id, row.call, row.key) {
            (Some(id), call, _) => Parked::Server { id, call },
            (None, Some(call), Some(key)) => Parked::Round { call, key },
            _ => return None,
        };
        Some((row.server, parked))
    }

    /// Forgets what a call asked: the ids under which it did.
    pub(super) fn forget_parked(&self, call: &str) -> Vec<String> {
        let rows: Vec<Text> = self.rows(
            "DELETE FROM waiting WHERE call = ?1 RETURNING client_id AS value",
            vec![call.into()],
        );
        rows.into_iter().map(|row| row.value).collect()
    }

    pub(super) fn keep_call(&self, call: &str, text: &str, expires_at_ms: u64) -> bool {
        self.run(
            "INSERT INTO calls (id, body, expires_at_ms) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET body = ?2, expires_at_ms = ?3",
            vec![call.into(), text.into(), value(expires_at_ms)],
        )
    }

    pub(super) fn note_event_id(&self, call: &str, last_event_id: &str) {
        self.run(
            "UPDATE calls SET last_event_id = ?2 WHERE id = ?1",
            vec![call.into(), last_event_id.into()],
        );
    }

    pub(super) fn kept_call(&self, call: &str) -> Option<(String, Option<String>)> {
        #[derive(Deserialize)]
        struct Row {
            body: String,
            last_event_id: Option<String>,
        }
        let row: Row = self
            .rows(
                "SELECT body, last_event_id FROM calls WHERE id = ?1",
                vec![call.into()],
            )
            .pop()?;
        Some((row.body, row.last_event_id))
    }

    pub(super) fn drop_call(&self, call: &str) {
        self.run("DELETE FROM calls WHERE id = ?1", vec![call.into()]);
    }

    /// Every kept call: its id and its text.
    pub(super) fn calls(&self) -> Vec<(String, String)> {
        self.expired_calls(u64::MAX)
    }

    /// The kept calls that were to be over by a time: id and text.
    pub(super) fn expired_calls(&self, by_ms: u64) -> Vec<(String, String)> {
        #[derive(Deserialize)]
        struct Row {
            id: String,
            body: String,
        }
        let rows: Vec<Row> = self.rows(
            "SELECT id, body FROM calls WHERE expires_at_ms <= ?1",
            vec![value(by_ms)],
        );
        rows.into_iter().map(|row| (row.id, row.body)).collect()
    }

    /// When the next kept call is to be looked into, of those later than a time.
    pub(super) fn next_expiry_ms(&self, after_ms: u64) -> Option<u64> {
        let row: Vec<Number> = self.rows(
            "SELECT MIN(expires_at_ms) AS value FROM calls WHERE expires_at_ms > ?1 HAVING value IS NOT NULL",
            vec![value(after_ms)],
        );
        row.first().map(whole)
    }

    /// Notes which call a stream carries.
    pub(super) fn carry(&self, stream: u64, call: &str) {
        self.run(
            "INSERT OR REPLACE INTO stream_calls (stream, call) VALUES (?1, ?2)",
            vec![value(stream), call.into()],
        );
    }

    pub(super) fn call_of(&self, stream: u64) -> Option<String> {
        self.rows::<Text>(
            "SELECT call AS value FROM stream_calls WHERE stream = ?1",
            vec![value(stream)],
        )
        .pop()
        .map(|row| row.value)
    }

    pub(super) fn stream_of(&self, call: &str) -> Option<u64> {
        self.rows::<Number>(
            "SELECT stream AS value FROM stream_calls WHERE call = ?1",
            vec![call.into()],
        )
        .pop()
        .map(|row| whole(&row))
    }

    /// A new stream's number; numbers are never used again. Only the last one is kept.
    pub(super) fn open_stream(&self) -> Option<u64> {
        let row = self
            .rows::<Number>(
                "INSERT INTO streams DEFAULT VALUES RETURNING id AS value",
                Vec::new(),
            )
            .pop()?;
        let stream = whole(&row);
        self.run("DELETE FROM streams WHERE id < ?1", vec![value(stream)]);
        Some(stream)
    }

    pub(super) fn end_stream(&self, stream: u64) {
        self.run(
            "DELETE FROM stream_calls WHERE stream = ?1",
            vec![value(stream)],
        );
    }

    /// Keeps an event for replay, and forgets the oldest beyond the bound: most streams have a few, so that they are
    /// counted over all of them.
    pub(super) fn add_event(&self, stream: u64, seq: u64, body: &str) {
        const TRIM_EVERY: u64 = 100;
        let added: Vec<Number> = self.rows(
            "INSERT INTO events (stream, seq, body) VALUES (?1, ?2, ?3) RETURNING rowid AS value",
            vec![value(stream), value(seq), body.into()],
        );
        let Some(last) = added.first().map(whole) else {
            return;
        };
        if last % TRIM_EVERY == 0 {
            let oldest = last.saturating_sub(SESSION_EVENTS_MAX as u64);
            // The client's own stream, which never ends, goes on counting from its last event.
            self.run(
                "DELETE FROM events WHERE rowid <= ?1 AND rowid IS NOT (SELECT MAX(rowid) FROM events WHERE stream = ?2)",
                vec![value(oldest), value(STANDALONE)],
            );
        }
    }

    /// The sequence number after the last event of a stream.
    pub(super) fn next_seq(&self, stream: u64) -> u64 {
        self.rows::<Number>(
            "SELECT COALESCE(MAX(seq) + 1, 1) AS value FROM events WHERE stream = ?1",
            vec![value(stream)],
        )
        .pop()
        .map_or(1, |row| whole(&row))
    }

    pub(super) fn events_after(&self, stream: u64, seq: u64) -> Vec<(u64, String)> {
        #[derive(Deserialize)]
        struct Row {
            seq: f64,
            body: String,
        }
        let rows: Vec<Row> = self.rows(
            "SELECT seq, body FROM events WHERE stream = ?1 AND seq > ?2 ORDER BY seq",
            vec![value(stream), value(seq)],
        );
        rows.into_iter()
            .map(|row| (whole(&Number { value: row.seq }), row.body))
            .collect()
    }

    pub(super) fn toggled_off(&self) -> Vec<String> {
        self.rows::<Text>("SELECT server AS value FROM toggles", Vec::new())
            .into_iter()
            .map(|row| row.value)
            .collect()
    }

    pub(super) fn toggle(&self, server: &str, off: bool) {
        let query = if off {
            "INSERT OR IGNORE INTO toggles (server) VALUES (?1)"
        } else {
            "DELETE FROM toggles WHERE server = ?1"
        };
        self.run(query, vec![server.into()]);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "stream and event numbers of one session stay far below 2^53"
)]
fn value(number: u64) -> SqlStorageValue {
    SqlStorageValue::Float(number as f64)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers are our own, whole and positive"
)]
fn whole(row: &Number) -> u64 {
    row.value as u64
}
