// Servers that hang, are down, come back, or are slower than others.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { namesOf, textOf } from "./fixtures/clients.mjs";
import { ask, eventsOf, send } from "./fixtures/rpc.mjs";
import { freePort, openStream, startUpstream, tool, writeEvent } from "./fixtures/upstream.mjs";
import { openWorld } from "./fixtures/world.mjs";

const LIMIT = { timeout: 120_000 };
const own = (names) => names.filter((name) => !name.startsWith("portal_"));

async function withServers(described, run) {
  const upstreams = {};
  let world;
  try {
    const servers = {};
    for (const [id, { settings, ...rest }] of Object.entries(described)) {
      upstreams[id] = await startUpstream(settings);
      servers[id] = { url: upstreams[id].url, ...rest };
    }
    world = await openWorld({ servers });
    await run(world, await world.token(), upstreams);
  } finally {
    await world?.stop();
    await Promise.all(Object.values(upstreams).map((upstream) => upstream.stop()));
  }
}

describe("one server that hangs: the nine others are listed and can be called", { concurrency: true }, () => {
  for (const place of [0, 9]) {
    test(`number ${place + 1} of ten`, LIMIT, () => {
      const described = {};
      for (let index = 0; index < 10; index += 1) {
        const intercept = () => (index === place ? new Promise(() => {}) : false);
        described[`s${index}`] = { settings: { tools: [tool("t")], intercept }, timeout_ms: 60_000 };
      }
      return withServers(described, async (world, token) => {
        const { answer } = await ask(world.url(), token, "tools/list", {}, { ms: 25_000 });
        const unavailable = answer.result._meta["portcullis/unavailableServers"] ?? [];
        assert.deepEqual(
          unavailable.map(({ server }) => server),
          [`s${place}`],
        );
        assert.equal(own(namesOf(answer.result.tools)).length, 9);
        const called = await ask(world.url(), token, "tools/call", { name: "s8_t", arguments: {} });
        assert.ok(called.answer.result, JSON.stringify(called.answer));
      });
    });
  }
});

test("a call to a server that hangs ends at the server's time-out, listing or not", LIMIT, () => {
  const hangs = { settings: { intercept: () => new Promise(() => {}) }, timeout_ms: 1_500 };
  return withServers({ hangs }, async (world, token) => {
    const began = Date.now();
    const { answer } = await ask(world.url(), token, "tools/call", { name: "hangs_t", arguments: {} });
    assert.match(answer.error.message, /'hangs'.*1500 ms/);
    assert.ok(Date.now() - began < 5_000, `${Date.now() - began} ms`);
  });
});

test("a server that was down at first use works soon after it comes up", LIMIT, async () => {
  const port = await freePort();
  const good = await startUpstream({ tools: [tool("work")] });
  const servers = { late: { url: `http://127.0.0.1:${port}/mcp` }, good: { url: good.url } };
  const world = await openWorld({ servers });
  let late;
  try {
    const token = await world.token();
    const names = async () => own(namesOf((await ask(world.url(), token, "tools/list")).answer.result.tools));
    assert.deepEqual(await names(), ["good_work"]);
    late = await startUpstream({ port, tools: [tool("work")] });
    await eventually(async () => (await names()).includes("late_work"), {
      ms: 6_500,
      what: "the late server's tool",
    });
    const { answer } = await ask(world.url(), token, "tools/call", { name: "late_work", arguments: {} });
    assert.equal(textOf(answer.result), "called work");
  } finally {
    await world.stop();
    await Promise.all([late?.stop(), good.stop()]);
  }
});

test("a server that goes down and comes back needs no new listing", LIMIT, async () => {
  let upstream = await startUpstream({ tools: [tool("work")] });
  const world = await openWorld({ servers: { srv: { url: upstream.url } } });
  try {
    const token = await world.token();
    const call = async () =>
      (await ask(world.url(), token, "tools/call", { name: "srv_work", arguments: {} })).answer;
    assert.ok((await call()).result);
    await upstream.stop();
    assert.match((await call()).error.message, /'srv'.*reach/);
    const { answer } = await ask(world.url(), token, "tools/list");
    assert.deepEqual(own(namesOf(answer.result.tools)), ["srv_work"], "what was known is still offered");
    upstream = await startUpstream({ port: upstream.port, tools: [tool("work")] });
    assert.equal(textOf((await call()).result), "called work");
  } finally {
    await world.stop();
    await upstream.stop();
  }
});

test("each server has its own time-out", LIMIT, () => {
  const call = () => new Promise((resolve) => setTimeout(() => resolve({ content: [] }), 1_500));
  const settings = { tools: [tool("slow")], call };
  const described = { hasty: { settings, timeout_ms: 400 }, patient: { settings, timeout_ms: 5_000 } };
  return withServers(described, async (world, token) => {
    const slow = (id) => ask(world.url(), token, "tools/call", { name: `${id}_slow`, arguments: {} });
    assert.ok((await slow("patient")).answer.result);
    const began = Date.now();
    assert.match((await slow("hasty")).answer.error.message, /'hasty'.*400 ms/);
    assert.ok(Date.now() - began < 1_400);
  });
});

describe("an answer that comes late on a stream", { concurrency: true }, () => {
  for (const era of ["legacy", "modern"]) {
    test(`of a ${era} server loses no message and is passed on while it comes`, LIMIT, () => {
      const call = async ({ message, response, isModern }) => {
        const { progressToken } = message.params._meta;
        openStream(response);
        response.write(": begun\n\n");
        for (const progress of [1, 2, 3]) {
          // Longer than the portal waits before it chooses a stream over plain JSON.
          await new Promise((resolve) => setTimeout(resolve, 1_300));
          const params = { progressToken, progress };
          writeEvent(response, { jsonrpc: "2.0", method: "notifications/progress", params });
        }
        await held;
        const result = {
          content: [{ type: "text", text: "late" }],
          ...(isModern ? { resultType: "complete" } : {}),
        };
        writeEvent(response, { jsonrpc: "2.0", id: message.id, result });
        response.end();
      };
      let letGo;
      const held = new Promise((resolve) => {
        letGo = resolve;
      });
      return withServers({ srv: { settings: { era, tools: [tool("t")], call } } }, async (world, token) => {
        const params = { name: "srv_t", arguments: {} };
        const meta = { progressToken: "mine" };
        const events = eventsOf(await send(world.url(), token, "tools/call", params, { meta }));
        for (const progress of [1, 2, 3]) {
          // The server holds its answer, so whatever comes has not waited for it.
          const heard = await events.message();
          assert.equal(heard.method, "notifications/progress");
          assert.deepEqual(heard.params, { progressToken: "mine", progress });
        }
        letGo();
        assert.equal(textOf((await events.message()).result), "late");
      });
    });
  }
});
