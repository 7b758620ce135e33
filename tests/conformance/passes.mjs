import { startSecond } from "./fixture/second.mjs";
import { startFixture } from "./fixture/start.mjs";
import { compareLedgers } from "./ledger.mjs";
import { probeRule } from "./rule_probe.mjs";
import { startShim } from "./shim.mjs";
import { runServerScenario } from "./suite.mjs";

const SCENARIO_MS_MAX = 60_000;
const FIXTURE_PREFIX = "fx";
// Longer than the suite takes to answer, and short enough to see the calls end that it leaves waiting.
const INPUT_WAIT_MS = 8_000;

/**
 * Runs the scenarios against the fixture itself.
 * @param {object} options
 * @param {string} options.revision
 * @param {"legacy" | "modern"} options.era
 * @param {string[]} options.scenarios
 * @returns {Promise<Map<string, import("./suite.mjs").Verdict>>} by scenario
 */
export async function runDirect({ revision, era, scenarios }) {
  const fixture = await startFixture({ era });
  try {
    return await runScenarios({ url: fixture.url, revision, scenarios });
  } finally {
    await fixture.stop();
  }
}

/**
 * Runs the scenarios through a portal with tool rules in front of the fixture.
 * @param {object} options
 * @param {string} options.revision what the suite speaks
 * @param {"legacy" | "modern"} options.era what the suite speaks
 * @param {"legacy" | "modern"} options.upstream what the fixture speaks
 * @param {boolean} options.prefixed with the fixture's names prefixed, beside a second server
 * @param {string[]} options.scenarios
 * @returns {Promise<{
 *   verdicts: Map<string, import("./suite.mjs").Verdict>,
 *   problems: string[],
 * }>} `problems` are what no single scenario shows: an inactive rule, calls that were not recorded
 */
export async function runThrough({ revision, era, upstream, prefixed, scenarios }) {
  const open = [];
  try {
    const fixture = keep(open, await startFixture({ era: upstream }));
    const second = prefixed ? keep(open, await startSecond()) : undefined;
    const { startPortal } = await import("../harness/portal.mjs");
    const config = portalConfig(fixture.url, second?.url);
    const vars = { INPUT_WAIT_MS: String(INPUT_WAIT_MS) };
    const portal = keep(open, await startPortal({ config, vars }));
    const endpoint = new URL("/mcp", portal.url).href;
    const prefix = prefixed ? `${FIXTURE_PREFIX}_` : "";
    const url = prefixed ? keep(open, await startShim({ target: endpoint, prefix })).url : endpoint;

    const verdicts = await runScenarios({ url, revision, scenarios });
    const ruleProblems = await probeRule({
      url: endpoint,
      era,
      tool: `${prefix}never_run`,
      calls: fixture.calls,
    });
    const counts = await compareLedgers({
      calls: fixture.calls,
      d1: portal.d1,
      server: "fixture",
      upstream,
      inputWaitMs: INPUT_WAIT_MS,
    });
    const uneven = counts
      .filter(({ calls, events }) => calls !== events)
      .map(({ method, calls, events }) => `${method}: ${calls} calls reached the server, ${events} outcomes`);
    return { verdicts, problems: [...ruleProblems, ...uneven] };
  } finally {
    for (const part of open.reverse()) await part.stop();
  }
}

function keep(open, part) {
  open.push(part);
  return part;
}

async function runScenarios({ url, revision, scenarios }) {
  const verdicts = new Map();
  for (const scenario of scenarios) {
    const verdict = await runServerScenario({ url, revision, scenario, timeoutMs: SCENARIO_MS_MAX });
    verdicts.set(scenario, verdict);
    process.stderr.write(verdict.status === "pass" ? "." : "x");
  }
  process.stderr.write("\n");
  return verdicts;
}

function portalConfig(fixtureUrl, secondUrl) {
  const tools = { default: "allow", deny: ["never_*"] };
  const server = (url, prefix) => ({ url, prefix, auth: { kind: "none" }, tools });
  const servers = { fixture: server(fixtureUrl, secondUrl === undefined ? "" : FIXTURE_PREFIX) };
  if (secondUrl !== undefined) servers.second = server(secondUrl, "second");
  return {
    portals: {
      main: {
        hostnames: ["127.0.0.1", "localhost"],
        servers: Object.keys(servers),
        code_mode: "off",
        access: [{ action: "bypass", include: [{ everyone: true }] }],
        portal_tools: false,
        inspect: "log",
      },
    },
    servers,
  };
}
