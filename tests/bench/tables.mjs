// Both the portal and its rival keep the tables of the product's own migrations: the same record of every call.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../harness/worker.mjs";

/** Creates the tables in an empty database. */
export async function migrate(database) {
  const folder = join(root, "migrations");
  const files = readdirSync(folder).filter((file) => file.endsWith(".sql"));
  for (const file of files.sort()) {
    // Not exec(), which ends a statement at every line.
    await database.prepare(readFileSync(join(folder, file), "utf8")).run();
  }
}

/** The audit events that have reached the database, oldest first. */
export async function readAudit(database) {
  const { results } = await database.prepare("SELECT * FROM audit_events ORDER BY at_ms").all();
  return results;
}

/** How many events of named calls have reached the database; a caller without a token may have left none. */
export async function countAudit(database) {
  const row = await database
    .prepare("SELECT count(*) AS events FROM audit_events WHERE target IS NOT NULL")
    .first();
  return row.events;
}
