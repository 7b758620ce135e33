// The session's object is lost, or workerd is started again, at every step of a legacy client's interactive call. The
// client takes its stream up again and gets the answer or the named error; the server's own counters show that nothing
// was done twice.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { eventually, within } from "../harness/bounded.mjs";
import { startAsking } from "./fixtures/asking_modern.mjs";
import { openCall, questionsOf } from "./fixtures/asking_modern_call.mjs";
import { ABLE, answerTo } from "./fixtures/asking_modern_clients.mjs";
import { openCrashWorld } from "./fixtures/asking_modern_crash.mjs";
import { startOlder } from "./fixtures/asking_modern_older.mjs";
import { textOf } from "./fixtures/clients.mjs";
import { openSession, read } from "./fixtures/rpc.mjs";

const LIMIT = { timeout: 60_000 };
const SETTLE_MS = 8_000;
let asking;
const older = {};
let world;
let token;

before(async () => {
  asking = await startAsking();
  older.ids = await startOlder({ eventIds: true });
  older.bare = await startOlder({ eventIds: false });
  const servers = { asking, ids: older.ids, bare: older.bare };
  world = await openCrashWorld({
    servers: Object.fromEntries(
      Object.entries(servers).map(([id, { url }]) => [id, { url, timeout_ms: 30_000 }]),
    ),
  });
  token = await world.token();
}, LIMIT);
after(async () => {
  for (const upstream of [asking, older.ids, older.bare]) upstream?.releaseAll();
  await world?.stop();
  await Promise.all([asking, older.ids, older.bare].map((upstream) => upstream?.stop()));
});

const begin = (session, name, input) =>
  openCall(session, "tools/call", { name, arguments: input }, input.tag);
const answer = async (session, question, status = 202) =>
  assert.equal(
    (await session.answer(question.id, answerTo(question, "Ada"))).status,
    status,
    question.params.message,
  );

/** The call was lost, says so, and is on record as lost. */
async function assertInterrupted({ error }) {
  assert.equal(error?.code, -32000, JSON.stringify(error));
  assert.match(error.message, /interrupted/i);
  assert.match(error.message, /not (been )?repeated/i);
  const sql = "SELECT reason FROM audit_events WHERE request_id = ? AND reason IS NOT NULL";
  const rows = await eventually(
    async () => {
      const found = await world.portal.d1(sql, error.data.requestId);
      return found.length > 0 && found;
    },
    { what: "the outcome's row" },
  );
  assert.deepEqual(rows, [{ reason: "call_interrupted" }]);
}

const saidBy = ({ result, error }) => {
  assert.ok(result, JSON.stringify(error));
  return JSON.parse(textOf(result));
};

/** Each step: how it is reached, and what must come of it. Both get `(session, tag, staged)`. */
const STEPS = {
  "the server has not begun to answer": {
    async stage(session, tag) {
      const hold = asking.hold(tag, 0);
      const params = { name: "asking_form", arguments: { tag } };
      const posting = session.send("tools/call", params, { id: tag }).then((response) => read(response));
      const staged = posting.then(
        ({ status, answer: reply }) => ({ status, reply }),
        (failed) => ({ failed }),
      );
      await within(hold.reached, SETTLE_MS, "the server's first round");
      return { ended: staged, hold };
    },
    async finish(_session, tag, { ended, hold }) {
      // There was no event yet by which to come back: the request itself fails, and soon.
      const { status, reply, failed } = await within(ended, SETTLE_MS, "the end of the request");
      assert.ok(failed || status >= 500 || reply?.error, JSON.stringify(reply));
      hold.release();
      assert.deepEqual(asking.steps(tag), [0]);
    },
  },
  "the server works on the first round": {
    async stage(session, tag) {
      const hold = asking.hold(tag, 0);
      const call = await begin(session, "asking_form", { tag, as: "sse" });
      await call.begun();
      await within(hold.reached, SETTLE_MS, "the server's first round");
      return { call, hold };
    },
    async finish(_session, tag, { call, hold }) {
      await assertInterrupted(await call.settle(SETTLE_MS));
      hold.release();
      assert.deepEqual(asking.steps(tag), [0]);
    },
  },
  "the client is asked": {
    async stage(session, tag) {
      const call = await begin(session, "asking_form", { tag });
      return { call, question: await call.question() };
    },
    async finish(session, tag, { call, question }) {
      await answer(session, question);
      assert.equal(saidBy(await call.settle(SETTLE_MS)).answers.name.content.name, "Ada on Who are you?");
      assert.deepEqual(asking.steps(tag), [0, 1]);
    },
  },
  "the client is asked, and comes back before it answers": {
    async stage(session, tag) {
      const call = await begin(session, "asking_write", { tag, as: "sse" });
      return { call, question: await call.question() };
    },
    async finish(session, tag, { call, question }) {
      await call.resume();
      await answer(session, question);
      assert.equal(saidBy(await call.settle(SETTLE_MS)).answers.name.content.name, "Ada on Really write?");
      assert.deepEqual(asking.steps(tag), [0, 1]);
    },
  },
  "the client has not seen the question": {
    async stage(session, tag) {
      const call = await begin(session, "asking_form", { tag });
      await call.question();
      [call.lastId] = call.ids;
      return { call };
    },
    async finish(session, tag, { call }) {
      const question = await call.settle(SETTLE_MS, call.isQuestion);
      await answer(session, question);
      assert.ok(saidBy(await call.settle(SETTLE_MS)));
      assert.deepEqual(asking.steps(tag), [0, 1]);
    },
  },
  "one question of two is answered": {
    async stage(session, tag) {
      const call = await begin(session, "asking_pair", { tag });
      const questions = await questionsOf(call, 2);
      await answer(session, questions.get("Left?"));
      return { call, questions };
    },
    async finish(session, tag, { call, questions }) {
      await answer(session, questions.get("Left?"), 400);
      await answer(session, questions.get("Right?"));
      const { answers } = saidBy(await call.settle(SETTLE_MS));
      assert.deepEqual(Object.keys(answers).sort(), ["left", "right"]);
      assert.deepEqual(asking.steps(tag), [0, 1]);
    },
  },
  "the server works on the answers": {
    async stage(session, tag) {
      const hold = asking.hold(tag, 1);
      const call = await begin(session, "asking_write", { tag, as: "sse" });
      const question = await call.question();
      await answer(session, question);
      await within(hold.reached, SETTLE_MS, "the server's second round");
      return { call, hold, question };
    },
    async finish(session, tag, { call, hold, question }) {
      await assertInterrupted(await call.settle(SETTLE_MS));
      await answer(session, question, 400);
      hold.release();
      assert.deepEqual(asking.steps(tag), [0, 1]);
    },
  },
  "the client is asked a second time": {
    async stage(session, tag) {
      const call = await begin(session, "asking_three", { tag });
      await answer(session, await call.question());
      return { call, question: await call.question() };
    },
    async finish(session, tag, { call, question }) {
      await answer(session, question);
      await answer(session, await call.settle(SETTLE_MS, call.isQuestion));
      const { answers } = saidBy(await call.settle(SETTLE_MS));
      assert.deepEqual(Object.keys(answers).sort(), ["step1", "step2", "step3"]);
      assert.deepEqual(asking.steps(tag), [0, 1, 2, 3]);
    },
  },
  "the answer is there, and the client has not seen it": {
    async stage(session, tag) {
      const call = await begin(session, "asking_form", { tag });
      await answer(session, await call.question());
      const seen = call.lastId;
      await call.answer();
      call.lastId = seen;
      return { call };
    },
    async finish(_session, tag, { call }) {
      await call.resume();
      assert.ok(saidBy(await call.settle(SETTLE_MS)));
      assert.deepEqual(asking.steps(tag), [0, 1]);
    },
  },
  "an older server with event ids works": {
    async stage(session, tag) {
      const call = await begin(session, "ids_work", { tag, wait: true });
      await call.begun();
      await eventually(() => older.ids.calls.has(tag), { what: "the call at the server" });
      return { call };
    },
    async finish(_session, tag, { call }) {
      const taken = older.ids.taken.length;
      await call.resume();
      await eventually(() => older.ids.taken.length > taken, { ms: SETTLE_MS, what: "the portal's return" });
      older.ids.release(tag);
      assert.equal(textOf((await call.settle(SETTLE_MS)).result), `worked ${tag}`);
      assert.equal(older.ids.works(tag), 1);
    },
  },
  "an older server with event ids has answered meanwhile": {
    async stage(session, tag) {
      const call = await begin(session, "ids_work", { tag, wait: true });
      await call.begun();
      await eventually(() => older.ids.calls.has(tag), { what: "the call at the server" });
      return { call };
    },
    async finish(_session, tag, { call }) {
      older.ids.release(tag);
      assert.equal(textOf((await call.settle(SETTLE_MS)).result), `worked ${tag}`);
      assert.equal(older.ids.works(tag), 1);
    },
  },
  "an older server with event ids asks": {
    async stage(session, tag) {
      const call = await begin(session, "ids_ask", { tag });
      return { call, question: await call.question() };
    },
    async finish(session, tag, { call, question }) {
      await call.resume();
      await answer(session, question);
      assert.equal(textOf((await call.settle(SETTLE_MS)).result), `accept Ada on ${tag}?`);
      assert.equal(older.ids.works(tag), 1);
      const { questionId } = older.ids.calls.get(tag);
      assert.equal(older.ids.answers.filter(({ id }) => id === questionId).length, 1);
      await answer(session, question, 400);
    },
  },
  "an older server with event ids works on the answer": {
    async stage(session, tag) {
      const call = await begin(session, "ids_ask", { tag, wait: true });
      await answer(session, await call.question());
      const { questionId } = older.ids.calls.get(tag);
      await eventually(() => older.ids.answers.some(({ id }) => id === questionId), {
        what: "the answer at the server",
      });
      return { call };
    },
    async finish(_session, tag, { call }) {
      await call.resume();
      older.ids.release(tag);
      assert.equal(textOf((await call.settle(SETTLE_MS)).result), `accept Ada on ${tag}?`);
      assert.equal(older.ids.works(tag), 1);
    },
  },
  "an older server without event ids works": {
    async stage(session, tag) {
      const call = await begin(session, "bare_work", { tag, wait: true });
      await call.begun();
      await eventually(() => older.bare.calls.has(tag), { what: "the call at the server" });
      return { call };
    },
    async finish(_session, tag, { call }) {
      await assertInterrupted(await call.settle(SETTLE_MS));
      older.bare.release(tag);
      assert.equal(older.bare.works(tag), 1);
    },
  },
  "an older server without event ids asks": {
    async stage(session, tag) {
      const call = await begin(session, "bare_ask", { tag });
      return { call, question: await call.question() };
    },
    async finish(_session, tag, { call }) {
      await assertInterrupted(await call.settle(SETTLE_MS));
      assert.equal(older.bare.works(tag), 1);
    },
  },
  "an older server's answer is there, and the client has not seen it": {
    async stage(session, tag) {
      const call = await begin(session, "bare_ask", { tag });
      await answer(session, await call.question());
      const seen = call.lastId;
      await call.answer();
      call.lastId = seen;
      return { call };
    },
    async finish(_session, tag, { call }) {
      await call.resume();
      assert.equal(textOf((await call.settle(SETTLE_MS)).result), `accept Ada on ${tag}?`);
      assert.equal(older.bare.works(tag), 1);
    },
  },
};

for (const [how, what] of [
  ["aborted", "the session's object is lost when"],
  ["restarted", "workerd is started again when"],
]) {
  describe(what, () => {
    const sessions = new Map();
    const staged = new Map();
    before(async () => {
      const staging = Object.entries(STEPS).map(async ([step, { stage }], index) => {
        const session = await openSession(world.url(), token, { capabilities: ABLE });
        sessions.set(step, session);
        // A step that cannot be reached fails its own test only.
        staged.set(step, await stage(session, `${how}-${index}`).catch((failed) => ({ failed })));
      });
      await Promise.all(staging);
      await world.crash(how);
    }, LIMIT);

    for (const [index, [step, { finish }]] of Object.entries(STEPS).entries()) {
      test(step, LIMIT, async () => {
        const reached = staged.get(step);
        if (reached.failed) throw reached.failed;
        await finish(sessions.get(step), `${how}-${index}`, reached);
      });
    }

    test("and no server saw what it must not see", LIMIT, () => {
      assert.deepEqual(asking.faults.splice(0), []);
      assert.deepEqual([...older.ids.faults.splice(0), ...older.bare.faults.splice(0)], []);
    });
  });
}
