// The main comparison: all variants, two sizes, one and eight connections.

import { field, measure, perRound } from "./measure.mjs";
import { allowedCall } from "./subjects.mjs";
import { printTable, ranged } from "./table.mjs";
import { LADDER } from "./variants.mjs";

const CELLS = [
  { bytes: 512, concurrency: 1 },
  { bytes: 512, concurrency: 8 },
  { bytes: 65_536, concurrency: 1 },
  { bytes: 65_536, concurrency: 8 },
];

const cellName = ({ bytes, concurrency }) => `${bytes === 512 ? "512 B" : "64 KB"} x${concurrency}`;
const COMPARED = { cpu_vs_js: "512 B x8", added_us: "512 B x8", result_64k_vs_js: "64 KB x8" };

/** Runs the cells that the wanted goals need (all of them without `only`) and returns measured goals. */
export async function comparePhase(world, variants, options, wanted) {
  const needed = new Set(wanted.map((id) => COMPARED[id]));
  const cells = CELLS.filter((cell) => !options.only || needed.has(cellName(cell)));
  const measured = {};
  const levels = new Map();
  for (const cell of cells) {
    const name = cellName(cell);
    const subjects = variants.map((variant) =>
      allowedCall({ key: variant.name, variant, ...cell, count: options.requests, token: options.token }),
    );
    const samples = await measure(world, subjects, { rounds: options.rounds });
    printCell(name, samples, variants);
    levels.set(name, (key) => field(samples, key, "cpuUs").median);
    if (samples.has("portal")) {
      Object.assign(measured, judgeCell(name, samples));
    }
  }
  if (levels.has("512 B x8") && levels.has("64 KB x8")) {
    printSizeCost(levels.get("512 B x8"), levels.get("64 KB x8"), variants);
  }
  return measured;
}

/** A variant that copies a result, or takes it in pieces, shows it here. */
function printSizeCost(small, large, variants) {
  const rows = [["variant", "us more than for 512 B", "of that its own"]];
  const shared = large("echo") - small("echo");
  for (const { name } of variants) {
    const more = large(name) - small(name);
    rows.push([name, more.toFixed(0), name === "echo" ? "-" : (more - shared).toFixed(0)]);
  }
  printTable("What the size of a 64 KB result costs, x8", rows);
}

function printCell(name, samples, variants) {
  const rows = [
    ["variant", "CPU us/request", "p50 ms", "p99 ms", "requests/s", "CPU / js-portal", "without upstream"],
  ];
  for (const { name: key } of variants) {
    rows.push([
      key,
      ranged(field(samples, key, "cpuUs")),
      ranged(field(samples, key, "p50Ms"), 2),
      ranged(field(samples, key, "p99Ms"), 2),
      ranged(field(samples, key, "rps")),
      ranged(ratio(samples, key), 2),
      key === "echo" ? "-" : ranged(ratioWithoutUpstream(samples, key), 2),
    ]);
  }
  printTable(`${name}: medians of ${samples.get("echo").length} rounds (range)`, rows);
}

function ratio(samples, key) {
  return perRound(samples, [key, "js-portal"], (a, b) => a.cpuUs / b.cpuUs);
}

/** What both share is taken off both: the upstream as it costs when it is called with nothing in front. */
function ratioWithoutUpstream(samples, key) {
  return perRound(
    samples,
    [key, "js-portal", "echo"],
    (a, b, up) => (a.cpuUs - up.cpuUs) / (b.cpuUs - up.cpuUs),
  );
}

function judgeCell(name, samples) {
  const whole = ratio(samples, "portal");
  const without = ratioWithoutUpstream(samples, "portal");
  const cpu = (key) => field(samples, key, "cpuUs").median.toFixed(0);
  const quiet = field(samples, "portal", "cpuUs").min / field(samples, "js-portal", "cpuUs").min;
  const note =
    `${name}, CPU ${cpu("portal")} against ${cpu("js-portal")} us; range ${whole.min.toFixed(2)}-${whole.max.toFixed(2)}; ` +
    `of the quietest rounds ${quiet.toFixed(2)}; without the shared upstream ${without.median.toFixed(2)}`;
  if (name === COMPARED.result_64k_vs_js) {
    return { result_64k_vs_js: { value: whole.median, note } };
  }
  if (name !== COMPARED.cpu_vs_js) {
    return {};
  }
  const added = perRound(samples, ["portal", "js-pass"], (a, b) => a.cpuUs - b.cpuUs);
  const rival = perRound(samples, ["js-portal", "js-pass"], (a, b) => a.cpuUs - b.cpuUs);
  return {
    cpu_vs_js: { value: whole.median, note },
    added_us: {
      value: added.median,
      note: `${name}, range ${added.min.toFixed(0)}-${added.max.toFixed(0)}; js-portal adds ${rival.median.toFixed(0)}`,
    },
  };
}

/** Prices the rival's steps: each rung of the ladder has one step more than the one before. */
export async function ladderPhase(world, variants, options) {
  const subjects = variants.map((variant) =>
    allowedCall({
      key: variant.name,
      variant,
      bytes: 512,
      concurrency: 8,
      count: options.requests,
      token: options.token,
    }),
  );
  const samples = await measure(world, subjects, { rounds: options.rounds });
  const rows = [["js-portal, step by step", "us/request", "step adds us"]];
  rows.push(["js-pass (upstream included)", ranged(field(samples, "js-pass", "cpuUs")), "-"]);
  let before = "js-pass";
  for (const { name, adds } of LADDER) {
    const step = perRound(samples, [name, before], (a, b) => a.cpuUs - b.cpuUs);
    rows.push([`+ ${adds}`, ranged(field(samples, name, "cpuUs")), ranged(step)]);
    before = name;
  }
  printTable("What the rival's steps cost, 512 B x8", rows);
}
