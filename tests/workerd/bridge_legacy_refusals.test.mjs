// A legacy client on a modern server that asks, where something is missing, refused, late, foreign or taken back. Every
// call ends, and the server hears no more of it than it must.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { startAsking } from "./fixtures/asking_modern.mjs";
import { openCall, questionsOf } from "./fixtures/asking_modern_call.mjs";
import { ABLE, answerTo, connectAnswering } from "./fixtures/asking_modern_clients.mjs";
import { textOf } from "./fixtures/clients.mjs";
import { openSession } from "./fixtures/rpc.mjs";
import { openWorld } from "./fixtures/world.mjs";

const LIMIT = { timeout: 30_000 };
/** How long a person may take in these tests: longer than anything here that is answered. */
const INPUT_WAIT_MS = 4_000;
const SOON_MS = 3_000;
/** A second round would have come by then. */
const REST_MS = 400;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let asking;
let world;
let token;

before(async () => {
  asking = await startAsking();
  const start = { vars: { INPUT_WAIT_MS: String(INPUT_WAIT_MS) } };
  world = await openWorld({ servers: { one: { url: asking.url } }, start });
  token = await world.token();
}, LIMIT);
after(async () => {
  asking?.releaseAll();
  await world?.stop();
  await asking?.stop();
});
afterEach(() => assert.deepEqual(asking.faults.splice(0), []));

const able = (capabilities = ABLE) => openSession(world.url(), token, { capabilities });
const begin = (session, name, input, id = input.tag) =>
  openCall(session, "tools/call", { name: `one_${name}`, arguments: input }, id);

/** The outcome of a request, by the id that its error names. */
async function reasonOf({ error }) {
  const sql = "SELECT status, reason FROM audit_events WHERE request_id = ? AND kind <> 'intent' ORDER BY id";
  const rows = await eventually(
    async () => {
      const found = await world.portal.d1(sql, error.data.requestId);
      return found.some(({ status }) => status !== "input_required") && found;
    },
    { what: "the outcome's row" },
  );
  return rows.at(-1);
}

describe("a capability that the client did not declare", () => {
  const FORMS = { elicitation: { form: {} } };
  const CASES = [
    ["form", {}, ["elicitation"]],
    ["plain", {}, ["elicitation"]],
    ["form", { elicitation: { url: {} } }, ["elicitation"]],
    ["link", {}, ["elicitation"]],
    ["link", FORMS, ["elicitation", "url"]],
    ["link", { elicitation: {} }, ["elicitation", "url"]],
    ["words", FORMS, ["sampling"]],
    ["roots", { ...FORMS, sampling: {} }, ["roots"]],
    ["many", { elicitation: ABLE.elicitation, sampling: {} }, ["roots"]],
  ];
  for (const [index, [name, capabilities, path]] of CASES.entries()) {
    for (const polite of [false, true]) {
      const how = polite ? "the server says so" : "the server asks all the same";
      test(`${path.join(".")} for "${name}" (${JSON.stringify(capabilities)}, ${how})`, LIMIT, async () => {
        const session = await able(capabilities);
        const tag = `lack-${index}-${polite}`;
        const call = await begin(session, name, { tag, polite });
        const { error } = await call.answer(SOON_MS);
        assert.equal(error?.code, -32021, JSON.stringify(call.messages));
        let at = error.data.requiredCapabilities;
        for (const key of path) {
          assert.ok(at?.[key], JSON.stringify(error.data));
          at = at[key];
        }
        assert.equal(call.messages.length, 1, "nobody was asked anything");
        assert.deepEqual(asking.steps(tag), [0]);
        assert.deepEqual(
          asking.roundsOf(tag)[0].capabilities,
          capabilities,
          "the server was told what the client can do",
        );
      });
    }
  }

  for (const kind of ["one", "legacy"]) {
    test(`an official client (${kind}) gets the error, not silence`, LIMIT, async () => {
      const { client } = await connectAnswering(kind, world.url(), token, { capabilities: {} });
      const call = client.callTool({ name: "one_form", arguments: { tag: `lack-${kind}` } });
      await assert.rejects(call, ({ code }) => code === -32021);
      await client.close();
    });
  }
});

describe("an answer that is none", () => {
  test("a JSON-RPC error ends the call, and the server hears nothing of it", LIMIT, async () => {
    const session = await able();
    const call = await begin(session, "form", { tag: "refused" });
    const { id } = await call.question();
    const response = await session.post({
      jsonrpc: "2.0",
      id,
      error: { code: -1, message: "User rejected" },
    });
    assert.equal(response.status, 202);
    const answer = await call.answer(SOON_MS);
    assert.equal(answer.error?.code, -32000, JSON.stringify(answer));
    assert.equal((await reasonOf(answer)).reason, "input_refused");
    await pause(REST_MS);
    assert.deepEqual(asking.steps("refused"), [0]);
  });

  test("one refused question ends the round; the other's answer is nobody's any more", LIMIT, async () => {
    const session = await able();
    const call = await begin(session, "pair", { tag: "half" });
    const questions = await questionsOf(call, 2);
    const { id } = questions.get("Left?");
    await session.post({ jsonrpc: "2.0", id, error: { code: -1, message: "no" } });
    assert.equal((await call.answer(SOON_MS)).error?.code, -32000);
    const right = questions.get("Right?");
    assert.equal((await session.answer(right.id, answerTo(right, "Bo"))).status, 400);
    await pause(REST_MS);
    assert.deepEqual(asking.steps("half"), [0]);
  });

  for (const kind of ["one", "legacy"]) {
    test(`an official client (${kind}) whose handler throws`, LIMIT, async () => {
      const elicit = () => {
        throw new Error("nobody is at home");
      };
      const { client } = await connectAnswering(kind, world.url(), token, { elicit });
      const call = client.callTool({ name: "one_form", arguments: { tag: `throws-${kind}` } });
      await assert.rejects(call, ({ code }) => code === -32000);
      assert.deepEqual(asking.steps(`throws-${kind}`), [0]);
      await client.close();
    });
  }

  test("a second answer is refused, and changes nothing", LIMIT, async () => {
    const session = await able();
    const hold = asking.hold("twice", 1);
    const call = await begin(session, "form", { tag: "twice" });
    const { id } = await call.question();
    const answer = (name) => session.answer(id, { action: "accept", content: { name } });
    assert.equal((await answer("first")).status, 202);
    await hold.reached;
    assert.equal((await answer("second")).status, 400, "while the server works");
    hold.release();
    const said = JSON.parse(textOf((await call.answer()).result));
    assert.equal(said.answers.name.content.name, "first");
    assert.equal((await answer("third")).status, 400, "after the call");
    assert.deepEqual(asking.steps("twice"), [0, 1]);
  });

  test("of two answers at once one is taken", LIMIT, async () => {
    const session = await able();
    const call = await begin(session, "form", { tag: "race" });
    const { id } = await call.question();
    const names = ["a", "b", "c", "d"];
    const answers = await Promise.all(
      names.map((name) => session.answer(id, { action: "accept", content: { name } })),
    );
    assert.deepEqual(answers.map(({ status }) => status).sort(), [202, 400, 400, 400]);
    const winner = names[answers.findIndex(({ status }) => status === 202)];
    const said = JSON.parse(textOf((await call.answer()).result));
    assert.equal(said.answers.name.content.name, winner);
    assert.deepEqual(asking.steps("race"), [0, 1]);
  });

  test("another session or person cannot answer; the right one still can", LIMIT, async () => {
    const session = await able();
    const call = await begin(session, "form", { tag: "foreign" });
    const question = await call.question();
    const answer = answerTo(question, "Mallory");
    assert.equal((await (await able()).answer(question.id, answer)).status, 400, "another session of hers");
    const bob = await openSession(world.url(), await world.token("bob@acme.example"), { capabilities: ABLE });
    assert.equal((await bob.answer(question.id, answer)).status, 400, "another person's session");
    bob.id = session.id;
    assert.equal((await bob.answer(question.id, answer)).status, 404, "another person in hers");
    await pause(REST_MS);
    assert.deepEqual(asking.steps("foreign"), [0]);
    await session.answer(question.id, answerTo(question, "Ada"));
    const said = JSON.parse(textOf((await call.answer()).result));
    assert.equal(said.answers.name.content.name, "Ada on Who are you?");
  });

  test("an id that nobody asked under is refused", LIMIT, async () => {
    const session = await able();
    const call = await begin(session, "form", { tag: "made-up" });
    const question = await call.question();
    for (const id of ["made-up", 1, `${question.id}x`]) {
      assert.equal((await session.answer(id, answerTo(question, "x"))).status, 400, String(id));
    }
    await session.answer(question.id, answerTo(question, "Ada"));
    assert.ok((await call.answer()).result);
  });
});

describe("a client that never answers", { concurrency: true }, () => {
  test("gets an error when the time is over, and so does its late answer", LIMIT, async () => {
    const session = await able();
    const call = await begin(session, "form", { tag: "late" });
    const question = await call.question();
    const asked = Date.now();
    const answer = await call.answer(INPUT_WAIT_MS + SOON_MS);
    assert.ok(Date.now() - asked > INPUT_WAIT_MS - 500, "not before");
    assert.equal(answer.error?.code, -32000, JSON.stringify(answer));
    assert.equal((await reasonOf(answer)).reason, "input_expired");
    assert.equal((await session.answer(question.id, answerTo(question, "Bo"))).status, 400);
    await pause(REST_MS);
    assert.deepEqual(asking.steps("late"), [0]);
  });

  test("the time begins anew with each round", LIMIT, async () => {
    const session = await able();
    const call = await begin(session, "three", { tag: "slow" });
    for (let round = 1; round <= 3; round += 1) {
      const question = await call.question();
      await pause(INPUT_WAIT_MS / 2);
      assert.equal((await session.answer(question.id, answerTo(question, "Bo"))).status, 202);
    }
    assert.ok((await call.answer()).result);
  });
});

describe("cancelling", () => {
  const cancel = (session, requestId) =>
    session.notify("notifications/cancelled", { requestId, reason: "changed my mind" });

  /** The stream ends without a result: a cancelled call has no answer. */
  async function assertOver(call) {
    await call.drain(SOON_MS);
    const answers = call.messages.filter(call.isAnswer);
    assert.ok(
      answers.every(({ error }) => error),
      JSON.stringify(answers),
    );
  }

  test("while the client is asked", LIMIT, async () => {
    const session = await able();
    const call = await begin(session, "form", { tag: "cancel-asked" });
    const question = await call.question();
    assert.equal(await cancel(session, call.id), 202);
    await assertOver(call);
    assert.equal((await session.answer(question.id, answerTo(question, "Bo"))).status, 400);
    await pause(REST_MS);
    assert.deepEqual(asking.steps("cancel-asked"), [0]);
    const other = await begin(session, "none", { tag: "cancel-next" });
    assert.ok((await other.answer()).result, "the session goes on");
  });

  for (const [step, as] of [
    [0, "json"],
    [0, "sse"],
    [1, "json"],
    [1, "sse"],
  ]) {
    test(`while the server works on round ${step} (${as})`, LIMIT, async () => {
      const session = await able();
      const tag = `cancel-works-${step}-${as}`;
      const hold = asking.hold(tag, step);
      const calling = begin(session, "form", { tag, as });
      calling.catch(() => {});
      if (step > 0) {
        const call = await calling;
        const question = await call.question();
        await session.answer(question.id, answerTo(question, "Bo"));
      }
      await hold.reached;
      assert.equal(await cancel(session, tag), 202);
      // In the server's era, closing the request's connection is what cancels it.
      const isCut = () => asking.roundsOf(tag)[step].wasCut;
      await eventually(isCut, { ms: SOON_MS, what: "the end of the request" });
      await assertOver(await calling);
      hold.release();
      await pause(REST_MS);
      assert.deepEqual(asking.steps(tag), [0, 1].slice(0, step + 1));
    });
  }

  test("one call of two: the other goes on", LIMIT, async () => {
    const session = await able();
    const calls = [];
    for (const tag of ["stays", "goes"]) calls.push(await begin(session, "form", { tag }));
    const [question] = [await calls[0].question(), await calls[1].question()];
    await cancel(session, "goes");
    await assertOver(calls[1]);
    await session.answer(question.id, answerTo(question, "Bo"));
    assert.ok((await calls[0].answer()).result);
  });

  test("an official client that aborts while it is asked", LIMIT, async () => {
    const controller = new AbortController();
    const elicit = () => {
      controller.abort(new Error("enough"));
      return new Promise(() => {});
    };
    const { client } = await connectAnswering("one", world.url(), token, { elicit });
    const params = { name: "one_form", arguments: { tag: "abort" } };
    await assert.rejects(client.callTool(params, undefined, { signal: controller.signal }), /enough|abort/i);
    const result = await client.callTool({ name: "one_none", arguments: { tag: "abort-next" } });
    assert.ok(result.content);
    await pause(REST_MS);
    assert.deepEqual(asking.steps("abort"), [0]);
    await client.close();
  });
});

describe("a session that ends with DELETE", () => {
  test("while the client is asked: the call is over and nobody can answer", LIMIT, async () => {
    const session = await able();
    const call = await begin(session, "form", { tag: "delete-asked" });
    const question = await call.question();
    assert.equal(await session.end(), 204);
    await call.drain(SOON_MS).catch(({ message }) => assert.match(message, /terminated/));
    assert.equal((await session.answer(question.id, answerTo(question, "Bo"))).status, 404);
    assert.equal((await session.listen(call.lastId)).status, 404);
    await pause(REST_MS);
    assert.deepEqual(asking.steps("delete-asked"), [0]);
  });

  test("while the server works: its request ends", LIMIT, async () => {
    const session = await able();
    const hold = asking.hold("delete-works", 1);
    const call = await begin(session, "form", { tag: "delete-works" });
    const question = await call.question();
    await session.answer(question.id, answerTo(question, "Bo"));
    await hold.reached;
    assert.equal(await session.end(), 204);
    const isCut = () => asking.roundsOf("delete-works")[1].wasCut;
    await eventually(isCut, { ms: SOON_MS, what: "the end of the request" });
    hold.release();
    assert.deepEqual(asking.steps("delete-works"), [0, 1]);
  });
});
