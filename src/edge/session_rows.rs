//! The rows of a legacy session: what survives an eviction.

use serde::Deserialize;
use worker::{SqlStorage, SqlStorageValue};

use crate::limits::{SESSION_EVENTS_MAX, SESSION_PENDING_MAX};
use crate::mcp::Revision;
use crate::portal::ports::UpstreamSession;

/// The tables, made with the first row: a request with an unknown session id leaves nothing behind.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS upstreams (server TEXT PRIMARY KEY, session_id TEXT, revision TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS parked (client_id TEXT PRIMARY KEY, server TEXT NOT NULL, upstream_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS streams (id INTEGER PRIMARY KEY AUTOINCREMENT, ended INTEGER NOT NULL DEFAULT 0);
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

    fn rows<T: serde::de::DeserializeOwned>(
        &self,
        query: &str,
        values: Vec<SqlStorageValue>,
    ) -> Vec<T> {
        self.sql
            .exec(query, Some(values))
            .and_then(|cursor| cursor.to_array())
            .unwrap_or_default()
    }

    fn run(&self, query: &str, values: Vec<SqlStorageValue>) -> bool {
        self.sql.exec(query, Some(values)).is_ok()
    }

    /// Whether the session was ever opened.
    pub(super) fn exists(&self) -> bool {
        !self
            .rows::<Text>(
                "SELECT name AS value FROM sqlite_master WHERE name = 'facts'",
                Vec::new(),
            )
            .is_empty()
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
            "DELETE FROM parked WHERE instr(server, '#') > 0",
            Vec::new(),
        );
    }

    pub(super) fn remove_upstream(&self, server: &str) {
        self.run(
            "DELETE FROM upstreams WHERE server = ?1",
            vec![server.into()],
        );
        self.run("DELETE FROM parked WHERE server = ?1", vec![server.into()]);
    }

    /// Parks a request, unless too many are.
    pub(super) fn park(&self, client_id: &str, server: &str, upstream_id: &str) -> bool {
        let count: Vec<Number> = self.rows("SELECT COUNT(*) AS value FROM parked", Vec::new());
        if count
            .first()
            .is_none_or(|count| whole(count) >= SESSION_PENDING_MAX as u64)
        {
            return false;
        }
        self.run(
            "INSERT INTO parked (client_id, server, upstream_id) VALUES (?1, ?2, ?3)",
            vec![client_id.into(), server.into(), upstream_id.into()],
        )
    }

    pub(super) fn parked(&self, server: &str, upstream_id: &str) -> Option<String> {
        self.rows::<Text>(
            "SELECT client_id AS value FROM parked WHERE server = ?1 AND upstream_id = ?2",
            vec![server.into(), upstream_id.into()],
        )
        .pop()
        .map(|row| row.value)
    }

    /// Whether a request of a server waits for an answer.
    pub(super) fn is_parked(&self, server: &str) -> bool {
        let found: Vec<Number> = self.rows(
            "SELECT 1 AS value FROM parked WHERE server = ?1 LIMIT 1",
            vec![server.into()],
        );
        !found.is_empty()
    }

    pub(super) fn unpark(&self, client_id: &str) -> Option<(String, String)> {
        #[derive(Deserialize)]
        struct Row {
            server: String,
            upstream_id: String,
        }
        self.rows::<Row>(
            "DELETE FROM parked WHERE client_id = ?1 RETURNING server, upstream_id",
            vec![client_id.into()],
        )
        .pop()
        .map(|row| (row.server, row.upstream_id))
    }

    /// A new stream's number; numbers are never used again.
    pub(super) fn open_stream(&self) -> Option<u64> {
        self.rows::<Number>(
            "INSERT INTO streams DEFAULT VALUES RETURNING id AS value",
            Vec::new(),
        )
        .pop()
        .map(|row| whole(&row))
    }

    pub(super) fn end_stream(&self, stream: u64) {
        self.run(
            "UPDATE streams SET ended = 1 WHERE id = ?1",
            vec![value(stream)],
        );
    }

    pub(super) fn add_event(&self, stream: u64, seq: u64, body: &str) -> bool {
        if seq % 100 == 99 {
            self.trim();
        }
        self.run(
            "INSERT INTO events (stream, seq, body) VALUES (?1, ?2, ?3)",
            vec![value(stream), value(seq), body.into()],
        )
    }

    /// Forgets the oldest events beyond the bound.
    fn trim(&self) {
        self.run(
            "DELETE FROM events WHERE rowid NOT IN (SELECT rowid FROM events ORDER BY rowid DESC LIMIT ?1)",
            vec![value(SESSION_EVENTS_MAX as u64)],
        );
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
