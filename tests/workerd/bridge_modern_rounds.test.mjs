// A 2025-11-25 server asks in the middle of a call; a 2026-07-28 client answers in rounds. What goes over the wire, both
// ways, and what the official client makes of it.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startSdkServer } from "./fixtures/asking_legacy_sdk.mjs";
import { form, roots, sampling, scriptUri, steps, visit } from "./fixtures/asking_legacy_steps.mjs";
import {
  CAPABILITIES,
  gist,
  openAskingWorld,
  replyTo,
  retry,
  scripted,
} from "./fixtures/asking_legacy_world.mjs";
import { connectTwo, textOf } from "./fixtures/clients.mjs";

const LIMIT = { timeout: 40_000 };
const TOGETHER = { concurrency: true };
const QUESTIONS = { form: form("a"), url: visit("b"), sampling: sampling("c"), roots: roots() };
let world;
let lib;

before(async () => {
  lib = await startSdkServer();
  world = await openAskingWorld({ servers: { one: {}, two: { resumes: true } }, others: { lib } });
}, LIMIT);
after(async () => {
  await world?.stop();
  await lib?.stop();
});

describe("the official client", () => {
  async function connect(who) {
    const asked = [];
    const prepare = (client) => {
      client.setRequestHandler("elicitation/create", async ({ params }) => {
        asked.push(params.message);
        if (params.message === "Which colour?") return { action: "accept", content: { colour: "green" } };
        return replyTo({ method: "elicitation/create", params });
      });
      client.setRequestHandler("sampling/createMessage", async ({ method, params }) =>
        replyTo({ method, params }),
      );
      client.setRequestHandler("roots/list", async () => replyTo({ method: "roots/list" }));
    };
    const client = await connectTwo(world.url, who.token, { capabilities: CAPABILITIES, prepare });
    return { client, asked, use: async (params) => JSON.parse(textOf(await client.callTool(params))) };
  }

  test("answers two servers at once", LIMIT, async () => {
    const { client, asked, use } = await connect(await world.person());
    const ids = ["one", "two"];
    const said = await Promise.all(
      ids.map((id) => use(scripted(id, `at-once-${id}`, [steps.ask(form(id)), steps.ask(form(`${id}2`))]))),
    );
    for (const [index, id] of ids.entries()) {
      assert.deepEqual(said[index], {
        server: id,
        tag: `at-once-${id}`,
        begun: 1,
        answers: [id, `${id}2`].map((name) => replyTo(form(name))),
      });
      assert.equal(world.servers[id].begun(`at-once-${id}`), 1);
      const { session } = world.servers[id].call(`at-once-${id}`).requests[0];
      const told = world.servers[id].initialized.find((each) => each.session === session);
      for (const name of ["elicitation", "sampling", "roots"]) {
        assert.ok(told.capabilities[name], `the server was told of ${name}`);
      }
    }
    assert.deepEqual(
      asked.toSorted(),
      ["one", "one2", "two", "two2"].map((name) => form(name).params.message).toSorted(),
      "each question reached the person once",
    );
    await client.close();
  });

  test("answers everything that the library's own server can ask", LIMIT, async () => {
    const { client, use } = await connect(await world.person());
    const green = { action: "accept", content: { colour: "green" } };
    const model = replyTo(sampling("it")).role;
    assert.deepEqual(await use({ name: "lib_elicits" }), green);
    assert.deepEqual(await use({ name: "lib_elicits_on_get" }), green);
    assert.deepEqual(await use({ name: "lib_visits" }), { action: "accept" });
    assert.equal((await use({ name: "lib_samples" })).role, model);
    assert.deepEqual(await use({ name: "lib_lists_roots" }), replyTo(roots()));
    const [elicited, sampled, listed] = await use({ name: "lib_asks_all" });
    assert.deepEqual([elicited, sampled.role, listed], [green, model, replyTo(roots())]);
    assert.deepEqual(await use({ name: "lib_asks_twice" }), [green, green]);
    const counts = Object.values(lib.begun);
    assert.deepEqual([counts.length, ...new Set(counts)], [7, 1], "every tool was begun once");
    await client.close();
  });
});

describe("on the wire", TOGETHER, () => {
  for (const [kind, question] of Object.entries(QUESTIONS)) {
    for (const [stream, ask] of [
      ["POST", steps.ask],
      ["GET", steps.askOnGet],
    ]) {
      test(`${kind} on the ${stream} stream`, LIMIT, async () => {
        const who = await world.person();
        const tag = `wire-${kind}-${stream}`;
        const params = scripted("one", tag, [ask(question)]);
        const first = await world.round(who, params, { id: `first-${tag}` });
        assert.equal(first.status, 200, first.told);
        const extra = Object.keys(first.result ?? {}).filter((key) => key !== "_meta");
        assert.deepEqual(extra.toSorted(), ["inputRequests", "requestState", "resultType"], first.told);
        assert.equal(first.messages.at(-1).id, `first-${tag}`);
        assert.equal(first.asked.length, 1, first.told);
        const [[, asked]] = first.asked;
        assert.deepEqual(
          Object.keys(asked).filter((key) => key !== "params"),
          ["method"],
        );
        assert.deepEqual(gist(asked), gist(question));
        assert.equal(typeof first.state, "string");
        assert.ok(!first.state.includes(tag), "the state is sealed");
        const sent = world.servers.one.call(tag);
        assert.equal(sent.answers.length, 0);

        const second = await world.round(who, retry(params, first), { id: `second-${tag}` });
        assert.equal(second.result?.resultType, "complete", second.told);
        assert.equal(second.messages.at(-1).id, `second-${tag}`);
        assert.deepEqual(second.said.answers, [replyTo(question)]);
        assert.deepEqual(sent.answers, [{ id: sent.questions[0].id, result: replyTo(question) }]);
        assert.deepEqual([sent.begun, sent.cancelled, sent.requests.length], [1, 0, 1]);
      });
    }
  }

  test(
    "what is asked together is asked in one round, and answered to the right questions",
    LIMIT,
    async () => {
      const who = await world.person();
      const all = [form("x"), visit("y"), sampling("z"), roots(), form("w")];
      const params = scripted("two", "together", [steps.ask(...all)]);
      const first = await world.round(who, params);
      assert.deepEqual(
        first.asked.map(([, asked]) => gist(asked)),
        all.map(gist),
        first.told,
      );
      assert.equal(new Set(first.asked.map(([key]) => key)).size, all.length);
      const last = await world.round(who, retry(params, first));
      assert.deepEqual(last.said?.answers, all.map(replyTo), last.told);
      assert.equal(world.servers.two.begun("together"), 1);
    },
  );

  test("round after round, each with a state of its own", LIMIT, async () => {
    const who = await world.person();
    const script = [1, 2, 3, 4, 5].map((number) => steps.ask(form(`n${number}`)));
    const params = scripted("one", "rounds", script, "write");
    const states = [];
    const reply = (request) => replyTo(request);
    let round = await world.round(who, params);
    while (round.state !== undefined && states.length < 10) {
      states.push(round.state);
      assert.equal(round.asked.length, 1, round.told);
      assert.equal(round.asked[0][1].params.message, `What is n${states.length}?`);
      round = await world.round(who, retry(params, round, reply));
    }
    assert.equal(new Set(states).size, 5);
    assert.deepEqual(
      round.said?.answers.map(({ content }) => Object.keys(content)[0]),
      ["n1", "n2", "n3", "n4", "n5"],
      round.told,
    );
    assert.equal(world.servers.one.begun("rounds"), 1);
  });

  test("from a prompt and from a resource", LIMIT, async () => {
    const who = await world.person();
    const script = (tag) => ({ tag, steps: [steps.ask(form("p"))] });
    const prompt = { name: "one_ask", arguments: { script: JSON.stringify(script("prompt")) } };
    const asked = await world.finish(who, prompt, { method: "prompts/get" });
    assert.deepEqual(asked.said?.answers, [replyTo(form("p"))], asked.told);
    const resource = { uri: scriptUri("one", script("resource")) };
    const read = await world.finish(who, resource, { method: "resources/read" });
    assert.deepEqual(read.said?.answers, [replyTo(form("p"))], read.told);
    assert.deepEqual(["prompt", "resource"].map(world.servers.one.begun), [1, 1]);
  });

  test("no and never mind are answers too", LIMIT, async () => {
    const who = await world.person();
    for (const action of ["decline", "cancel"]) {
      const params = scripted("one", `says-${action}`, [steps.ask(form("a"))]);
      const last = await world.finish(who, params, { reply: () => ({ action }) });
      assert.deepEqual(last.said?.answers, [{ action }], last.told);
    }
  });

  test("one session for one person's calls, another for another's", LIMIT, async () => {
    const [alice, bob] = [await world.person(), await world.person()];
    for (const [who, tag] of [
      [alice, "session-1"],
      [alice, "session-2"],
      [bob, "session-3"],
    ]) {
      const last = await world.finish(who, scripted("one", tag, [steps.ask(form("a"))]));
      assert.ok(last.said, last.told);
    }
    const [first, second, third] = [1, 2, 3].map(
      (number) => world.servers.one.call(`session-${number}`).requests[0],
    );
    assert.equal(first.session, second.session);
    assert.notEqual(first.id, second.id, "ids are used once in a session");
    assert.notEqual(first.session, third.session);
  });
});
