// The first request in a fresh process: start-up of the module, configuration, keys, catalog, all of it once.

import { drive } from "./drive.mjs";
import { spread } from "./stats.mjs";
import { allowedCall } from "./subjects.mjs";
import { printTable, ranged } from "./table.mjs";
import { makeStateFolder, removeStateFolder, settle, startWorld } from "./world.mjs";

/** Starts each variant `rounds` times in a process of its own, in turns, and times its first call. */
export async function firstPhase(echo, variants, options) {
  const state = makeStateFolder();
  try {
    await prepareState(echo, variants, state, options);
    const samples = new Map(variants.map(({ name }) => [name, []]));
    for (let round = 0; round < Math.max(options.rounds, 5); round++) {
      for (const variant of variants) {
        samples.get(variant.name).push(await firstOf(echo, variant, state, options));
      }
    }
    return judgeFirst(samples);
  } finally {
    removeStateFolder(state);
  }
}

/** Leaves configuration and tool snapshots in the store, as a deployment that has been in use would have them. */
async function prepareState(echo, variants, state, options) {
  const world = await startWorld({ variants: [echo, ...variants], state });
  try {
    for (const variant of variants) {
      await variant.prepare(world);
      await oneCall(world, variant, options);
      await settle(world, variant.settleMs);
    }
  } finally {
    await world.stop();
  }
}

async function firstOf(echo, variant, state, options) {
  const world = await startWorld({ variants: [echo, variant], state });
  try {
    await settle(world, 100);
    const idleUs = world.cpuUs();
    const { times } = await oneCall(world, variant, options);
    const cpuMs = (world.cpuUs() - idleUs) / 1000;
    const second = await oneCall(world, variant, options);
    await settle(world, variant.settleMs);
    return { ms: times[0], secondMs: second.times[0], cpuMs, readyMs: world.readyMs };
  } finally {
    await world.stop();
  }
}

function oneCall(world, variant, { token }) {
  const { make, check } = allowedCall({ variant, bytes: 512, count: 1, token });
  return drive({
    address: { host: "127.0.0.1", port: world.ports[variant.name] },
    concurrency: 1,
    count: 1,
    make,
    check,
  });
}

function judgeFirst(samples) {
  const rows = [["variant", "first request ms", "its CPU ms", "second request ms", "process ready ms"]];
  for (const [name, list] of samples) {
    const column = (field, digits) => ranged(spread(list.map((each) => each[field])), digits);
    rows.push([name, column("ms", 2), column("cpuMs", 2), column("secondMs", 2), column("readyMs", 0)]);
  }
  printTable("First request in a fresh process", rows);
  const ours = samples.get("portal");
  const rival = samples.get("js-portal");
  if (ours === undefined || rival === undefined) {
    return {};
  }
  const ratio = spread(ours.map(({ ms }, round) => ms / rival[round].ms));
  const middle = (list) => spread(list.map(({ ms }) => ms)).median.toFixed(1);
  const note = `${middle(ours)} against ${middle(rival)} ms; range ${ratio.min.toFixed(2)}-${ratio.max.toFixed(2)}`;
  return { first_request_vs_js: { value: ratio.median, note } };
}
