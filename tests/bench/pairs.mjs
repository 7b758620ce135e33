// What bridging costs: a call, and a call in which the server asks, for every pairing of client and server eras.

import { within } from "../harness/bounded.mjs";
import { ASKABLE } from "./dialogue.mjs";
import { GROUPS } from "./goals.mjs";
import { measure, run } from "./measure.mjs";
import { judgeAsks, judgeCalls, printAsks, printCalls, printFaults } from "./pair_report.mjs";
import { openSessions } from "./session.mjs";
import { pairCall, pairDialogue } from "./subjects.mjs";

const BYTES = 512;
const CONCURRENCY = 8;
const CALLS_MAX = 1200;
const CALLS_ALONE = 200;
const DIALOGUES_MAX = 60;
const TRIAL_MS = 10_000;

/** The servers with nothing before them, each called in its own era. */
const DIRECT = [
  { name: "direct_modern", title: "no portal, modern", client: "modern", server: "modern", isDirect: true },
  { name: "direct_legacy", title: "no portal, legacy", client: "legacy", server: "legacy", isDirect: true },
];

/** `client` and `server` are eras; the first is what the others are compared with. */
const PAIRINGS = [
  { name: "modern_modern", title: "modern-modern", client: "modern", server: "modern" },
  { name: "legacy_legacy", title: "legacy-legacy", client: "legacy", server: "legacy" },
  { name: "modern_legacy", title: "modern-legacy", client: "modern", server: "legacy" },
  // It may be asked in any call, so each of its calls runs where it could wait for the answer.
  {
    name: "modern_legacy_asking",
    title: "modern-legacy, client can be asked",
    client: "modern",
    server: "legacy",
    canAsk: true,
  },
  { name: "legacy_modern", title: "legacy-modern", client: "legacy", server: "modern" },
];

/** Runs the wanted pairings and what they are compared with; one that cannot run has its error in its note. */
export async function pairsPhase(world, variants, options) {
  const wants = (group) => GROUPS[group].some((id) => options.wanted.includes(id));
  const measured = wants("pairs") ? await measureCalls(world, variants, options) : {};
  return wants("asks") ? { ...measured, ...(await measureAsks(world, variants, options)) } : measured;
}

async function measureCalls(world, variants, options) {
  const pairings = choose(PAIRINGS, "pair_", options);
  const count = Math.min(options.requests, CALLS_MAX);
  const faults = new Map();
  const onFault = (key, fault) => faults.set(key, fault);
  const subjects = await prepare(
    world,
    variants,
    options,
    { pairings, concurrency: CONCURRENCY, onFault },
    (given) =>
      pairCall({
        ...given,
        tool: given.tool("echo"),
        capabilities: given.pairing.canAsk ? ASKABLE : {},
        bytes: BYTES,
        count,
        warm: Math.ceil(count / 2),
      }),
  );
  const busy = await measure(world, subjects, { rounds: options.rounds, onFault });
  const lone = subjects
    .filter(({ key }) => busy.has(key))
    .map((subject) => ({ ...subject, concurrency: 1, count: CALLS_ALONE, warm: 0, isQuick: true }));
  const alone = await measure(world, lone, { rounds: options.rounds, onFault });
  const title = `A call of ${BYTES} B: CPU at ${CONCURRENCY} connections, latency at one`;
  printCalls(title, pairings, { busy, alone });
  printFaults(pairings, faults);
  return judgeCalls(pairings, { busy, alone, faults });
}

async function measureAsks(world, variants, options) {
  const pairings = choose(
    PAIRINGS.filter(({ canAsk }) => !canAsk),
    "ask_",
    options,
  );
  const count = Math.min(options.requests, DIALOGUES_MAX);
  const faults = new Map();
  const onFault = (key, fault) => faults.set(key, fault);
  const subjects = await prepare(world, variants, options, { pairings, concurrency: 1, onFault }, (given) =>
    pairDialogue({
      ...given,
      tool: given.tool("ask"),
      // A round that ends in a question is an event, and so is the end; only where the question stays within a stream
      // is the whole call one event.
      events: given.pairing.client === "legacy" && given.pairing.server === "legacy" ? 1 : 2,
      count,
      warm: Math.ceil(count / 2),
    }),
  );
  const samples = await measure(world, subjects, { rounds: options.rounds, onFault });
  printAsks("A call with one question, answered at once, at one connection", pairings, samples);
  printFaults(pairings, faults);
  return judgeAsks(pairings, { samples, faults });
}

/** The wanted pairings and the one all are compared with, each server alone before them. */
function choose(pairings, prefix, { wanted }) {
  const chosen = pairings.filter(({ name }, place) => place === 0 || wanted.includes(prefix + name));
  return [...DIRECT.filter(({ server }) => chosen.some((each) => each.server === server)), ...chosen];
}

/** The subjects of those pairings of which one exchange went right. */
async function prepare(world, variants, options, { pairings, concurrency, onFault }, makeSubject) {
  const subjects = [];
  for (const pairing of pairings) {
    const variant = pairing.isDirect ? variants[pairing.server] : variants.portal;
    const token = pairing.isDirect ? undefined : options.token;
    const tool = (name) => (pairing.isDirect ? name : `${pairing.server}_${name}`);
    const attempt = async () => {
      const address = { host: "127.0.0.1", port: world.ports[variant.name] };
      const sessions =
        pairing.client === "legacy"
          ? await openSessions(address, { count: concurrency, capabilities: ASKABLE, token })
          : undefined;
      const subject = makeSubject({
        key: pairing.name,
        pairing,
        variant,
        concurrency,
        sessions,
        token,
        tool,
      });
      await tryOut(world, variants, pairing, subject);
      return subject;
    };
    try {
      subjects.push(await within(attempt(), TRIAL_MS, `${pairing.name}: the first call`));
    } catch (fault) {
      onFault(pairing.name, fault);
    }
  }
  return subjects;
}

/**
 * Runs a subject once. What a call of a modern client to a legacy server costs depends on what the server was told
 * about the client, so there the server is asked for it.
 */
async function tryOut(world, variants, { client, server, canAsk = false }, subject) {
  const once = () => run(world, { ...subject, concurrency: 1 }, 1);
  if (client !== "modern" || server !== "legacy" || subject.exchange !== undefined) {
    await once();
    return;
  }
  const port = world.ports[variants.legacy.name];
  const before = await readCounts(port);
  await once();
  const after = await readCounts(port);
  const calls = after.calls - before.calls;
  const mayAsk = after.calls_that_may_ask - before.calls_that_may_ask;
  if (calls !== 1 || mayAsk !== (canAsk ? 1 : 0)) {
    throw new Error(
      `one call was due, in a session that ${canAsk ? "declares" : "does not declare"} elicitation; ` +
        `the server saw ${calls}, ${mayAsk} of them in sessions that do`,
    );
  }
}

async function readCounts(port) {
  const response = await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(5000) });
  return await response.json();
}
