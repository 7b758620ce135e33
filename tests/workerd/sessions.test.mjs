// Sessions of the 2025 era, on both sides of the portal.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { eventually, within } from "../harness/bounded.mjs";
import { connectOne, connectTwo, textOf } from "./fixtures/clients.mjs";
import { ask, eventsOf, openSession, send } from "./fixtures/rpc.mjs";
import { openStream, startUpstream, tool, writeEvent, writeJson } from "./fixtures/upstream.mjs";
import { openWorld } from "./fixtures/world.mjs";

const LIMIT = { timeout: 60_000 };
/** How long a quiet stream stays without a sign of life, by the portal's own limit. */
const KEEP_ALIVE_MS = 15_000;
/** A server may be silent for longer than that. */
const SILENCE_MS = 50_000;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const upstreams = {};
let world;
let token;

/** A server whose tools are slow, ask, or say what they were asked. */
function startServer(id) {
  const waiting = new Map();
  return startUpstream({
    id,
    tools: ["echo", "slow", "ask", "hang"].map((name) => tool(name)),
    cancelled: [],
    answers: [],
    echoed: [],
    call: async ({ message, response, upstream }) => {
      const { name, arguments: input = {} } = message.params;
      if (name === "echo") upstream.echoed.push(input.text);
      const done = (text) => {
        writeEvent(response, {
          jsonrpc: "2.0",
          id: message.id,
          result: { content: [{ type: "text", text }] },
        });
        response.end();
      };
      if (name === "echo") return { content: [{ type: "text", text: `${id}:${input.text}` }] };
      openStream(response);
      response.write(":\n\n");
      if (name === "ask") {
        waiting.set(input.tag, done);
        const params = {
          message: `${id} asks ${input.tag}`,
          requestedSchema: { type: "object", properties: {} },
        };
        writeEvent(response, { jsonrpc: "2.0", id: input.askId ?? 1, method: "elicitation/create", params });
      } else if (name === "slow") {
        for (let progress = 1; progress <= input.steps; progress += 1) {
          await pause(input.everyMs);
          const params = { progressToken: message.params._meta?.progressToken ?? 0, progress };
          writeEvent(response, { jsonrpc: "2.0", method: "notifications/progress", params });
        }
        done(`${id}:slow:${input.tag}`);
      }
      return undefined;
    },
    notified(message) {
      if (message.method === "notifications/cancelled") this.cancelled.push(message.params.requestId);
      if (message.result || message.error) {
        this.answers.push(message);
        waiting.get(message.result?.content?.tag)?.(
          `${id}:${message.result.action}:${message.result.content.tag}`,
        );
      }
    },
  });
}

before(async () => {
  for (const id of ["one", "two"]) upstreams[id] = await startServer(id);
  const servers = Object.fromEntries(
    Object.entries(upstreams).map(([id, { url }]) => [id, { url, timeout_ms: SILENCE_MS }]),
  );
  world = await openWorld({ servers });
  token = await world.token();
}, LIMIT);
after(async () => {
  await world?.stop();
  await Promise.all(Object.values(upstreams).map((upstream) => upstream.stop()));
});

const callParams = (name, input = {}) => ({ name, arguments: input });

describe("an upstream that forgets its sessions between any two calls", () => {
  const CLIENTS = {
    "a 1.x client": () => connectOne(world.url(), token),
    "a 2.x legacy client": () => connectTwo(world.url(), token, { mode: "legacy" }),
    "a 2.x modern client": () => connectTwo(world.url(), token, { mode: "modern" }),
  };
  for (const [kind, connect] of Object.entries(CLIENTS)) {
    test(`${kind} never notices, in 100 calls`, LIMIT, async () => {
      const client = await connect();
      await client.listTools();
      upstreams.one.echoed.length = 0;
      const seen = [];
      for (let index = 0; index < 100; index += 1) {
        upstreams.one.killSessions();
        const result = await client.callTool(callParams("one_echo", { text: `${kind} ${index}` }));
        seen.push(textOf(result));
      }
      assert.deepEqual(
        seen,
        seen.map((_, index) => `one:${kind} ${index}`),
      );
      assert.deepEqual(
        upstreams.one.echoed,
        seen.map((_, index) => `${kind} ${index}`),
        "each done once",
      );
      await client.close();
    });
  }

  test("a server that says so with 400 and an odd body is believed as well", LIMIT, async () => {
    let armed = false;
    const odd = await startUpstream({
      tools: [tool("echo")],
      intercept: (_request, response, message) => {
        if (!armed || message?.method !== "tools/call") return false;
        armed = false;
        const error = { code: -32000, message: "Bad Request: No valid session ID provided" };
        writeJson(response, { jsonrpc: "2.0", error, id: null }, 400);
        return true;
      },
    });
    const other = await openWorld({ servers: { odd: { url: odd.url } } });
    try {
      for (let round = 0; round < 3; round += 1) {
        armed = round > 0;
        const { answer } = await ask(other.url(), await other.token(), "tools/call", callParams("odd_echo"));
        assert.equal(textOf(answer.result ?? { content: [answer] }), "called echo");
      }
      assert.equal(odd.count("tools/call"), 5);
    } finally {
      await other.stop();
      await odd.stop();
    }
  });
});

describe("a client's session", () => {
  test("ends with DELETE, on both sides", LIMIT, async () => {
    const session = await openSession(world.url(), token);
    await session.ask("tools/call", callParams("one_echo", { text: "x" }));
    const upstreamId = upstreams.one.last("tools/call").headers["mcp-session-id"];
    const deletes = upstreams.one.verbs.DELETE;
    assert.equal(await session.end(), 204);
    const gone = await session.ask("tools/list");
    assert.equal(gone.status, 404);
    assert.equal((await session.listen()).status, 404);
    await eventually(() => upstreams.one.verbs.DELETE > deletes, { what: "the upstream session's end" });
    assert.ok(upstreamId);
  });

  test("gets the rest of a cut call by Last-Event-ID, nothing twice and nothing lost", LIMIT, async () => {
    const session = await openSession(world.url(), token);
    const input = { steps: 6, everyMs: 200, tag: "cut" };
    const before = upstreams.one.count("tools/call");
    const events = eventsOf(await session.send("tools/call", callParams("one_slow", input), { id: 41 }));
    const seen = [];
    let lastId;
    while (seen.length < 2) {
      const event = await events.next();
      lastId = event.id ?? lastId;
      if (event.data) seen.push(JSON.parse(event.data).params.progress);
    }
    await events.cut();
    assert.ok(lastId);
    await pause(500);
    const rest = eventsOf(await session.listen(lastId));
    for (;;) {
      const event = await rest.next();
      assert.ok(event, "the rest ended before the answer");
      if (!event.data) continue;
      const message = JSON.parse(event.data);
      if (message.id === 41) {
        assert.equal(textOf(message.result), "one:slow:cut");
        break;
      }
      seen.push(message.params.progress);
    }
    assert.deepEqual(seen, [1, 2, 3, 4, 5, 6]);
    assert.equal(upstreams.one.count("tools/call"), before + 1);
    assert.ok(!upstreams.one.cancelled.includes(41), "going away is not cancelling");
    const again = eventsOf(await session.listen(lastId));
    await again.message(({ id }) => id === 41);
  });

  test("a Last-Event-ID of another session brings nothing of it", LIMIT, async () => {
    const mine = await openSession(world.url(), token);
    const input = { steps: 2, everyMs: 50, tag: "secret" };
    const first = await mine.send("tools/call", callParams("one_slow", input), { id: 1 });
    const { id: eventId } = await eventsOf(first).next();
    const other = await openSession(world.url(), await world.token("bob@acme.example"));
    const response = await other.listen(eventId);
    if (response.status === 200) {
      const events = eventsOf(response);
      const event = await events.next(1_500).catch(() => undefined);
      assert.ok(!JSON.stringify(event ?? {}).includes("secret"));
      await events.cut();
    }
  });

  test("hears on its own stream what a server sends outside of calls", LIMIT, async () => {
    const session = await openSession(world.url(), token);
    const events = eventsOf(await session.listen());
    await session.ask("tools/call", callParams("two_echo", { text: "x" }));
    await eventually(() => upstreams.two.listeners.size > 0, { what: "the portal's stream" });
    upstreams.two.push({
      method: "notifications/message",
      params: { level: "info", data: "out of the blue" },
    });
    const message = await events.message(({ method }) => method === "notifications/message");
    assert.equal(message.params.data, "out of the blue");
    await events.cut();
  });
});

test("two servers ask at once under the same id: each gets its own answer", LIMIT, async () => {
  const session = await openSession(world.url(), token, { capabilities: { elicitation: {} } });
  const calls = {};
  for (const id of ["one", "two"]) {
    const params = callParams(`${id}_ask`, { tag: id, askId: 1 });
    calls[id] = eventsOf(await session.send("tools/call", params, { id: `call-${id}` }));
  }
  const questions = {};
  for (const id of ["one", "two"]) {
    questions[id] = await calls[id].message(({ method }) => method === "elicitation/create");
    assert.equal(questions[id].params.message, `${id} asks ${id}`);
  }
  assert.notEqual(questions.one.id, questions.two.id);
  for (const id of ["two", "one"]) {
    await session.answer(questions[id].id, { action: "accept", content: { tag: id } });
    const { result } = await calls[id].message((message) => message.id === `call-${id}`);
    assert.equal(textOf(result), `${id}:accept:${id}`);
  }
  const twice = await session.answer(questions.one.id, { action: "accept", content: { tag: "one" } });
  assert.equal(twice.status, 400, "a question is answered once");
  assert.equal(upstreams.one.answers.at(-1).id, 1, "under the server's own id");
});

describe("cancelling", () => {
  test("a legacy client's goes to the server that does the call, and to no other", LIMIT, async () => {
    const session = await openSession(world.url(), token);
    const running = {};
    for (const id of ["one", "two"]) {
      running[id] = eventsOf(await session.send("tools/call", callParams(`${id}_hang`), { id: `c-${id}` }));
    }
    const before = upstreams.one.cancelled.length;
    await session.notify("notifications/cancelled", { requestId: "c-two", reason: "enough" });
    await eventually(() => upstreams.two.cancelled.includes("c-two"), { what: "the cancellation" });
    assert.equal(upstreams.one.cancelled.length, before);
    for (const id of ["one", "two"]) await running[id].cut();
  });

  // Local workerd learns that a client has gone only when it writes to it, so something must be written.
  describe("a modern client that goes away ends its call on a legacy server", { concurrency: true }, () => {
    for (const [what, name, input, meta] of [
      ["while messages flow", "slow", { steps: 100, everyMs: 200, tag: "flow" }, { progressToken: "mine" }],
      ["while what flows is not for it", "slow", { steps: 200, everyMs: 200, tag: "foreign" }, {}],
      ["while nothing but keep-alives can", "hang", { tag: "quiet" }, {}],
    ]) {
      test(what, LIMIT, async () => {
        const controller = new AbortController();
        const params = callParams(`one_${name}`, input);
        const options = { meta, signal: controller.signal };
        const response = await send(world.url(), token, "tools/call", params, options);
        assert.equal(response.status, 200);
        const isThis = ({ message }) => message.params?.arguments?.tag === input.tag;
        const { message } = upstreams.one.received.find(isThis);
        controller.abort();
        // The first of two keep-alives may be written before the connection is known to be closed.
        await eventually(() => upstreams.one.cancelled.includes(message.id), {
          ms: 2 * KEEP_ALIVE_MS + 5_000,
          what: "the cancellation",
        });
      });
    }

    test("and one that stays hears a comment", LIMIT, async () => {
      const params = callParams("one_hang", { tag: "patient" });
      const response = await send(world.url(), token, "tools/call", params, { ms: 2 * KEEP_ALIVE_MS });
      const reader = response.body.getReader();
      const { value } = await within(reader.read(), KEEP_ALIVE_MS + 5_000, "the keep-alive");
      assert.match(Buffer.from(value).toString(), /^:/);
      await reader.cancel();
    });
  });
});

describe("equal ids of different requests", () => {
  test("of two sessions", LIMIT, async () => {
    const sessions = await Promise.all([1, 2].map(() => openSession(world.url(), token)));
    const answers = await Promise.all(
      sessions.map((session, index) => {
        const params = callParams("one_slow", { steps: 2, everyMs: 100, tag: index });
        return session.ask("tools/call", params, { id: 9 });
      }),
    );
    assert.deepEqual(
      answers.map(({ answer }) => textOf(answer.result)),
      ["one:slow:0", "one:slow:1"],
    );
  });

  test("of two modern requests reach a legacy server as two", LIMIT, async () => {
    const make = (tag) =>
      ask(world.url(), token, "tools/call", callParams("one_slow", { steps: 2, everyMs: 200, tag }), {
        id: 9,
      });
    const answers = await Promise.all([make("a"), make("b")]);
    assert.deepEqual(
      answers.map(({ answer }) => textOf(answer.result)),
      ["one:slow:a", "one:slow:b"],
    );
    const calls = upstreams.one.received.filter(({ message }) => message.params?.name === "slow").slice(-2);
    const inSession = calls.map(({ message, headers }) => `${headers["mcp-session-id"]} ${message.id}`);
    assert.notEqual(inSession[0], inSession[1], "one id is used once in a session (JSON-RPC 2.0, MCP basic)");
  });
});
