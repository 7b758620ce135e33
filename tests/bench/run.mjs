// npm run bench: the portal, an honest JavaScript rival, a pass-through and their upstream in one workerd.

import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually } from "../harness/bounded.mjs";
import { comparePhase, ladderPhase } from "./compare.mjs";
import { firstPhase } from "./first.mjs";
import { GOALS, GROUPS, judgeGoals } from "./goals.mjs";
import { readOptions, USAGE } from "./options.mjs";
import { pairsPhase } from "./pairs.mjs";
import { pathsPhase } from "./paths.mjs";
import { sizePhase } from "./size.mjs";
import { printTable } from "./table.mjs";
import { countAudit } from "./tables.mjs";
import { targetPhase } from "./target.mjs";
import { startIssuer } from "./tokens.mjs";
import { LADDER, makePairPortal, makePortal, makeVariant } from "./variants.mjs";
import { makeStateFolder, removeStateFolder, startWorld } from "./world.mjs";

const AUDIT_WAIT_MS = 60_000;
const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

async function main() {
  const options = readOptions(process.argv.slice(2));
  if (options.help) {
    return console.log(USAGE);
  }
  const limit = setTimeout(() => {
    console.error(`The bench took longer than ${options.limitS} s and was ended; --limit-s changes that.`);
    process.exit(1);
  }, options.limitS * 1000);
  try {
    if (options.target !== undefined) {
      await targetPhase(options);
    } else {
      await bench(options);
    }
  } finally {
    clearTimeout(limit);
  }
}

async function bench(options) {
  const wants = (...ids) => ids.some((id) => options.wanted.includes(id));
  const measured = options.portal && wants("wasm_gz_vs_bare") ? sizePhase(join(root, "build")) : {};
  const issuer = await startIssuer();
  try {
    const echo = makeVariant("echo", issuer);
    const rival = makeVariant("js-portal", issuer);
    const run = { ...options, token: await issuer.sign() };
    const inOneWorld = wants(
      "cpu_vs_js",
      "added_us",
      "result_64k_vs_js",
      "identity_hit_vs_miss",
      "denied_vs_allowed",
    );
    const runs = inOneWorld || wants("first_request_vs_js");
    const portal = options.portal && runs ? [await makePortal(issuer)] : [];
    if (inOneWorld) {
      Object.assign(measured, await shared({ echo, rival, portal, run, issuer, wants }));
    }
    if (wants("first_request_vs_js")) {
      Object.assign(measured, await firstPhase(echo, [rival, ...portal], run));
    }
    if (options.portal && wants(...GROUPS.pairs, ...GROUPS.asks)) {
      Object.assign(measured, await bridged(issuer, echo, run));
    }
  } finally {
    await issuer.close();
  }
  report(judgeGoals(options.wanted, measured), options);
}

/** Everything that is measured in the one shared process. */
async function shared({ echo, rival, portal, run, issuer, wants }) {
  const pass = makeVariant("js-pass", issuer);
  const rungs = LADDER.filter(({ name }) => name !== rival.name).map(({ name }) => makeVariant(name, issuer));
  const variants = [echo, pass, rival, ...portal];
  const state = makeStateFolder();
  try {
    const world = await startWorld({ variants: [...variants, ...rungs], state, verbose: run.verbose });
    try {
      for (const variant of [...variants, ...rungs]) {
        await variant.prepare?.(world);
      }
      const measured = {};
      if (wants("cpu_vs_js", "added_us", "result_64k_vs_js")) {
        Object.assign(measured, await comparePhase(world, variants, run, run.wanted));
      }
      if (wants("identity_hit_vs_miss", "denied_vs_allowed")) {
        Object.assign(measured, await pathsPhase(world, [rival, ...portal], run, issuer));
      }
      if (wants("cpu_vs_js", "added_us")) {
        await ladderPhase(world, [pass, ...rungs, rival], run);
      }
      for (const { name } of [rival, ...portal]) {
        await checkAudit(world, name);
      }
      return measured;
    } finally {
      await world.stop();
    }
  } finally {
    removeStateFolder(state);
  }
}

/** Clients of both eras on servers of both eras: another document, so another process. */
async function bridged(issuer, modern, run) {
  const variants = { modern, legacy: makeVariant("legacy", issuer), portal: await makePairPortal(issuer) };
  const state = makeStateFolder();
  try {
    const world = await startWorld({ variants: Object.values(variants), state, verbose: run.verbose });
    try {
      await variants.portal.prepare(world);
      const measured = await pairsPhase(world, variants, run);
      await checkAudit(world, variants.portal.name);
      return measured;
    } finally {
      await world.stop();
    }
  } finally {
    removeStateFolder(state);
  }
}

/** Speed bought by losing events would be no speed: each measured call must have left its event in D1. */
async function checkAudit(world, name) {
  const calls = world.audited[name];
  const database = await world.mf.getD1Database("DB", name);
  const what = `an audit event of ${name} in D1 for each of its ${calls} calls`;
  const events = await eventually(
    async () => {
      const found = await countAudit(database);
      return found >= calls ? found : undefined;
    },
    { ms: AUDIT_WAIT_MS, everyMs: 500, what },
  );
  console.log(`\n${name}: ${events} audit events in D1 for ${calls} calls and refusals with a caller`);
}

function report(entries, { json }) {
  const rows = [["goal", "target", "value", "met"]];
  for (const { id, target, value, unit, met } of entries) {
    const { title } = GOALS.find((goal) => goal.id === id);
    const judged = target === null ? "-" : met ? "met" : "MISSED";
    rows.push([
      title,
      target === null ? "-" : `<= ${target}`,
      value === null ? "-" : `${value}${unit === "ratio" ? "" : ` ${unit}`}`,
      value === null ? "not measured" : judged,
    ]);
  }
  printTable("Goals", rows);
  for (const { id, note } of entries) {
    console.log(`  ${id}: ${note}`);
  }
  if (json !== undefined) {
    writeFileSync(json, `${JSON.stringify(entries, undefined, 2)}\n`);
  }
}

try {
  await main();
} catch (fault) {
  console.error(`bench: ${fault.message}`);
  if (process.argv.includes("--verbose")) {
    console.error(fault);
  }
  process.exitCode = 1;
}
