// Requests that end early: what identity costs, what a refusal costs, and by difference where a call's time goes.

import { field, measure, perRound } from "./measure.mjs";
import { quietMedian } from "./stats.mjs";
import { allowedCall, namelessCall, unknownCall } from "./subjects.mjs";
import { printTable, ranged } from "./table.mjs";

const CONCURRENCY = 8;

/** Runs the paths on the portal and its rival; returns measured goals. */
export async function pathsPhase(world, variants, options, issuer) {
  const { token } = options;
  // Small differences are looked for: more rounds, each shorter.
  const rounds = options.rounds * 2;
  const requests = Math.ceil(options.requests / 2);
  const misses = Math.min(requests, 600);
  const fresh = await signMany(issuer, misses * rounds * variants.length);
  const base = { concurrency: CONCURRENCY, count: requests };
  const subjects = variants.flatMap((variant) => {
    const key = (path) => `${variant.name} ${path}`;
    const unknown = (path, more) => unknownCall({ ...base, key: key(path), variant, ...more });
    return [
      namelessCall({ ...base, key: key("nobody"), variant }),
      unknown("open", { takeToken: () => undefined, path: "/p/open/mcp" }),
      unknown("hit", { takeToken: () => token }),
      unknown("miss", { takeToken: () => fresh.pop(), count: misses, warm: 0 }),
      allowedCall({ ...base, key: key("allowed"), variant, bytes: 512, token }),
    ];
  });
  const samples = await measure(world, subjects, { rounds });
  const reached = await refusedCallsUpstream(world, variants, options);
  printPaths(samples, variants);
  if (!samples.has("portal hit")) {
    return {};
  }
  return { ...judgeIdentity(samples), ...judgeDenied(samples, reached.portal) };
}

async function signMany(issuer, count) {
  const tokens = [];
  for (let made = 0; made < count; made += 50) {
    tokens.push(...(await Promise.all(Array.from({ length: 50 }, () => issuer.sign()))));
  }
  return tokens;
}

/** How many of a batch of refused calls reached the upstream, by variant: none may. */
async function refusedCallsUpstream(world, variants, { token }) {
  const reached = {};
  for (const variant of variants) {
    const before = await upstreamCalls(world);
    const count = 50;
    await measure(
      world,
      [{ ...unknownCall({ key: "u", variant, concurrency: 1, count, takeToken: () => token }), warm: 0 }],
      {
        rounds: 1,
      },
    );
    reached[variant.name] = (await upstreamCalls(world)) - before;
    if (reached[variant.name] !== 0) {
      throw new Error(`${variant.name}: ${reached[variant.name]} refused calls reached the upstream`);
    }
  }
  return reached;
}

async function upstreamCalls(world) {
  const response = await fetch(`http://127.0.0.1:${world.ports.echo}/`, {
    signal: AbortSignal.timeout(5000),
  });
  return (await response.json()).calls;
}

function printPaths(samples, variants) {
  const paths = [
    ["nobody", "no token: refused at identity"],
    ["open", "unknown tool, portal without sign-in"],
    ["hit", "unknown tool, remembered token"],
    ["miss", "unknown tool, new token"],
    ["allowed", "allowed call, 512 B"],
  ];
  const rows = [["path", ...variants.flatMap(({ name }) => [`${name} us`])]];
  for (const [path, title] of paths) {
    rows.push([title, ...variants.map(({ name }) => ranged(field(samples, `${name} ${path}`, "cpuUs")))]);
  }
  const difference = (title, a, b) =>
    rows.push([
      title,
      ...variants.map(({ name }) =>
        ranged(perRound(samples, [`${name} ${a}`, `${name} ${b}`], (x, y) => x.cpuUs - y.cpuUs)),
      ),
    ]);
  difference("= identity, remembered token", "hit", "open");
  difference("= identity, new token", "miss", "open");
  difference("= body, header rules, catalog, refusal", "open", "nobody");
  difference("= upstream trip and result, over a refusal", "allowed", "hit");
  printTable(`Where the time goes, x${CONCURRENCY}: CPU of requests that end at different steps`, rows);
}

/** Identity is what the same refusal costs more than on a portal that asks for no sign-in. */
function judgeIdentity(samples) {
  const level = (path) => quietMedian(samples.get(`portal ${path}`).map(({ cpuUs }) => cpuUs));
  const [open, hit, miss] = [level("open"), level("hit"), level("miss")];
  const note =
    `refusals without sign-in ${open.toFixed(0)}, with a remembered token ${hit.toFixed(0)}, with a new one ` +
    `${miss.toFixed(0)} us (medians of the quieter half of the rounds); whole requests ${(hit / miss).toFixed(2)}`;
  return { identity_hit_vs_miss: { value: Math.max(0, hit - open) / (miss - open), note } };
}

function judgeDenied(samples, reached) {
  const share = perRound(samples, ["portal hit", "portal allowed"], (a, b) => a.cpuUs / b.cpuUs);
  const note = `unknown tool, 512 B x8, range ${share.min.toFixed(2)}-${share.max.toFixed(2)}; ${reached} refused calls upstream`;
  return { denied_vs_allowed: { value: share.median, note } };
}
