// What was already done with which input, so that a second start does not do it again.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** @param {(string | Buffer)[]} parts */
export function digestOf(parts) {
  const hash = createHash("sha256");
  for (const part of parts) {
    hash.update(String(part.length)).update("\n").update(part);
  }
  return hash.digest("hex");
}

/** @param {string} state  @param {string} name  @param {string} digest */
export function isStamped(state, name, digest) {
  const file = join(state, `${name}.stamp`);
  return existsSync(file) && readFileSync(file, "utf8") === digest;
}

/** @param {string} state  @param {string} name  @param {string} digest */
export function stamp(state, name, digest) {
  writeFileSync(join(state, `${name}.stamp`), digest);
}
