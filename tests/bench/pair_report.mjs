// Tables and goals of the pairings. All are compared with modern-modern, where the portal translates nothing, and with
// the server called directly in its own era; ratios and differences are taken within a round.

import { field, perRound } from "./measure.mjs";
import { printTable, ranged } from "./table.mjs";

const BASE = "modern_modern";

/** The table of single calls: `busy` has their CPU, `alone` their latency. */
export function printCalls(title, pairings, { busy, alone }) {
  const rows = [["client-server", "CPU us/call", "/ modern-modern", "p50 ms", "added ms"]];
  for (const pairing of pairings.filter(({ name }) => alone.has(name))) {
    rows.push([
      pairing.title,
      ranged(field(busy, pairing.name, "cpuUs")),
      shown(timesBase(busy, pairing, "cpuUs")),
      ranged(field(alone, pairing.name, "p50Ms"), 2),
      shown(addedMs(alone, pairing)),
    ]);
  }
  printTable(title, rows);
}

/** The table of calls in which the server asks. */
export function printAsks(title, pairings, samples) {
  const rows = [["client-server", "p50 ms", "/ modern-modern", "added ms", "CPU us"]];
  for (const pairing of pairings.filter(({ name }) => samples.has(name))) {
    rows.push([
      pairing.title,
      ranged(field(samples, pairing.name, "p50Ms"), 2),
      shown(timesBase(samples, pairing, "p50Ms")),
      shown(addedMs(samples, pairing)),
      ranged(field(samples, pairing.name, "cpuUs")),
    ]);
  }
  printTable(title, rows);
}

/** Names what could not be measured, and why. */
export function printFaults(pairings, faults) {
  for (const { name, title } of pairings.filter((pairing) => faults.has(pairing.name))) {
    console.log(`${title}: not measured. ${faults.get(name).message}`);
  }
}

/** What the report says about single calls. */
export function judgeCalls(pairings, { busy, alone, faults }) {
  return judge("pair_", pairings, faults, (pairing) => {
    const cpuUs = field(busy, pairing.name, "cpuUs");
    const note =
      `CPU with the upstream's ${ranged(cpuUs)} us; ${compared(busy, pairing, "cpuUs")}` +
      `at one connection p50 ${ranged(field(alone, pairing.name, "p50Ms"), 2)} ms, ` +
      `${shown(addedMs(alone, pairing))} ms more than the server called directly`;
    return { value: cpuUs.median, note };
  });
}

/** What the report says about calls with a question. */
export function judgeAsks(pairings, { samples, faults }) {
  return judge("ask_", pairings, faults, (pairing) => {
    const p50Ms = field(samples, pairing.name, "p50Ms");
    const note =
      `p50 ${ranged(p50Ms, 2)} ms; ${compared(samples, pairing, "p50Ms")}` +
      `${shown(addedMs(samples, pairing))} ms more than the server called directly; ` +
      `CPU ${ranged(field(samples, pairing.name, "cpuUs"))} us`;
    return { value: p50Ms.median, note };
  });
}

function judge(prefix, pairings, faults, describe) {
  const measured = {};
  for (const pairing of pairings.filter(({ isDirect }) => !isDirect)) {
    const fault = faults.get(pairing.name);
    measured[prefix + pairing.name] =
      fault === undefined ? describe(pairing) : { note: `not measured. ${fault.message}` };
  }
  return measured;
}

/** Undefined for the direct calls, and where modern-modern could not run. */
function timesBase(samples, { name, isDirect }, column) {
  return isDirect || !samples.has(BASE)
    ? undefined
    : perRound(samples, [name, BASE], (its, base) => its[column] / base[column]);
}

/** Undefined for the direct calls themselves, and where they could not run. */
function addedMs(samples, { name, server, isDirect }) {
  const direct = `direct_${server}`;
  return isDirect || !samples.has(direct)
    ? undefined
    : perRound(samples, [name, direct], (its, alone) => its.p50Ms - alone.p50Ms);
}

function compared(samples, pairing, column) {
  return pairing.name === BASE ? "" : `${shown(timesBase(samples, pairing, column))} times modern-modern; `;
}

function shown(spread) {
  return spread === undefined ? "-" : ranged(spread, 2);
}
