// What the trail says of a legacy client's call that a modern server answers with questions.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { startAsking } from "./fixtures/asking_modern.mjs";
import { openCall } from "./fixtures/asking_modern_call.mjs";
import { ABLE, answerTo } from "./fixtures/asking_modern_clients.mjs";
import { openSession } from "./fixtures/rpc.mjs";
import { openWorld } from "./fixtures/world.mjs";

const LIMIT = { timeout: 30_000 };
/** Longer than any batch is on its way, so that a row too many would be there. */
const REST_MS = 1_200;
const INPUT_WAIT_MS = 1_000;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let asking;
let world;

before(async () => {
  asking = await startAsking();
  const start = { vars: { INPUT_WAIT_MS: String(INPUT_WAIT_MS) } };
  world = await openWorld({ servers: { one: { url: asking.url } }, start });
}, LIMIT);
after(async () => {
  asking?.releaseAll();
  await world?.stop();
  await asking?.stop();
});

/** The rows of a person's calls, oldest first. */
const rowsOf = (email, method = "tools/call") =>
  world.portal.d1("SELECT * FROM audit_events WHERE email = ? AND method = ? ORDER BY id", email, method);
const kinds = (rows) => rows.map(({ kind, status }) => `${kind} ${status}`);

/** The rows once an outcome other than a round's is there, and none comes after it. */
async function settledRows(email, method) {
  const isOver = async () => {
    const rows = await rowsOf(email, method);
    return rows.some(({ kind, status }) => kind !== "intent" && status !== "input_required");
  };
  await eventually(isOver, { what: `the outcome of ${email}` });
  await pause(REST_MS);
  return await rowsOf(email, method);
}

async function person(name, capabilities = ABLE) {
  const email = `${name}@acme.example`;
  const session = await openSession(world.url(), await world.token(email), { capabilities });
  const begin = (tool, input) =>
    openCall(session, "tools/call", { name: `one_${tool}`, arguments: { tag: name, ...input } }, name);
  const answer = (question, who = "Bo") => session.answer(question.id, answerTo(question, who));
  return { email, session, begin, answer };
}

describe("the trail of a call that asks", { concurrency: true }, () => {
  test("a row for every round and one for the end, all of one request", LIMIT, async () => {
    const { email, begin, answer } = await person("rounds");
    const call = await begin("three");
    for (let round = 1; round <= 3; round += 1) {
      const question = await call.question();
      const seen = await eventually(async () => {
        const rows = await rowsOf(email);
        return rows.length >= round && rows;
      });
      assert.equal(seen.length, round, "a round is on record while the client is asked");
      await answer(question);
    }
    await call.answer();
    const rows = await settledRows(email);
    assert.deepEqual(kinds(rows), [...Array(3).fill("outcome input_required"), "outcome ok"]);
    assert.equal(new Set(rows.map(({ request_id: id }) => id)).size, 1);
    for (const row of rows) {
      assert.deepEqual([row.server, row.target, row.is_write, row.era], ["one", "three", 0, "legacy"]);
    }
  });

  test("a write's intent is durable before the server hears of each round", LIMIT, async () => {
    const { email, begin, answer } = await person("writer");
    const holds = [asking.hold("writer", 0), asking.hold("writer", 1)];
    const calling = begin("write");
    await holds[0].reached;
    const first = await eventually(async () => {
      const rows = await rowsOf(email);
      return rows.length > 0 && rows;
    });
    assert.deepEqual(kinds(first), ["intent pending"]);
    assert.ok(first[0].at_ms <= asking.roundsOf("writer")[0].at, "the intent is younger than the call");
    holds[0].release();
    const call = await calling;
    await answer(await call.question());
    const round = await holds[1].reached;
    const second = await eventually(async () => {
      const rows = await rowsOf(email);
      return rows.some(({ status }) => status === "input_required") && rows;
    });
    const intents = second.filter(({ kind }) => kind === "intent");
    assert.ok(intents.length >= 1 && intents.every(({ at_ms: at }) => at <= round.at));
    holds[1].release();
    assert.ok((await call.answer()).result);
    const rows = await settledRows(email);
    assert.deepEqual(
      kinds(rows).filter((each) => each !== "intent pending"),
      ["outcome input_required", "outcome ok"],
    );
    assert.ok(rows.every((row) => row.is_write === 1));
    assert.equal(new Set(rows.map(({ request_id: id }) => id)).size, 1);
  });

  for (const [name, run, wanted] of [
    [
      "declared-nothing",
      async ({ begin }) => (await begin("form")).answer(),
      { rounds: 0, capabilities: {} },
    ],
    [
      "refuses",
      async ({ begin, session }) => {
        const call = await begin("form");
        const { id } = await call.question();
        await session.post({ jsonrpc: "2.0", id, error: { code: -1, message: "no" } });
        await call.answer();
      },
      { reason: "input_refused", rounds: 1 },
    ],
    [
      "expires",
      async ({ begin }) => {
        const call = await begin("form");
        await call.question();
        await call.answer();
      },
      { reason: "input_expired", rounds: 1 },
    ],
    [
      "cancels",
      async ({ begin, session }) => {
        const call = await begin("form");
        await call.question();
        await session.notify("notifications/cancelled", { requestId: "cancels" });
        await call.drain();
      },
      { status: "cancelled", rounds: 1 },
    ],
    [
      "ends-session",
      async ({ begin, session }) => {
        const call = await begin("form");
        await call.question();
        await session.end();
      },
      { rounds: 1 },
    ],
    [
      "fails",
      async ({ begin, answer }) => {
        const call = await begin("form", { end: "rpcError" });
        await answer(await call.question());
        await call.answer();
      },
      { status: "rpc_error", rounds: 1 },
    ],
  ]) {
    test(`the end of a call is one row: a client that ${name}`, LIMIT, async () => {
      const someone = await person(name, wanted.capabilities);
      await run(someone);
      const rows = await settledRows(someone.email);
      const rounds = rows.filter(({ status }) => status === "input_required");
      assert.ok(rounds.length <= 1 && rounds.length >= wanted.rounds, kinds(rows).join(", "));
      assert.equal(rows.length - rounds.length, 1, kinds(rows).join(", "));
      const end = rows.at(-1);
      assert.notEqual(end.status, "input_required");
      if (wanted.status) assert.equal(end.status, wanted.status);
      if (wanted.reason) assert.equal(end.reason, wanted.reason);
    });
  }

  test("an answer that nobody waits for is a refusal on record", LIMIT, async () => {
    const { email, session } = await person("stray");
    assert.equal((await session.answer("nothing", { action: "accept" })).status, 400);
    const rows = await settledRows(email, "response");
    assert.deepEqual(kinds(rows), ["refusal refused"]);
  });

  test("rows hold names and numbers, never questions, answers or states", LIMIT, async () => {
    const { email, begin, session } = await person("discreet");
    const call = await begin("form");
    const { id } = await call.question();
    await session.answer(id, { action: "accept", content: { name: "mark-of-an-answer" } });
    assert.match(JSON.stringify((await call.answer()).result), /mark-of-an-answer/);
    const rows = JSON.stringify(await settledRows(email));
    const state = asking.roundsOf("discreet")[0].sentState.slice(0, 30);
    for (const secret of ["mark-of-an-answer", "Who are you", state])
      assert.ok(!rows.includes(secret), secret);
  });
});
