import { fileURLToPath } from "node:url";
import { runClientScenario } from "./suite.mjs";

const DRIVER = fileURLToPath(new URL("driver.mjs", import.meta.url));
const SCENARIO_MS_MAX = 60_000;

/**
 * The suite's client scenarios that apply to a portal as a client of its upstreams. Those about
 * authorization need a person at a browser or an authorization server and are tested elsewhere.
 */
export const CLIENT_SCENARIOS = {
  "2025-11-25": ["initialize", "tools_call", "elicitation-sep1034-client-defaults", "sse-retry"],
  "2026-07-28": [
    "tools_call",
    "request-metadata",
    "sep-2322-client-request-state",
    "http-standard-headers",
    "http-custom-headers",
    "http-invalid-tool-headers",
    "json-schema-ref-no-deref",
  ],
};

/** What to run for one revision: a driver before the portal, of the same era as the suite's server. */
export function clientPasses({ revision, era, isChosen }) {
  return {
    scenarios: CLIENT_SCENARIOS[revision].filter(isChosen),
    passes: [{ column: "through", pairing: `${era}-${era} client` }],
  };
}

/**
 * Runs client scenarios with the driver against the suite's server, or with a portal between them.
 * @param {object} options
 * @param {string} options.revision
 * @param {string[]} options.scenarios
 * @param {boolean} options.portal
 * @returns {Promise<{ verdicts: Map<string, import("./suite.mjs").Verdict>, problems: string[] }>}
 */
export async function runClients({ revision, scenarios, portal }) {
  // The suite splits the command at its spaces and gives it to a shell, so it must contain no others.
  const command = [process.execPath, DRIVER, portal ? "portal" : "direct"].join(" ");
  const verdicts = new Map();
  for (const scenario of scenarios) {
    const verdict = await runClientScenario({ command, revision, scenario, timeoutMs: SCENARIO_MS_MAX });
    verdicts.set(scenario, verdict);
    process.stderr.write(verdict.status === "pass" ? "." : "x");
  }
  process.stderr.write("\n");
  return { verdicts, problems: [] };
}
