// What a client never declared it is never asked, and what the server reports arrives.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { form, roots, sampling, steps, visit } from "./fixtures/asking_legacy_steps.mjs";
import { CAPABILITIES, openAskingWorld, replyTo, retry, scripted } from "./fixtures/asking_legacy_world.mjs";
import { eventsOf, send } from "./fixtures/rpc.mjs";

const LIMIT = { timeout: 40_000 };
const TOGETHER = { concurrency: true };
const LEVEL = "io.modelcontextprotocol/logLevel";
let world;
let server;

before(async () => {
  world = await openAskingWorld({ servers: { plain: {} } });
  server = world.servers.plain;
}, LIMIT);
after(() => world?.stop());

describe("what a client did not declare", TOGETHER, () => {
  const ALL = { form: form("a"), url: visit("b"), sampling: sampling("c"), roots: roots() };
  const DECLARED = {
    nothing: [{}, []],
    "elicitation, which means forms": [{ elicitation: {} }, ["form"]],
    forms: [{ elicitation: { form: {} } }, ["form"]],
    pages: [{ elicitation: { url: {} } }, ["url"]],
    "its model": [{ sampling: {} }, ["sampling"]],
    "its roots": [{ roots: {} }, ["roots"]],
    "something of its own": [{ extensions: { "x.example/y": {} } }, []],
  };
  for (const [name, [capabilities, answered]] of Object.entries(DECLARED)) {
    test(`${name}: is refused at once, and the call goes on`, LIMIT, async () => {
      const who = await world.person();
      const params = scripted("plain", `declares ${name}`, [steps.ask(...Object.values(ALL))]);
      const first = await world.round(who, params, { capabilities });
      const wanted = answered.map((kind) => ALL[kind].method);
      assert.deepEqual(
        first.asked.map(([, { method }]) => method),
        wanted,
        first.told,
      );
      const last = await world.finish(who, params, { round: first, capabilities });
      for (const [index, kind] of Object.keys(ALL).entries()) {
        const answer = last.said?.answers[index];
        if (answered.includes(kind)) assert.deepEqual(answer, replyTo(ALL[kind]), last.told);
        else assert.ok(answer?.refused < 0, `${kind}: ${last.told}`);
      }
      const { session } = server.call(params.arguments.tag).requests[0];
      const told = server.initialized.find((each) => each.session === session).capabilities;
      const { elicitation, sampling: model, roots: listed } = capabilities;
      assert.deepEqual(
        { elicitation: told.elicitation, sampling: told.sampling, roots: told.roots && {} },
        { elicitation, sampling: model, roots: listed },
        "the server was told what the client declared",
      );
      if (name === "nothing") assert.deepEqual(told, {});
    });
  }

  test("a client that declares more later is a client of its own", LIMIT, async () => {
    const who = await world.person();
    const input = [steps.ask(form("a"))];
    const bare = await world.round(who, scripted("plain", "bare", input), { capabilities: {} });
    assert.ok(bare.said?.answers[0].refused < 0, bare.told);
    const able = await world.finish(who, scripted("plain", "able", input));
    assert.deepEqual(able.said?.answers, [replyTo(form("a"))], able.told);
    const again = await world.round(who, scripted("plain", "bare again", input), { capabilities: {} });
    assert.ok(again.said?.answers[0].refused < 0, again.told);
  });
});

describe("what the server reports", TOGETHER, () => {
  const levels = ["debug", "info", "warning", "error"];
  const script = [...levels.map((level) => steps.log(level, `${level}!`)), steps.progress(3)];
  const methods = (round) => round.messages.filter(({ method }) => method);

  for (const [wanted, heard] of Object.entries({
    debug: levels,
    warning: ["warning", "error"],
    emergency: [],
    none: [],
  })) {
    test(`with a log level of ${wanted}, before the question and after the answer`, LIMIT, async () => {
      const who = await world.person();
      const tag = `logs ${wanted}`;
      const params = scripted("plain", tag, [...script, steps.ask(form("a")), ...script]);
      const meta = wanted === "none" ? {} : { [LEVEL]: wanted };
      const first = await world.round(who, params, { meta: { ...meta, progressToken: "first" } });
      assert.ok(first.state, first.told);
      const answered = retry(params, first);
      const last = await world.round(who, answered, { meta: { ...meta, progressToken: "second" } });
      assert.ok(last.said, last.told);
      for (const [round, token] of [
        [first, "first"],
        [last, "second"],
      ]) {
        const logs = methods(round).filter(({ method }) => method === "notifications/message");
        assert.deepEqual(
          logs.map(({ params: { level, data } }) => [level, data]),
          heard.map((level) => [level, `${level}!`]),
        );
        const reports = methods(round).filter(({ method }) => method === "notifications/progress");
        assert.deepEqual(
          reports.map(({ params: report }) => report),
          [1, 2, 3].map((progress) => ({ progressToken: token, progress, total: 3 })),
        );
      }
    });
  }

  test("comes while it happens, in its order", LIMIT, async () => {
    const who = await world.person();
    const params = scripted("plain", "live", [steps.progress(1), steps.log("error", "x"), steps.gate()]);
    const options = { capabilities: CAPABILITIES, meta: { [LEVEL]: "info", progressToken: 7 } };
    const events = eventsOf(await send(world.url, who.token, "tools/call", params, options));
    assert.deepEqual((await events.message()).params, { progressToken: 7, progress: 1, total: 1 });
    assert.equal((await events.message()).params.data, "x");
    assert.equal(server.call("live").isDone, false, "it holds its answer, so nothing waited for it");
    server.let("live");
    assert.ok((await events.message(({ method }) => !method)).result);
  });

  test("of one call stays out of another's stream", LIMIT, async () => {
    const who = await world.person();
    const meta = (token) => ({ [LEVEL]: "debug", progressToken: token });
    const rounds = await Promise.all(
      ["x", "y"].map((name) => {
        const own = [steps.progress(3, 30), steps.log("error", name), steps.progress(3, 30)];
        return world.round(who, scripted("plain", `apart ${name}`, own), { meta: meta(name) });
      }),
    );
    for (const [index, name] of ["x", "y"].entries()) {
      const said = methods(rounds[index]).map(({ params: { progressToken, data } }) => progressToken ?? data);
      assert.deepEqual(said, Array(7).fill(name), rounds[index].told);
    }
  });
});
