// What a client may answer: all of it, some of it, nothing, and what is no answer. And a server that does not begin before
// a page was visited.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startSdkServer } from "./fixtures/asking_legacy_sdk.mjs";
import { form, roots, sampling, steps, visit } from "./fixtures/asking_legacy_steps.mjs";
import { gist, openAskingWorld, replyTo, retry, scripted } from "./fixtures/asking_legacy_world.mjs";

const LIMIT = { timeout: 40_000 };
const TOGETHER = { concurrency: true };
let world;
let lib;

before(async () => {
  lib = await startSdkServer();
  world = await openAskingWorld({ servers: { one: {} }, others: { lib } });
}, LIMIT);
after(async () => {
  await world?.stop();
  await lib?.stop();
});

describe("answers that are not all there", TOGETHER, () => {
  const two = [steps.ask(form("a"), form("b"))];

  test("what is missing is asked again, with a new state, and what was said is not", LIMIT, async () => {
    const who = await world.person();
    const params = scripted("one", "missing", two);
    const first = await world.round(who, params);
    assert.equal(first.asked.length, 2, first.told);
    const partly = retry(params, { ...first, asked: first.asked.slice(0, 1) });
    const second = await world.round(who, partly);
    assert.deepEqual(
      second.asked.map(([, { params: asked }]) => asked.message),
      ["What is b?"],
      second.told,
    );
    assert.notEqual(second.state, first.state);
    const last = await world.round(who, retry(params, second));
    assert.deepEqual(last.said?.answers, [replyTo(form("a")), replyTo(form("b"))], last.told);
    const { answers, begun } = world.servers.one.call("missing");
    assert.deepEqual([answers.length, begun], [2, 1]);
    const old = await world.round(who, partly);
    assert.equal(old.error?.code, -32602, old.told);
  });

  test("no answers at all: everything is asked again", LIMIT, async () => {
    const who = await world.person();
    const params = scripted("one", "none", two);
    const first = await world.round(who, params);
    const second = await world.round(who, { ...params, requestState: first.state });
    assert.deepEqual(
      second.asked.map(([, asked]) => asked),
      first.asked.map(([, asked]) => asked),
      second.told,
    );
    const third = await world.round(who, { ...params, requestState: second.state, inputResponses: {} });
    assert.equal(third.asked.length, 2, third.told);
    assert.deepEqual(world.servers.one.call("none").answers, []);
    const last = await world.round(who, retry(params, third));
    assert.equal(last.said?.answers.length, 2, last.told);
  });

  test("answers to what nobody asked are ignored", LIMIT, async () => {
    const who = await world.person();
    const params = scripted("one", "unasked", two);
    const first = await world.round(who, params);
    const answered = retry(params, first);
    Object.assign(answered.inputResponses, { nobody: { action: "accept" }, "": { roots: [] }, 0: {} });
    const last = await world.round(who, answered);
    assert.deepEqual(last.said?.answers, [replyTo(form("a")), replyTo(form("b"))], last.told);
    assert.deepEqual(world.servers.one.strays, []);
  });
});

describe("answers that are none", TOGETHER, () => {
  const bag = (inputResponses) => () => inputResponses;
  const each = (value) => (keys) => Object.fromEntries(keys.map((key) => [key, value]));
  const WRONG = {
    "a list": [form("a"), bag([])],
    "a text": [form("a"), bag("yes")],
    "a number": [form("a"), bag(5)],
    "a text for an answer": [form("a"), each("yes")],
    "a list for an answer": [form("a"), each([])],
    "null for an answer": [form("a"), each(null)],
    "an answer without an action": [form("a"), each({})],
    "an action nobody knows": [form("a"), each({ action: "maybe" })],
    "content that is a text": [form("a"), each({ action: "accept", content: "yes" })],
    "a sample without content": [sampling("a"), each({ role: "assistant", model: "m" })],
    "roots that are no list": [roots(), each({ roots: "home" })],
  };
  for (const [name, [question, make]] of Object.entries(WRONG)) {
    test(`${name}: refused, and the call still waits`, LIMIT, async () => {
      const who = await world.person();
      const params = scripted("one", `wrong ${name}`, [steps.ask(question)]);
      const first = await world.round(who, params);
      assert.equal(first.asked.length, 1, first.told);
      const inputResponses = make(first.asked.map(([key]) => key));
      const refused = await world.round(who, { ...params, requestState: first.state, inputResponses });
      assert.equal(refused.error?.code, -32602, refused.told);
      const record = world.servers.one.call(`wrong ${name}`);
      assert.deepEqual([record.answers.length, record.cancelled], [0, 0], "the server hears nothing of it");
      const last = await world.round(who, retry(params, first));
      assert.deepEqual(last.said?.answers, [replyTo(question)], last.told);
      assert.equal(record.begun, 1);
    });
  }
});

describe("a server that wants a page visited first (-32042)", TOGETHER, () => {
  test("is called anew once it was, and begins once", LIMIT, async () => {
    const who = await world.person();
    const params = scripted("one", "needs", [steps.needs(visit("n1"), visit("n2"))], "write");
    const first = await world.round(who, params);
    assert.deepEqual(
      first.asked.map(([, asked]) => gist(asked)),
      [visit("n1"), visit("n2")].map(gist),
      first.told,
    );
    const record = world.servers.one.call("needs");
    const second = await world.round(who, retry(params, first));
    assert.equal(second.asked.length, 2, `it was not visited: ${second.told}`);
    assert.deepEqual([record.begun, record.refused], [0, 2]);
    for (const name of ["n1", "n2"]) world.servers.one.allow(`visit-${name}`);
    const last = await world.round(who, retry(params, second));
    assert.equal(last.said?.begun, 1, last.told);
    assert.deepEqual([record.begun, record.refused], [1, 2]);
  });

  test("of the library's own", LIMIT, async () => {
    const who = await world.person();
    const first = await world.round(who, { name: "lib_gated", arguments: {} });
    assert.equal(first.asked[0]?.[1].params.url, "https://x.example/sign-in", first.told);
    lib.allow("gate-1");
    const last = await world.round(who, retry({ name: "lib_gated", arguments: {} }, first));
    assert.equal(last.said, "through", last.told);
  });

  test("is not shown to a client that cannot visit pages", LIMIT, async () => {
    const who = await world.person();
    const params = scripted("one", "needs-not", [steps.needs(visit("n3"))]);
    for (const capabilities of [{}, { elicitation: {} }, { elicitation: { form: {} } }]) {
      const { error, told } = await world.round(who, params, { capabilities });
      assert.ok(error, told);
      assert.ok([-32042, -32021, -32000].includes(error.code), told);
    }
    assert.equal(world.servers.one.begun("needs-not"), 0);
  });
});
