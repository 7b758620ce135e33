// Legacy clients that read slowly, vanish, or are away while a modern server asks them.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { startAsking } from "./fixtures/asking_modern.mjs";
import { openCall } from "./fixtures/asking_modern_call.mjs";
import { ABLE, answerTo } from "./fixtures/asking_modern_clients.mjs";
import { openCrashWorld } from "./fixtures/asking_modern_crash.mjs";
import { textOf } from "./fixtures/clients.mjs";
import { openSession } from "./fixtures/rpc.mjs";

const LIMIT = { timeout: 60_000 };
const INPUT_WAIT_MS = 4_000;
const SETTLE_MS = 15_000;
const REST_MS = 400;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let asking;
let world;
let token;

before(async () => {
  asking = await startAsking();
  world = await openCrashWorld({
    servers: { one: { url: asking.url, timeout_ms: 20_000 } },
    vars: { INPUT_WAIT_MS: String(INPUT_WAIT_MS) },
  });
  token = await world.token();
}, LIMIT);
after(async () => {
  asking?.releaseAll();
  await world?.stop();
  await asking?.stop();
});
afterEach(() => assert.deepEqual(asking.faults.splice(0), []));

const able = () => openSession(world.url(), token, { capabilities: ABLE });
const begin = (session, name, input, meta) =>
  openCall(
    session,
    "tools/call",
    { name: `one_${name}`, arguments: input, ...(meta ? { _meta: meta } : {}) },
    input.tag,
  );
const answer = async (session, question) =>
  assert.equal((await session.answer(question.id, answerTo(question, "Ada"))).status, 202);
const saidBy = ({ result, error }) => {
  assert.ok(result, JSON.stringify(error));
  return JSON.parse(textOf(result));
};

test(
  "one that does not read while thousands of messages come gets its question and its answer",
  LIMIT,
  async () => {
    const session = await able();
    const progressToken = "flood";
    const input = { tag: "flood", as: "sse", progress: 3_000, bytes: 1_000 };
    const call = await begin(session, "form", input, { progressToken });
    await call.message(({ method }) => method === "notifications/progress");
    await pause(1_500);
    const other = await begin(session, "none", { tag: "meanwhile" });
    assert.ok(saidBy(await other.answer(5_000)), "the session works meanwhile");
    const question = await call.settle(SETTLE_MS, call.isQuestion);
    await answer(session, question);
    assert.ok(saidBy(await call.settle(SETTLE_MS)));
    const seen = call.messages
      .filter(({ method }) => method === "notifications/progress")
      .map(({ params }) => params.progress);
    assert.ok(seen.length > 100, `${seen.length} messages`);
    assert.ok(
      seen.every((value, index) => index === 0 || value > seen[index - 1]),
      "in order, and none twice",
    );
    assert.deepEqual(asking.steps("flood"), [0, 1]);
  },
);

describe("one that vanishes", () => {
  test("while it is asked, comes back and answers", LIMIT, async () => {
    const session = await able();
    const call = await begin(session, "three", { tag: "back" });
    for (let round = 1; round <= 3; round += 1) {
      const question = await call.settle(SETTLE_MS, call.isQuestion);
      await call.cut();
      await answer(session, question);
    }
    const { answers } = saidBy(await call.settle(SETTLE_MS));
    assert.deepEqual(Object.keys(answers).sort(), ["step1", "step2", "step3"]);
    assert.deepEqual(asking.steps("back"), [0, 1, 2, 3]);
  });

  test("before it is asked, finds the question", LIMIT, async () => {
    const session = await able();
    const hold = asking.hold("early", 0);
    const call = await begin(session, "form", { tag: "early", as: "sse" }, { progressToken: 1 });
    await call.message();
    await call.cut();
    hold.release();
    await eventually(() => asking.roundsOf("early")[0].answered, { what: "the server's question" });
    const question = await call.settle(SETTLE_MS, call.isQuestion);
    await answer(session, question);
    assert.ok(saidBy(await call.settle(SETTLE_MS)));
    assert.deepEqual(asking.steps("early"), [0, 1]);
  });

  test(
    "while the server works on its answer, finds the result: going away is not cancelling",
    LIMIT,
    async () => {
      const session = await able();
      const hold = asking.hold("works", 1);
      const call = await begin(session, "form", { tag: "works", as: "sse" }, { progressToken: 1 });
      await answer(session, await call.question());
      await hold.reached;
      await call.cut();
      await pause(REST_MS);
      hold.release();
      assert.ok(saidBy(await call.settle(SETTLE_MS)));
      assert.deepEqual(asking.steps("works"), [0, 1]);
      assert.equal(asking.roundsOf("works")[1].wasCut, false);
    },
  );

  test("for good costs one round and leaves its end on record", LIMIT, async () => {
    const email = "gone@acme.example";
    const session = await openSession(world.url(), await world.token(email), { capabilities: ABLE });
    const call = await begin(session, "form", { tag: "gone" });
    await call.question();
    await call.cut();
    const sql =
      "SELECT status, reason FROM audit_events WHERE email = ? AND method = 'tools/call' ORDER BY id";
    const rows = await eventually(
      async () => {
        const found = await world.portal.d1(sql, email);
        return found.some(({ reason }) => reason === "input_expired") && found;
      },
      { ms: INPUT_WAIT_MS + 6_000, what: "the outcome's row" },
    );
    assert.equal(rows.length, 2, JSON.stringify(rows));
    assert.equal(rows[0].status, "input_required");
    assert.deepEqual(asking.steps("gone"), [0]);
  });
});

test("thirty clients are asked at once, each its own question", LIMIT, async () => {
  const names = Array.from({ length: 30 }, (_, n) => `crowd-${n}`);
  const ends = await Promise.all(
    names.map(async (tag) => {
      const session = await able();
      const call = await begin(session, "three", { tag, as: tag.endsWith("5") ? "sse" : "json" });
      for (let round = 1; round <= 3; round += 1) {
        const question = await call.question();
        await session.answer(question.id, { action: "accept", content: { name: `${tag}-${round}` } });
      }
      return saidBy(await call.answer());
    }),
  );
  for (const [index, { tag, answers }] of ends.entries()) {
    assert.equal(tag, names[index]);
    for (let round = 1; round <= 3; round += 1) {
      assert.equal(answers[`step${round}`].content.name, `${tag}-${round}`);
    }
    assert.deepEqual(asking.steps(tag), [0, 1, 2, 3]);
  }
});

describe("the time for an answer runs out while", () => {
  for (const [how, what] of [
    ["aborted", "the session's object is lost"],
    ["restarted", "workerd is started again"],
  ]) {
    test(what, LIMIT, async () => {
      const session = await able();
      const call = await begin(session, "form", { tag: `expires-${how}` });
      const question = await call.question();
      await world.crash(how);
      await pause(INPUT_WAIT_MS + 500);
      const { error } = await call.settle(SETTLE_MS);
      assert.equal(error?.code, -32000, JSON.stringify(error));
      const sql = "SELECT reason FROM audit_events WHERE request_id = ? AND reason IS NOT NULL";
      const rows = await eventually(
        async () => {
          const found = await world.portal.d1(sql, error.data.requestId);
          return found.length > 0 && found;
        },
        { what: "the outcome's row" },
      );
      assert.deepEqual(rows, [{ reason: "input_expired" }]);
      assert.equal((await session.answer(question.id, answerTo(question, "Bo"))).status, 400);
      assert.deepEqual(asking.steps(`expires-${how}`), [0]);
    });
  }
});
