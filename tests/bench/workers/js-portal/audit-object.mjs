import { DurableObject } from "cloudflare:workers";
import { AUDIT_FLUSH_EVENTS, AUDIT_FLUSH_MS } from "./limits.mjs";

const COLUMNS = (
  "id request_id at_ms kind status reason rule portal principal email agent method server target era is_write " +
  "duration_ms request_bytes reply_bytes revision"
).split(" ");

// One statement and one bound value for any number of rows; an event flushed twice stays one row.
const INSERT = `INSERT OR IGNORE INTO audit_events (${COLUMNS.join(", ")}) SELECT ${COLUMNS.map(
  (column) => `value ->> '$.${column}'`,
).join(", ")} FROM json_each(?1)`;

/** The append-only log of the calls, emptied into D1 by its alarm. */
export class AuditObject extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.alarmSet = false;
    ctx.storage.sql.exec(
      "CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT)",
    );
  }

  /** Returns when the rows are durable: the output gate holds the answer until then. */
  append(batch) {
    const { sql } = this.ctx.storage;
    sql.exec("INSERT INTO events (event) SELECT value FROM json_each(?1)", batch);
    if (!this.alarmSet) {
      this.alarmSet = true;
      this.ctx.storage.setAlarm(Date.now() + AUDIT_FLUSH_MS);
    }
  }

  async alarm() {
    this.alarmSet = false;
    const { sql } = this.ctx.storage;
    const rows = sql
      .exec("SELECT seq, event FROM events ORDER BY seq LIMIT ?1", AUDIT_FLUSH_EVENTS)
      .raw()
      .toArray();
    if (rows.length === 0) {
      return;
    }
    await this.env.DB.prepare(INSERT)
      .bind(`[${rows.map(([, event]) => event).join(",")}]`)
      .run();
    sql.exec("DELETE FROM events WHERE seq <= ?1", rows.at(-1)[0]);
    const left = sql.exec("SELECT 1 FROM events LIMIT 1").raw().toArray().length > 0;
    if (left && !this.alarmSet) {
      this.alarmSet = true;
      this.ctx.storage.setAlarm(Date.now() + (rows.length === AUDIT_FLUSH_EVENTS ? 0 : AUDIT_FLUSH_MS));
    }
  }
}
