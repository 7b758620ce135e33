import { fileURLToPath } from "node:url";
import { runClientScenario } from "./suite.mjs";

const DRIVER = fileURLToPath(new URL("driver.mjs", import.meta.url));
const SCENARIO_MS_MAX = 60_000;

/**
 * Runs client scenarios with the driver against the suite's server, or with a portal between them.
 * @param {object} options
 * @param {string} options.revision the suite's server's
 * @param {"legacy" | "modern"} options.era the driver's, which without a portal is the revision's
 * @param {string[]} options.scenarios
 * @param {boolean} options.portal
 * @returns {Promise<{ verdicts: Map<string, import("./suite.mjs").Verdict>, problems: string[] }>}
 */
export async function runClients({ revision, era, scenarios, portal }) {
  // The suite splits the command at its spaces and gives it to a shell, so it must contain no others.
  const command = [process.execPath, DRIVER, portal ? "portal" : "direct", era].join(" ");
  const verdicts = new Map();
  for (const scenario of scenarios) {
    const verdict = await runClientScenario({ command, revision, scenario, timeoutMs: SCENARIO_MS_MAX });
    verdicts.set(scenario, verdict);
    process.stderr.write(verdict.status === "pass" ? "." : "x");
  }
  process.stderr.write("\n");
  return { verdicts, problems: [] };
}
