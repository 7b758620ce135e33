/**
 * Runs the official MCP conformance suite directly against a fixture and through the portal.
 *
 *   npm run conformance -- [--json FILE] [--only SCENARIO]... [--requirements REVISION]...
 *                          [--bridged] [--direct] [--leg server|client]
 *
 * --bridged also pairs a client of one era with a server of the other. --direct leaves the portal
 * out, to test the fixture and the client driver alone.
 */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { clientPasses, runClients } from "./clients.mjs";
import { findExclusion, readExclusions } from "./exclusions.mjs";
import { runDirect, runThrough } from "./passes.mjs";
import { requiredScenarios } from "./suite.mjs";
import { formatTable } from "./table.mjs";

const SETS = [
  { revision: "2025-11-25", era: "legacy", other: "modern" },
  { revision: "2026-07-28", era: "modern", other: "legacy" },
];
const NODE_MAJOR_MIN = 22;

const { values: options } = parseArgs({
  options: {
    json: { type: "string" },
    only: { type: "string", multiple: true, default: [] },
    requirements: { type: "string", multiple: true, default: [] },
    leg: { type: "string", multiple: true, default: [] },
    bridged: { type: "boolean", default: false },
    direct: { type: "boolean", default: false },
  },
});
process.exitCode = await main();

async function main() {
  if (Number(process.versions.node.split(".")[0]) < NODE_MAJOR_MIN) {
    throw new Error(`The suite needs Node ${NODE_MAJOR_MIN} or newer: start it with "npm run conformance"`);
  }
  const exclusions = await readExclusions();
  const results = [];
  for (const set of SETS.filter(({ revision }) => isChosen(options.requirements, revision))) {
    if (isChosen(options.leg, "server")) results.push(await runServers(set));
    if (isChosen(options.leg, "client")) results.push(await runDrivers(set));
  }
  const rows = results.flatMap((result) => result.rows);
  if (rows.length === 0) {
    console.error("No required scenario fits these options");
    return 1;
  }
  console.log(layOut(results));
  if (options.json) await writeFile(options.json, `${JSON.stringify(rows.map(publicRow), null, 2)}\n`);
  return report(rows, results, exclusions);
}

function isChosen(chosen, name) {
  return chosen.length === 0 || chosen.includes(name);
}

async function runServers({ revision, era, other }) {
  const scenarios = (await requiredScenarios(revision, "server")).filter((name) =>
    isChosen(options.only, name),
  );
  const passes = [
    { column: "through", pairing: `${era}-${era}`, upstream: era, prefixed: false },
    { column: "prefixed", pairing: `${era}-${era} prefixed`, upstream: era, prefixed: true },
  ];
  if (options.bridged) {
    passes.push({ column: "bridged", pairing: `${era}-${other}`, upstream: other, prefixed: false });
  }
  return runPasses({
    revision,
    scenarios,
    passes,
    direct: () => runDirect({ revision, era, scenarios }),
    through: (pass) => runThrough({ revision, era, scenarios, ...pass }),
  });
}

async function runDrivers({ revision, era }) {
  const { scenarios, passes } = clientPasses({
    revision,
    era,
    isChosen: (name) => isChosen(options.only, name),
  });
  return runPasses({
    revision,
    scenarios,
    passes,
    direct: async () => (await runClients({ revision, scenarios, portal: false })).verdicts,
    through: () => runClients({ revision, scenarios, portal: true }),
  });
}

/** One direct run, and each pass compared with it. */
async function runPasses({ revision, scenarios, passes, direct, through }) {
  const rows = [];
  const problems = [];
  if (scenarios.length === 0) return { rows, problems };
  console.error(`${revision}: ${scenarios.length} scenarios, directly`);
  const expected = await direct();
  for (const pass of passes) {
    const { pairing, column } = pass;
    let verdicts = new Map();
    let failure = "the portal was left out";
    if (!options.direct) {
      console.error(`${revision}: ${scenarios.length} scenarios, ${pairing}`);
      try {
        const result = await through(pass);
        verdicts = result.verdicts;
        problems.push(...result.problems.map((problem) => `${revision} ${pairing}: ${problem}`));
      } catch (error) {
        failure = `the run did not finish: ${error.message}`;
        problems.push(`${revision} ${pairing}: ${failure}`);
      }
    }
    for (const scenario of scenarios) {
      const first = expected.get(scenario);
      const then = verdicts.get(scenario) ?? { status: "fail", note: failure };
      const note = [first.note && `direct: ${first.note}`, then.note].filter(Boolean).join("; ");
      const row = { requirements: revision, pairing, scenario, direct: first.status, through: then.status };
      rows.push({ ...row, note, column });
    }
  }
  return { rows, problems };
}

function publicRow({ requirements, pairing, scenario, direct, through, note }) {
  return { requirements, pairing, scenario, direct, through, note };
}

function layOut(results) {
  const columns = [...new Set(results.flatMap(({ rows }) => rows.map((row) => row.column)))];
  const lines = new Map();
  for (const row of results.flatMap((result) => result.rows)) {
    const key = `${row.requirements} ${row.scenario}`;
    const line = lines.get(key) ?? { row, cells: new Map() };
    line.cells.set(row.column, options.direct ? "-" : row.through);
    lines.set(key, line);
  }
  const table = [...lines.values()].map(({ row, cells }) => [
    row.requirements,
    row.scenario,
    row.direct,
    ...columns.map((column) => cells.get(column) ?? ""),
  ]);
  return formatTable(["requirements", "scenario", "direct", ...columns], table);
}

function report(rows, results, exclusions) {
  const failures = results.flatMap(({ problems }) => problems);
  for (const pairing of new Set(rows.map((row) => `${row.requirements} ${row.pairing}`))) {
    const group = rows.filter((row) => `${row.requirements} ${row.pairing}` === pairing);
    const count = (key) => group.filter((row) => row[key] === "pass").length;
    const through = options.direct ? "" : `, ${count("through")} through`;
    console.log(`${pairing}: of ${group.length} pass ${count("direct")} directly${through}`);
  }
  for (const row of rows) {
    const name = `${row.requirements} ${row.pairing} ${row.scenario}`;
    const exclusion = findExclusion(exclusions, row);
    if (row.direct === "fail") failures.push(`${name}: fails directly: ${row.note}`);
    else if (options.direct) continue;
    else if (row.through === "fail" && exclusion === undefined) failures.push(`${name}: ${row.note}`);
    else if (row.through === "fail")
      console.log(`excluded: ${name}: ${exclusion.reason} (${exclusion.citation})`);
    else if (exclusion !== undefined) failures.push(`${name}: passes, so its exclusion has to go`);
  }
  for (const failure of new Set(failures)) console.log(`FAILED ${failure}`);
  return failures.length === 0 ? 0 : 1;
}
