/**
 * Runs the official MCP conformance suite directly against a fixture and through the portal, in all four
 * pairings of a client's era with a server's. `pairings/` says what must pass in which pairing.
 *
 *   npm run conformance -- [--json FILE] [--only SCENARIO]... [--pairing NAME]...
 *                          [--requirements REVISION]... [--leg server|client]... [--direct]
 *
 * --direct leaves the portal out, to test the fixture and the client driver alone. A pairing is named
 * client-server: `modern-legacy` is a modern client before a legacy server.
 */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { runClients } from "./clients.mjs";
import { readPairings } from "./pairings.mjs";
import { runDirect, runThrough } from "./passes.mjs";
import { judgeRows, layOut, publicRow, summarize } from "./report.mjs";

const SETS = [
  { revision: "2025-11-25", era: "legacy" },
  { revision: "2026-07-28", era: "modern" },
];
const NODE_MAJOR_MIN = 22;

const { values: options } = parseArgs({
  options: {
    json: { type: "string" },
    only: { type: "string", multiple: true, default: [] },
    pairing: { type: "string", multiple: true, default: [] },
    requirements: { type: "string", multiple: true, default: [] },
    leg: { type: "string", multiple: true, default: [] },
    direct: { type: "boolean", default: false },
  },
});
process.exitCode = await main();

async function main() {
  if (Number(process.versions.node.split(".")[0]) < NODE_MAJOR_MIN) {
    throw new Error(`The suite needs Node ${NODE_MAJOR_MIN} or newer: start it with "npm run conformance"`);
  }
  const legs = (await readPairings()).filter(
    ({ pairing, leg }) => isChosen(options.pairing, pairing) && isChosen(options.leg, leg),
  );
  const rows = [];
  const problems = [];
  for (const { revision, era } of SETS.filter((set) => isChosen(options.requirements, set.revision))) {
    for (const kind of [serverRuns, clientRuns]) {
      const result = await runPasses(revision, kind(revision, era, legs));
      rows.push(...result.rows);
      problems.push(...result.problems);
    }
  }
  if (rows.length === 0) {
    console.error("No scenario of the pairings fits these options");
    return 1;
  }
  console.log(layOut(rows, options));
  if (options.json) await writeFile(options.json, `${JSON.stringify(rows.map(publicRow), null, 2)}\n`);
  for (const line of summarize(rows, options)) console.log(line);
  const failures = [...problems, ...judgeRows(rows, options)];
  for (const failure of new Set(failures)) console.log(`FAILED ${failure}`);
  return failures.length === 0 ? 0 : 1;
}

function isChosen(chosen, name) {
  return chosen.length === 0 || chosen.includes(name);
}

/** The suite drives the portal: every pairing whose client speaks the revision. */
function serverRuns(revision, era, legs) {
  const passes = [];
  for (const leg of legs.filter((each) => each.leg === "server" && each.requirements === revision)) {
    const { pairing, server: upstream } = leg;
    passes.push(passOf(leg, { column: upstream === era ? "through" : "bridged", pairing, upstream }));
    // What the portal does with names depends neither on the eras nor on what is no requirement.
    if (upstream !== era) continue;
    const { required } = leg;
    const prefixed = { column: "prefixed", pairing: `${pairing} prefixed`, upstream, prefixed: true };
    passes.push(passOf({ required, extra: [], exclusions: new Map() }, prefixed));
  }
  return {
    passes,
    direct: (scenarios) => runDirect({ revision, era, scenarios }),
    through: ({ upstream, prefixed = false, scenarios }) =>
      runThrough({ revision, era, upstream, prefixed, scenarios }),
  };
}

/** A driver drives the portal before the suite's server: every pairing whose server speaks the revision. */
function clientRuns(revision, era, legs) {
  const chosen = legs.filter((each) => each.leg === "client" && each.requirements === revision);
  const passes = chosen.map((leg) => {
    const column = leg.client === era ? "through" : "bridged";
    return passOf(leg, { column, pairing: `${leg.pairing} client`, driver: leg.client });
  });
  return {
    passes,
    direct: async (scenarios) => (await runClients({ revision, era, scenarios, portal: false })).verdicts,
    through: ({ driver, scenarios }) => runClients({ revision, era: driver, scenarios, portal: true }),
  };
}

function passOf({ required, extra, exclusions }, facts) {
  const scenarios = [...required, ...extra, ...exclusions.keys()];
  return { ...facts, exclusions, scenarios: scenarios.filter((name) => isChosen(options.only, name)) };
}

/** One direct run of all scenarios, and each pass compared with it. */
async function runPasses(revision, { passes, direct, through }) {
  const rows = [];
  const problems = [];
  const scenarios = [...new Set(passes.flatMap((pass) => pass.scenarios))];
  if (scenarios.length === 0) return { rows, problems };
  console.error(`${revision}: ${scenarios.length} scenarios, directly`);
  const expected = await direct(scenarios);
  for (const pass of passes.filter((each) => each.scenarios.length > 0)) {
    const { pairing, column, exclusions } = pass;
    let verdicts = new Map();
    let failure = "the portal was left out";
    if (!options.direct) {
      console.error(`${revision}: ${pass.scenarios.length} scenarios, ${pairing}`);
      try {
        const result = await through(pass);
        verdicts = result.verdicts;
        problems.push(...result.problems.map((problem) => `${revision} ${pairing}: ${problem}`));
      } catch (error) {
        failure = `the run did not finish: ${error.message}`;
        problems.push(`${revision} ${pairing}: ${failure}`);
      }
    }
    for (const scenario of pass.scenarios) {
      const first = expected.get(scenario);
      const then = verdicts.get(scenario) ?? { status: "fail", note: failure };
      const note = [first.note && `direct: ${first.note}`, then.note].filter(Boolean).join("; ");
      const exclusion = exclusions.get(scenario);
      const verdict = { direct: first.status, through: then.status, note, exclusion };
      rows.push({ requirements: revision, pairing, scenario, column, ...verdict });
    }
  }
  return { rows, problems };
}
