// Gives the portal its configuration: TOML for people, JSON for the portal, every mistake named at once.
import { readFileSync } from "node:fs";
import { Failure, must } from "../process.mjs";
import { healthOf } from "./portal.mjs";
import { digestOf, isStamped, stamp } from "./stamp.mjs";

const APPLY_MS = 30_000;
const READY_MS = 20_000;

/**
 * Applies the file unless this portal already has it; what was changed in the console since then stays.
 * @param {{ origin: string, config: string, state: string, token: string }} options
 */
export async function applyConfiguration({ origin, config, state, token }) {
  const digest = digestOf([readFileSync(config)]);
  if (isStamped(state, "configuration", digest) && (await healthOf(origin)) === 200) {
    return;
  }
  const cli = ["run", "--quiet", "--bin", "portal", "--", "config", "json", config];
  const env = { ...process.env, LOCAL_DEVELOPMENT: "1" };
  const json = await must(`Reading ${config}`, "cargo", cli, { env, mend: "Mend the file and start again." });
  const response = await fetch(`${origin}/admin/api/config`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: json,
    signal: AbortSignal.timeout(APPLY_MS),
  });
  const answer = await response.text();
  if (response.status !== 201) {
    throw new Failure(`The portal refused ${config} (HTTP ${response.status}):\n${mistakes(answer)}`);
  }
  const end = Date.now() + READY_MS;
  while ((await healthOf(origin)) !== 200) {
    if (Date.now() > end) {
      throw new Failure(`The portal took the configuration but was not ready within ${READY_MS / 1000} s.`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  stamp(state, "configuration", digest);
}

function mistakes(answer) {
  try {
    return JSON.parse(answer)
      .errors.map(({ pointer, message }) => `  ${pointer || "/"}: ${message}`)
      .join("\n");
  } catch {
    return answer.slice(0, 2_000);
  }
}
