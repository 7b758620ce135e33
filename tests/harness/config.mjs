// Giving a running portal its configuration, the way an administrator's tool does.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { root } from "./worker.mjs";

const APPLY_MS = 20_000;
const COMPILE_MS = 10 * 60_000;

/**
 * Stores and activates a configuration document.
 * @param {string | { dispatchFetch: typeof fetch }} portal its origin, or a Miniflare instance
 * @param {object} config the JSON form of the document
 * @param {string} token SETUP_TOKEN or an administrator's
 * @returns {Promise<object>} the portal's answer
 */
export async function applyConfig(portal, config, token) {
  const init = {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(config),
    signal: AbortSignal.timeout(APPLY_MS),
  };
  const response =
    typeof portal === "string"
      ? await fetch(`${portal}/admin/api/config`, init)
      : await portal.dispatchFetch("http://localhost/admin/api/config", init);
  const text = await response.text();
  if (response.status !== 201) {
    throw new Error(`The portal refused the configuration (${response.status}): ${text.slice(0, 4_000)}`);
  }
  return JSON.parse(text);
}

/**
 * The JSON form of a TOML file, by the portal's own command line.
 * @param {string} file
 * @returns {Promise<object>}
 */
export async function configFromToml(file) {
  const args = ["run", "--quiet", "--bin", "portal", "--", "config", "json", file];
  const { stdout } = await promisify(execFile)("cargo", args, {
    cwd: root,
    timeout: COMPILE_MS,
    env: { ...process.env, LOCAL_DEVELOPMENT: "1" },
  });
  return JSON.parse(stdout);
}
