import { setTimeout as sleep } from "node:timers/promises";

/** The methods that reach an upstream only through a decision, so that each has one audit outcome. */
export const GOVERNED_METHODS = [
  "tools/call",
  "prompts/get",
  "resources/read",
  "completion/complete",
  "tasks/get",
  "tasks/update",
  "tasks/cancel",
];

const WAIT_MS_MAX = 45_000;
const SETTLED_MS = 5_000;
const POLL_MS = 500;

/**
 * Compares the governed calls that the fixture saw with the portal's audit outcomes for it. Events
 * reach the store in batches, so this waits until both agree or the count no longer changes.
 * @param {object} options
 * @param {() => { method: string | null }[]} options.calls the fixture's
 * @param {(sql: string, ...params: unknown[]) => Promise<object[]>} options.d1 the portal's
 * @param {string} options.server the fixture's name in the portal's configuration
 * @param {"legacy" | "modern"} options.upstream the fixture's era
 * @param {number} options.inputWaitMs how long the portal lets a call wait for its caller's input
 * @returns {Promise<{ method: string, calls: number, events: number }[]>} one entry per method
 */
export async function compareLedgers({ calls, d1, server, upstream, inputWaitMs }) {
  const deadline = Date.now() + WAIT_MS_MAX;
  // Some scenarios ask and never answer: such a call has its outcome when its wait is over.
  const settledMs = SETTLED_MS + inputWaitMs;
  let before = "";
  let settledSince = Date.now();
  for (;;) {
    const counts = await countBoth({ calls, d1, server, upstream });
    if (counts.every((count) => count.calls === count.events)) return counts;
    const now = JSON.stringify(counts);
    if (now !== before) settledSince = Date.now();
    before = now;
    if (Date.now() - settledSince >= settledMs || Date.now() >= deadline) return counts;
    await sleep(POLL_MS);
  }
}

async function countBoth({ calls, d1, server, upstream }) {
  // To a modern server every round is a request of its own. To a legacy one all rounds of a call are
  // one request, whose outcome is the round that did not ask again.
  const rounds = upstream === "legacy" ? "AND status <> 'input_required' " : "";
  const sql =
    "SELECT method, COUNT(*) AS events FROM audit_events " +
    `WHERE kind = 'outcome' AND server = ? ${rounds}GROUP BY method`;
  const rows = await d1(sql, server);
  const events = new Map(rows.map((row) => [row.method, row.events]));
  const received = calls();
  return GOVERNED_METHODS.map((method) => ({
    method,
    calls: received.filter((call) => call.method === method).length,
    events: events.get(method) ?? 0,
  }));
}
