// Secrets of the local portal: made once, kept in the state folder, readable by this user only.
import { randomBytes } from "node:crypto";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const HEADER =
  "# Secrets and variables of the local portal. Add your own UPSTREAM_* and PROVIDER_* secrets here, and SECRET_HOSTS,\n" +
  '# which says where each may be sent:  SECRET_HOSTS=\'{"UPSTREAM_JIRA":["jira.acme.example"]}\'\n';
/** The sealing key outlives restarts: cursors and stored tokens are sealed with it. */
const GENERATED = ["SEAL_KEY", "SETUP_TOKEN"];

/**
 * @param {string} state
 * @returns {{ file: string, values: Record<string, string> }} `file` in the form of an environment file
 */
export function localSecrets(state) {
  const file = join(state, "secrets.env");
  if (!existsSync(file)) {
    writeFileSync(file, HEADER, { mode: 0o600 });
  }
  const values = parse(readFileSync(file, "utf8"));
  for (const name of GENERATED.filter((each) => !values[each])) {
    values[name] = randomBytes(32).toString("base64url");
    appendFileSync(file, `${name}=${values[name]}\n`);
  }
  return { file, values };
}

/** Enough for what is generated here; wrangler reads the rest of the file by its own rules. */
function parse(text) {
  const entries = [...text.matchAll(/^([A-Z][A-Z0-9_]*)="?([\w-]+)"?$/gm)];
  return Object.fromEntries(entries.map(([, name, value]) => [name, value]));
}
