// A legacy client has so long to answer a modern server's question and no longer, also when the portal's memory of it was
// lost meanwhile, and also when nobody comes back to hear it.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { startAsking } from "./fixtures/asking_modern.mjs";
import { openCall } from "./fixtures/asking_modern_call.mjs";
import { ABLE, answerTo } from "./fixtures/asking_modern_clients.mjs";
import { openCrashWorld } from "./fixtures/asking_modern_crash.mjs";
import { openSession } from "./fixtures/rpc.mjs";

const LIMIT = { timeout: 60_000 };
const INPUT_WAIT_MS = 3_000;
/** Less than another full wait: the time does not begin anew. */
const PROMPT_MS = 1_500;
const ROWS_MS = 6_000;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let asking;
let world;

before(async () => {
  asking = await startAsking();
  world = await openCrashWorld({
    servers: { one: { url: asking.url } },
    vars: { INPUT_WAIT_MS: String(INPUT_WAIT_MS) },
  });
}, LIMIT);
after(async () => {
  await world?.stop();
  await asking?.stop();
});

/** How a person's calls ended. */
async function endOf(email, ms = ROWS_MS) {
  const sql =
    "SELECT status, reason FROM audit_events WHERE email = ? AND method = 'tools/call' AND kind <> 'intent' ORDER BY id";
  return await eventually(
    async () => {
      const rows = await world.portal.d1(sql, email);
      const ends = rows.filter(({ status }) => status !== "input_required");
      return ends.length > 0 && ends;
    },
    { ms, what: `the outcome's row of ${email}` },
  );
}

/** A call that asks its person, who has not answered. */
async function begin(name) {
  const email = `${name}@acme.example`;
  const session = await openSession(world.url(), await world.token(email), { capabilities: ABLE });
  const call = await openCall(session, "tools/call", { name: "one_form", arguments: { tag: name } }, name);
  const question = await call.question();
  return { email, session, call, question };
}

for (const [how, what] of [
  ["aborted", "the session's object was lost"],
  ["restarted", "workerd was started again"],
]) {
  describe(`the time is over, and ${what}`, () => {
    const people = {};
    before(async () => {
      for (const name of ["returns", "answers", "gone"]) people[name] = await begin(`${name}-${how}`);
      await pause(INPUT_WAIT_MS / 3);
      await world.crash(how);
      await pause(INPUT_WAIT_MS);
    }, LIMIT);

    test("whoever comes back is told so at once", LIMIT, async () => {
      const { email, session, call, question } = people.returns;
      await call.resume();
      const { error } = await call.settle(PROMPT_MS);
      assert.equal(error?.code, -32000, JSON.stringify(error));
      assert.deepEqual(
        (await endOf(email)).map(({ reason }) => reason),
        ["input_expired"],
      );
      assert.equal((await session.answer(question.id, answerTo(question, "Bo"))).status, 400);
      assert.deepEqual(asking.steps(`returns-${how}`), [0]);
    });

    test("a late answer is refused, and the server hears nothing of it", LIMIT, async () => {
      const { email, session, question } = people.answers;
      assert.equal((await session.answer(question.id, answerTo(question, "Bo"))).status, 400);
      assert.deepEqual(
        (await endOf(email)).map(({ reason }) => reason),
        ["input_expired"],
      );
      assert.deepEqual(asking.steps(`answers-${how}`), [0]);
    });

    test("whoever does not come back leaves an end on record all the same", LIMIT, async () => {
      assert.deepEqual(
        (await endOf(people.gone.email)).map(({ reason }) => reason),
        ["input_expired"],
      );
      assert.deepEqual(asking.steps(`gone-${how}`), [0]);
    });
  });
}
