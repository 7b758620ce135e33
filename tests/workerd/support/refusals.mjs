// What every refusal owes: a precise protocol error, silence towards the upstream, and one row in the audit.
import assert from "node:assert/strict";
import { eventually } from "../../harness/bounded.mjs";

/** Ledger to D1: half a second, and a busy machine. */
const ROWS_MS = 4_000;
/** A second row would come with the same batch or the next. */
const SECOND_ROW_MS = 1_200;

/** What was refused at each portal and must be on record: `{ name, requestId }`. */
const owed = new Map();

/** How many rows each of these requests has, once the trail has come to rest. */
export async function auditCounts(portal, requestIds) {
  const count = async () => {
    const sql = "SELECT request_id, COUNT(*) AS n FROM audit_events GROUP BY request_id";
    return new Map((await portal.d1(sql)).map((row) => [row.request_id, row.n]));
  };
  const complete = async () => {
    const counts = await count();
    return requestIds.every((id) => counts.has(id));
  };
  await eventually(complete, { ms: ROWS_MS, everyMs: 100, what: "a row for every request" }).catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, SECOND_ROW_MS));
  const counts = await count();
  return requestIds.map((id) => counts.get(id) ?? 0);
}

/** The last demand on every refusal of a file, made once for all of them: one row in the trail, and one only. */
export async function assertRecorded({ portal }) {
  const refusals = owed.get(portal) ?? [];
  assert.ok(refusals.length > 0, "nothing was refused before");
  const counts = await auditCounts(
    portal,
    refusals.map((each) => each.requestId),
  );
  const faults = refusals
    .map(({ name }, index) => `${name}: ${counts[index]} rows`)
    .filter((_, index) => counts[index] !== 1);
  assert.deepEqual(faults, [], `${faults.length} of ${refusals.length} refusals`);
}

/** The rows of one request in the order of their ids, as soon as `count` of them are there. */
export async function auditRows(portal, requestId, count = 1) {
  const sql = "SELECT * FROM audit_events WHERE request_id = ? ORDER BY id";
  const rows = async () => {
    const found = await portal.d1(sql, requestId);
    return found.length >= count ? found : undefined;
  };
  return await eventually(rows, { ms: ROWS_MS, what: `${count} audit rows of ${requestId}` });
}

/**
 * Runs a table of refusals and demands of each what every refusal owes. All failures are reported at once. What is on
 * record of them `assertRecorded` looks at, in the last test of a file.
 * @param {{ portal: object, upstreams: { calls: number }[] }} world
 * @param {{ name: string, act: () => Promise<object>, status: number | number[], code?: number | number[],
 *   id?: unknown, audit?: boolean, check?: (answer: object) => void }[]} rows `id` undefined: not looked at;
 *   `audit: false`: the path is no portal's, so nothing is recorded
 */
export async function refuseAll({ portal, upstreams }, rows) {
  const faults = [];
  const calls = () => upstreams.reduce((sum, upstream) => sum + upstream.calls, 0);
  for (const row of rows) {
    const before = calls();
    const answer = await row.act().catch((error) => error);
    if (answer instanceof Error) {
      faults.push(`${row.name}: ${answer.message}`);
      continue;
    }
    // Each demand for itself: one fault does not hide another.
    const demands = [
      () => assertRefusal(answer, row),
      () => assert.equal(calls(), before, "it reached the upstream"),
      () => row.check?.(answer),
    ];
    if (row.audit !== false && (answer.status >= 400 || answer.json?.error !== undefined)) {
      const requestId = answer.json?.error?.data?.requestId;
      demands.push(() =>
        assert.match(String(requestId), /^[0-9a-f-]{32,36}$/, "error.data.requestId is missing"),
      );
      owed.set(portal, [...(owed.get(portal) ?? []), { name: row.name, requestId }]);
    }
    for (const demand of demands) {
      try {
        demand();
      } catch (error) {
        faults.push(`${row.name}: ${error.message.split("\n").slice(0, 6).join(" ")}`);
      }
    }
  }
  assert.deepEqual(faults, [], `${faults.length} of ${rows.length} rows`);
}

function assertRefusal(answer, { status, code, id }) {
  const said = `${answer.status} ${answer.text.slice(0, 300)}`;
  assert.ok([status].flat().includes(answer.status), `HTTP ${status} expected: ${said}`);
  if (code === undefined) {
    return;
  }
  assert.match(answer.headers["content-type"] ?? "", /^application\/json/, said);
  assert.equal(answer.json?.jsonrpc, "2.0", said);
  assert.ok([code].flat().includes(answer.json?.error?.code), `code ${code} expected: ${said}`);
  assert.equal(typeof answer.json.error.message, "string");
  assert.ok(!("result" in answer.json), said);
  if (id !== undefined) {
    assert.deepEqual(answer.json.id, id, `id ${JSON.stringify(id)} expected: ${said}`);
  }
}
