-- The configuration: immutable revisions, and which of them is active.
CREATE TABLE config_revisions (
  revision INTEGER PRIMARY KEY AUTOINCREMENT,
  body TEXT NOT NULL,
  author TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL
);

-- One row that every isolate reads at least every three seconds: `revision` is the active configuration, `generation`
-- counts changes of stored snapshots.
CREATE TABLE epoch (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  revision INTEGER REFERENCES config_revisions (revision),
  generation INTEGER NOT NULL DEFAULT 0
);
INSERT INTO epoch (id, revision, generation) VALUES (1, NULL, 0);

-- Servers' listings. `scope` is empty for the shared one, else the principal it was read for. A listing larger than one
-- row may be is cut into parts. `fetched_at_ms` is 0 where the server said that its listing changed.
CREATE TABLE catalog_snapshots (
  server TEXT NOT NULL,
  scope TEXT NOT NULL,
  part INTEGER NOT NULL,
  parts INTEGER NOT NULL,
  fetched_at_ms INTEGER NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (server, scope, part)
);

-- The audit trail, moved here from the ledger objects in batches. A row that arrives twice is one row.
CREATE TABLE audit_events (
  id TEXT PRIMARY KEY,
  request_id TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  kind TEXT NOT NULL,
  status TEXT NOT NULL,
  reason TEXT,
  rule TEXT,
  portal TEXT NOT NULL,
  principal TEXT NOT NULL,
  email TEXT,
  agent TEXT,
  method TEXT NOT NULL,
  server TEXT,
  target TEXT,
  era TEXT NOT NULL,
  is_write INTEGER NOT NULL,
  duration_ms INTEGER NOT NULL,
  request_bytes INTEGER NOT NULL,
  reply_bytes INTEGER NOT NULL,
  revision INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX audit_events_by_time ON audit_events (at_ms);
CREATE INDEX audit_events_by_request ON audit_events (request_id);
