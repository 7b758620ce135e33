// Interleaved rounds: A, B, C, A, B, C. A noisy minute then hits all alike, and ratios are taken within a round.

import { drive } from "./drive.mjs";
import { quantile, spread } from "./stats.mjs";
import { settle } from "./world.mjs";

/**
 * Runs every subject `rounds` times. A subject is `{ key, variant, concurrency, count, warm }` with `make` and `check`
 * or an `exchange` of its own (see drive), `events` where a run leaves none or several audit events each time, and
 * `isQuick` where only its latency counts and nothing waits for the process to go quiet. Returns samples by key: one
 * `{ cpuUs, p50Ms, p99Ms, rps }` a round. CPU is that of the workerd process from before the first request until it
 * has gone quiet again, so batches and alarms that a call leaves behind count.
 * With `onFault(key, fault)` a subject that fails is left out from then on; without, the first fault ends it all.
 */
export async function measure(world, subjects, { rounds, onRound = () => {}, onFault }) {
  const samples = new Map(subjects.map(({ key }) => [key, []]));
  const attempt = async (subject, act) => {
    if (!samples.has(subject.key)) {
      return;
    }
    try {
      await act();
    } catch (fault) {
      if (onFault === undefined) {
        throw fault;
      }
      samples.delete(subject.key);
      onFault(subject.key, fault);
    }
  };
  for (const subject of subjects.filter(({ warm }) => warm > 0)) {
    await attempt(subject, () => run(world, subject, subject.warm));
  }
  for (let round = 0; round < rounds; round++) {
    onRound(round);
    for (let turn = 0; turn < subjects.length; turn++) {
      const subject = subjects[(turn + round) % subjects.length];
      await attempt(subject, async () => samples.get(subject.key).push(await sample(world, subject)));
    }
  }
  return samples;
}

async function sample(world, subject) {
  if (!subject.isQuick) {
    await settle(world, 0);
  }
  const beforeUs = world.cpuUs();
  const { times, wallMs } = await run(world, subject, subject.count);
  if (!subject.isQuick) {
    await settle(world, subject.variant.settleMs);
  }
  return {
    cpuUs: (world.cpuUs() - beforeUs) / subject.count,
    p50Ms: quantile(times, 0.5),
    p99Ms: quantile(times, 0.99),
    rps: (subject.count / wallMs) * 1000,
  };
}

/** Sends `count` requests of a subject once, outside any round. */
export async function run(world, subject, count) {
  const { variant, concurrency, make, check, open, exchange } = subject;
  try {
    const done = await drive({
      address: { host: "127.0.0.1", port: world.ports[variant.name] },
      concurrency,
      count,
      make,
      check,
      open,
      exchange,
    });
    world.audited[variant.name] = (world.audited[variant.name] ?? 0) + count * (subject.events ?? 1);
    return done;
  } catch (fault) {
    throw new Error(`${subject.key}: ${fault.message}`, { cause: fault });
  }
}

/** Median and range over rounds of one field. */
export function field(samples, key, name) {
  return spread(samples.get(key).map((sample) => sample[name]));
}

/** Median and range of a value computed within each round from the samples of several keys. */
export function perRound(samples, keys, compute) {
  const columns = keys.map((key) => samples.get(key));
  return spread(columns[0].map((_, round) => compute(...columns.map((column) => column[round]))));
}
