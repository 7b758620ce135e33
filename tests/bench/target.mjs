// The same runner against anything that speaks the 2026-07-28 protocol over HTTP.

import { answerCheck, callHeaders, callMessage, httpRequest } from "./calls.mjs";
import { cpuOf } from "./cpu.mjs";
import { drive } from "./drive.mjs";
import { quantile, spread } from "./stats.mjs";
import { printTable, ranged } from "./table.mjs";

/** Measures one endpoint at one and at eight connections; CPU where `pid` names its process. */
export async function targetPhase(options) {
  const url = new URL(options.target);
  const tls = url.protocol === "https:";
  const address = {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: Number(url.port) || (tls ? 443 : 80),
    tls,
  };
  const rows = [["connections", "p50 ms", "p99 ms", "requests/s", "CPU us/request"]];
  for (const concurrency of [1, 8]) {
    const samples = [];
    const check = answerCheck(options.bytes);
    const make = () => makeCall(url, options);
    await drive({ address, concurrency, count: Math.ceil(options.requests / 2), make, check });
    for (let round = 0; round < options.rounds; round++) {
      const beforeUs = options.pid === undefined ? 0 : cpuOf(options.pid);
      const { times, wallMs } = await drive({ address, concurrency, count: options.requests, make, check });
      const cpuUs =
        options.pid === undefined ? Number.NaN : (cpuOf(options.pid) - beforeUs) / options.requests;
      samples.push({
        p50: quantile(times, 0.5),
        p99: quantile(times, 0.99),
        rps: times.length / wallMs,
        cpuUs,
      });
    }
    const column = (name, digits, scale = 1) =>
      ranged(spread(samples.map((each) => each[name] * scale)), digits);
    const cpu = options.pid === undefined ? "-" : column("cpuUs", 0);
    rows.push([`${concurrency}`, column("p50", 2), column("p99", 2), column("rps", 0, 1000), cpu]);
  }
  printTable(`${options.target}: ${options.tool}`, rows);
}

function makeCall(url, { tool, given, token, headers }) {
  const message = callMessage(tool, given);
  const all = { ...callHeaders(message, token), ...headers };
  return {
    request: httpRequest(url.host, url.pathname + url.search, all, JSON.stringify(message)),
    id: message.id,
  };
}
