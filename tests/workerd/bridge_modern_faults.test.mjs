// A server that asks wrongly, too much, too late or in riddles: the call has an end, and the next one is not harmed.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { form, steps } from "./fixtures/asking_legacy_steps.mjs";
import { openAskingWorld, reached, replyTo, retry, scripted } from "./fixtures/asking_legacy_world.mjs";

const LIMIT = { timeout: 40_000 };
const TOGETHER = { concurrency: true };
const METHOD_NOT_FOUND = -32601;
const MIB = 1024 * 1024;
let world;
let server;

before(async () => {
  world = await openAskingWorld({ servers: { plain: {}, strict: { isStrict: true } } });
  server = world.servers.plain;
}, LIMIT);
after(() => world?.stop());

/** Whatever a server did: the same person's next call works, and hears nothing of what was before. */
async function assertHealthy(who, tag, id = "plain") {
  const params = scripted(id, `${tag} next`, [steps.ask(form("next"))]);
  const first = await world.round(who, params);
  assert.deepEqual(
    first.asked.map(([, { params: asked }]) => asked.message),
    ["What is next?"],
    first.told,
  );
  const last = await world.round(who, retry(params, first));
  assert.deepEqual(last.said?.answers, [replyTo(form("next"))], last.told);
}

describe("a server that asks as it should not", TOGETHER, () => {
  test("for what no revision knows: refused, and the call goes on", LIMIT, async () => {
    const who = await world.person();
    const odd = [{ method: "secrets/list" }, { method: "tools/list" }, { method: "initialize", params: {} }];
    const last = await world.round(who, scripted("plain", "odd", [steps.ask(...odd)]));
    assert.deepEqual(
      last.said?.answers.map(({ refused }) => refused),
      odd.map(() => METHOD_NOT_FOUND),
      last.told,
    );
    await assertHealthy(who, "odd");
  });

  test("whether anybody is there: yes, and the client need not know", LIMIT, async () => {
    const who = await world.person();
    const script = [steps.ask({ method: "ping" }), steps.askOnGet({ method: "ping" })];
    const last = await world.round(who, scripted("plain", "ping", script));
    assert.deepEqual(last.said?.answers, [{}, {}], last.told);
  });

  test("without parameters, or with ones that are none", LIMIT, async () => {
    const who = await world.person();
    for (const [index, params] of [undefined, [], { message: 7 }].entries()) {
      const script = [steps.ask({ method: "elicitation/create", params })];
      const reply = () => ({ action: "decline" });
      const last = await world.finish(who, scripted("plain", `shapeless ${index}`, script), { reply });
      // Asked as it is or refused to the server: either way the call has its answer.
      assert.ok(last.said?.answers[0].refused < 0 || last.said?.answers[0].action === "decline", last.told);
    }
    await assertHealthy(who, "shapeless");
  });

  for (const mib of [2, 12]) {
    test(`with ${mib} MiB in one question: whole, or a named end`, LIMIT, async () => {
      const who = await world.person();
      const params = scripted("plain", `enormous ${mib}`, [steps.askLong(mib * MIB)]);
      const first = await world.round(who, params);
      if (first.state) {
        assert.equal(first.asked[0][1].params.message.length, mib * MIB);
        const last = await world.finish(who, params, { round: first, reply: () => ({ action: "decline" }) });
        assert.deepEqual(last.said?.answers, [{ action: "decline" }], last.told);
      } else {
        assert.ok(first.said?.answers[0].refused < 0 || first.error?.code === -32000, first.told);
      }
      assert.equal(server.begun(`enormous ${mib}`), 1);
      await assertHealthy(who, `enormous ${mib}`);
    });
  }

  test("a thousand times at once: bounded, every question answered or refused", LIMIT, async () => {
    const who = await world.person();
    const script = [steps.askMany(1_000)];
    const params = scripted("plain", "thousand", script);
    let round = await world.round(who, params);
    let most = 0;
    for (let count = 0; round.state && count < 30; count += 1) {
      most = Math.max(most, round.asked.length);
      round = await world.round(who, retry(params, round));
    }
    const record = server.call("thousand");
    if (round.said) {
      assert.equal(record.answers.filter(Boolean).length, 1_000);
    } else {
      assert.equal(round.error?.code, -32000, round.told);
      await eventually(() => record.cancelled === 1, { what: "the server hears that the call is over" });
    }
    assert.ok(most <= 1_000);
    assert.equal(record.begun, 1);
    await assertHealthy(who, "thousand");
  });

  test("after its own answer: nobody is asked, not even in the next call", LIMIT, async () => {
    const who = await world.person();
    for (const [stream, late] of [
      ["POST", steps.askOnly(form("late"))],
      ["GET", { ...steps.askOnGet(form("late")), goesOn: true }],
    ]) {
      const tag = `late ${stream}`;
      const script = [steps.ask(form("a")), steps.reply(), late, steps.pause(300)];
      const last = await world.finish(who, scripted("plain", tag, script));
      assert.deepEqual(last.said?.answers, [replyTo(form("a"))], last.told);
      await eventually(() => server.call(tag).questions.length === 2, { what: "the late question" });
      await assertHealthy(who, tag);
    }
  });

  test("with one id twice at once: an end, and no answer given twice", LIMIT, async () => {
    const who = await world.person();
    const twice = steps.askOnly({ ...form("a"), id: 7 }, { ...form("b"), id: 7 });
    const params = scripted("plain", "id twice", [twice, steps.pause(1_500)]);
    const last = await world.finish(who, params);
    assert.ok(last.said || last.error, last.told);
    const about = ({ message }) => message.id === 7 && !message.method && message.result;
    const { session } = server.call("id twice").requests[0];
    const answers = server.received.filter((each) => each.session === session && about(each));
    assert.ok(answers.length <= 2, `${answers.length} answers to two questions`);
    await assertHealthy(who, "id twice");
  });

  test("with the same id in every round, and with ids of every shape", LIMIT, async () => {
    const who = await world.person();
    const rounds = ["a", "b", "c"].map((name) => steps.ask({ ...form(name), id: 1 }));
    const last = await world.finish(who, scripted("plain", "same id", rounds));
    assert.deepEqual(
      last.said?.answers,
      ["a", "b", "c"].map((name) => replyTo(form(name))),
      last.told,
    );
    const ids = [0, 7, "7", -3, 9_007_199_254_740_991, "", 'ü "quoted" \\', "x".repeat(200)];
    const script = [steps.ask(...ids.map((id, index) => ({ ...form(`f${index}`), id })))];
    const shaped = await world.finish(who, scripted("plain", "shaped ids", script));
    assert.deepEqual(
      shaped.said?.answers,
      ids.map((_, index) => replyTo(form(`f${index}`))),
      shaped.told,
    );
    assert.deepEqual(
      server.call("shaped ids").answers.map(({ id }) => id),
      ids,
    );
  });

  test("of equal calls with equal ids at once, each hears its own answer", LIMIT, async () => {
    const people = await Promise.all([1, 2, 3].map(() => world.person()));
    const calls = people.map((who, index) => ({
      who,
      params: scripted("plain", `equal ${index}`, [steps.ask({ ...form(`of${index}`), id: 1 })]),
    }));
    const firsts = await Promise.all(calls.map(({ who, params }) => world.round(who, params)));
    const lasts = await Promise.all(
      calls.map(({ who, params }, index) => world.round(who, retry(params, firsts[index]))),
    );
    for (const [index, { said, told }] of lasts.entries()) {
      assert.deepEqual(said?.answers, [replyTo(form(`of${index}`))], told);
    }
  });

  test("and takes its question back: the rest is answered, and the call ends", LIMIT, async () => {
    const who = await world.person();
    const params = scripted("plain", "taken back", [
      steps.askOnly({ ...form("a"), id: 70 }),
      steps.pause(600),
      steps.say({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 70 } }),
      steps.gate(),
    ]);
    const first = await world.round(who, params);
    assert.ok(first.state, first.told);
    await reached(server, "taken back", "gate");
    server.let("taken back");
    await eventually(() => server.call("taken back").isDone, { what: "the server's answer" });
    const last = await world.finish(who, params, { round: first });
    assert.ok(last.said || last.error, last.told);
    assert.equal(server.begun("taken back"), 1);
    await assertHealthy(who, "taken back");
  });

  test("and fails after it was answered: its own error arrives", LIMIT, async () => {
    const who = await world.person();
    const error = { code: -32050, message: "no luck", data: { why: "test" } };
    const last = await world.finish(
      who,
      scripted("plain", "fails", [steps.ask(form("a")), steps.fail(error)]),
    );
    assert.deepEqual([last.error?.code, last.error?.message], [error.code, error.message], last.told);
    await assertHealthy(who, "fails");
  });

  test("on its one GET stream, and keeps nothing for later", LIMIT, async () => {
    const who = await world.person();
    for (const name of ["a", "b"]) {
      const params = scripted("strict", `strict ${name}`, [steps.askOnGet(form(name))]);
      const first = await world.round(who, params, { ms: 8_000 });
      assert.ok(first.state, `the portal listened before it called: ${first.told}`);
      const last = await world.finish(who, params, { round: first });
      assert.deepEqual(last.said?.answers, [replyTo(form(name))], last.told);
    }
  });
});
