// Every pairing of a client's era with a server's, on the wire.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { connectTwo, textOf } from "./fixtures/clients.mjs";
import { ask, openSession } from "./fixtures/rpc.mjs";
import { openStream, startUpstream, tool, writeEvent } from "./fixtures/upstream.mjs";
import { openWorld } from "./fixtures/world.mjs";

const LIMIT = { timeout: 60_000 };
const MODERN_META = "io.modelcontextprotocol/protocolVersion";
const TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const upstreams = {};
let world;
let token;
let session;

const offered = {
  tools: [
    tool("read"),
    tool("slow"),
    tool("write", { annotations: { readOnlyHint: false } }),
    tool("asks", { annotations: { readOnlyHint: false } }),
    tool("fails"),
    tool("breaks"),
    tool("structured", { outputSchema: { type: "object", properties: { n: { type: "number" } } } }),
  ],
  prompts: [{ name: "greet", arguments: [{ name: "who" }] }],
};

/** The same things in the form of either era. */
async function serve({ message, response, isModern, upstream }) {
  const { method, params } = message;
  if (method === "resources/read") return { contents: [{ uri: params.uri, text: `text of ${params.uri}` }] };
  if (method === "prompts/get") {
    return {
      messages: [{ role: "user", content: { type: "text", text: `Hello ${params.arguments?.who}` } }],
    };
  }
  if (method === "completion/complete") return { completion: { values: [`${params.argument.value}!`] } };
  if (method === "resources/subscribe" || method === "logging/setLevel") return {};
  if (params.name === "fails") return { content: [{ type: "text", text: "no luck" }], isError: true };
  if (params.name === "breaks")
    return { rpcError: { code: -32050, message: "broken", data: { why: "test" } } };
  if (params.name === "structured")
    return { content: [{ type: "text", text: "1" }], structuredContent: { n: 1 } };
  if (params.name === "slow") {
    openStream(response);
    const progressToken = params._meta?.progressToken;
    for (const progress of [1, 2]) {
      const note = { jsonrpc: "2.0", method: "notifications/progress", params: { progressToken, progress } };
      if (progressToken !== undefined) writeEvent(response, note);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const result = {
      content: [{ type: "text", text: "slow done" }],
      ...(isModern ? { resultType: "complete" } : {}),
    };
    writeEvent(response, { jsonrpc: "2.0", id: message.id, result });
    response.end();
    return undefined;
  }
  if (params.name === "asks") {
    if (isModern) {
      if (params.inputResponses)
        return { content: [{ type: "text", text: `got ${params.inputResponses.q.action}` }] };
      const form = { mode: "form", message: "Sure?", requestedSchema: { type: "object", properties: {} } };
      return {
        resultType: "input_required",
        inputRequests: { q: { method: "elicitation/create", params: form } },
        requestState: "plain state",
      };
    }
    openStream(response);
    writeEvent(response, {
      jsonrpc: "2.0",
      id: 77,
      method: "elicitation/create",
      params: { message: "Sure?", requestedSchema: { type: "object", properties: {} } },
    });
    upstream.waiting = (answer) => {
      const said = answer.result ? `got ${answer.result.action}` : `refused ${answer.error.code}`;
      writeEvent(response, {
        jsonrpc: "2.0",
        id: message.id,
        result: { content: [{ type: "text", text: said }] },
      });
      response.end();
    };
    return undefined;
  }
  return { content: [{ type: "text", text: `${upstream.id} did ${params.name}` }] };
}

function startServer(id, options = {}) {
  return startUpstream({
    id,
    ...offered,
    resources: [{ uri: `${id}://one`, name: "one" }],
    templates: [{ uriTemplate: `${id}://t/{x}`, name: "t" }],
    call: serve,
    notified(message) {
      if (message.id === 77) this.waiting?.(message);
    },
    ...options,
  });
}

before(async () => {
  upstreams.old = await startServer("old", { era: "legacy" });
  upstreams.new = await startServer("new", { era: "modern" });
  upstreams.both = await startServer("both", { era: "both" });
  const servers = Object.fromEntries(Object.entries(upstreams).map(([id, { url }]) => [id, { url }]));
  world = await openWorld({ servers });
  token = await world.token();
  session = await openSession(world.url(), token);
}, LIMIT);

after(async () => {
  await world?.stop();
  await Promise.all(Object.values(upstreams).map((upstream) => upstream.stop()));
});

const modern = (method, params, options) => ask(world.url(), token, method, params, options);
const CLIENTS = {
  modern: (method, params, options) => modern(method, params, options),
  legacy: (method, params, { meta, ...options } = {}) =>
    session.ask(method, meta ? { ...params, _meta: meta } : params, options),
};

for (const [era, send] of Object.entries(CLIENTS)) {
  for (const server of ["old", "new", "both"]) {
    describe(`a ${era} client on ${server}`, () => {
      const spoken = { old: "legacy", new: "modern", both: era }[server];

      test("calls a tool, in the server's era", LIMIT, async () => {
        const { answer, status } = await send("tools/call", {
          name: `${server}_read`,
          arguments: { a: [1, "ü"] },
        });
        assert.equal(status, 200);
        assert.equal(textOf(answer.result), `${server} did read`);
        const { message, headers } = upstreams[server].last("tools/call");
        assert.equal(message.params.name, "read");
        assert.deepEqual(message.params.arguments, { a: [1, "ü"] });
        assert.equal(Boolean(message.params._meta?.[MODERN_META]), spoken === "modern");
        if (spoken === "modern") {
          assert.equal(headers["mcp-protocol-version"], "2026-07-28");
          assert.equal(headers["mcp-method"], "tools/call");
          assert.equal(headers["mcp-name"], "read");
          assert.equal(headers["mcp-session-id"], undefined);
        } else {
          assert.equal(headers["mcp-protocol-version"], "2025-11-25");
          assert.ok(headers["mcp-session-id"]);
          assert.equal(headers["mcp-method"], undefined);
        }
        assert.equal(headers.authorization, undefined, "the caller's token goes nowhere");
      });

      test("results carry what their era requires", LIMIT, async () => {
        const called = (await send("tools/call", { name: `${server}_structured`, arguments: {} })).answer
          .result;
        assert.deepEqual(called.structuredContent, { n: 1 });
        const read = (await send("resources/read", { uri: `${server}://one` })).answer.result;
        assert.equal(read.contents[0].text, `text of ${server}://one`);
        const prompt = (await send("prompts/get", { name: `${server}_greet`, arguments: { who: "Bo" } }))
          .answer.result;
        assert.equal(prompt.messages[0].content.text, "Hello Bo");
        if (era === "modern") {
          for (const result of [called, read, prompt]) assert.equal(result.resultType, "complete");
          assert.equal(typeof read.ttlMs, "number");
          assert.match(read.cacheScope, /^(private|public)$/);
        }
      });

      test("listings carry what their era requires", LIMIT, async () => {
        for (const method of ["tools/list", "prompts/list", "resources/list", "resources/templates/list"]) {
          const { result } = (await send(method, {})).answer;
          if (era === "modern") {
            assert.equal(result.resultType, "complete", method);
            assert.equal(typeof result.ttlMs, "number", method);
            assert.equal(result.cacheScope, "private", method);
          } else {
            assert.equal(result.resultType, undefined, method);
          }
        }
      });

      test("completes a prompt's and a template's argument", LIMIT, async () => {
        const argument = { name: "who", value: "B" };
        for (const ref of [
          { type: "ref/prompt", name: `${server}_greet` },
          { type: "ref/resource", uri: `${server}://t/{x}` },
        ]) {
          const { answer } = await send("completion/complete", { ref, argument });
          assert.deepEqual(answer.result?.completion.values, ["B!"], JSON.stringify(answer));
        }
        const sent = upstreams[server].received.filter(
          ({ message }) => message.method === "completion/complete",
        );
        assert.equal(sent.at(-2).message.params.ref.name, "greet");
      });

      test("trace context and progress tokens reach the server, progress comes back", LIMIT, async () => {
        const meta = { traceparent: TRACE, tracestate: "a=b", progressToken: `p-${era}-${server}` };
        const { answer, messages } = await send(
          "tools/call",
          { name: `${server}_slow`, arguments: {} },
          { meta },
        );
        assert.equal(textOf(answer.result), "slow done");
        const { id, params: asked } = upstreams[server].last("tools/call").message;
        const sent = asked._meta;
        assert.equal(sent.traceparent, TRACE);
        assert.equal(sent.tracestate, "a=b");
        if (era === "modern" && spoken === "legacy") {
          // One session serves many requests there, so ids and tokens in it are the portal's own.
          assert.match(id, /^[0-9a-f]{32}$/);
          assert.equal(sent.progressToken, id);
        } else {
          assert.equal(sent.progressToken, meta.progressToken);
        }
        const progress = messages.filter(({ method }) => method === "notifications/progress");
        assert.deepEqual(
          progress.map(({ params }) => params.progress),
          [1, 2],
        );
        assert.ok(progress.every(({ params }) => params.progressToken === meta.progressToken));
      });

      test("a tool's error and a protocol error stay what they are", LIMIT, async () => {
        const failed = (await send("tools/call", { name: `${server}_fails`, arguments: {} })).answer;
        assert.equal(failed.result.isError, true);
        const broken = (await send("tools/call", { name: `${server}_breaks`, arguments: {} })).answer;
        assert.equal(broken.error.code, -32050);
        assert.equal(broken.error.message, "broken");
        assert.deepEqual(broken.error.data, { why: "test" });
      });

      test("ids of every allowed shape come back as they were", LIMIT, async () => {
        for (const id of [0, -5, 9_007_199_254_740_991, 'ü-"quoted"', ""]) {
          const { answer } = await send("tools/call", { name: `${server}_read`, arguments: {} }, { id });
          assert.equal(answer.id, id, JSON.stringify(answer));
        }
      });
    });
  }
}

describe("a server that asks in the middle of a call", () => {
  const params = (server) => ({ name: `${server}_asks`, arguments: {} });

  test("modern on modern: the input and the sealed state go round", LIMIT, async () => {
    const first = (await modern("tools/call", params("new"), { capabilities: { elicitation: {} } })).answer
      .result;
    assert.equal(first.resultType, "input_required");
    assert.equal(first.inputRequests.q.params.message, "Sure?");
    assert.ok(!first.requestState.includes("plain state"), "the state is sealed");
    const again = {
      ...params("new"),
      inputResponses: { q: { action: "accept", content: {} } },
      requestState: first.requestState,
    };
    const second = (await modern("tools/call", again, { capabilities: { elicitation: {} } })).answer;
    assert.equal(textOf(second.result), "got accept");
    assert.equal(upstreams.new.last("tools/call").message.params.requestState, "plain state");
    const other = await world.token("bob@acme.example");
    const stolen = (await ask(world.url(), other, "tools/call", again)).answer;
    assert.equal(stolen.error?.code, -32602, "another person's state is refused");
    const moved = (await modern("tools/call", { ...again, name: "new_read" })).answer;
    assert.equal(moved.error?.code, -32602, "another tool's state is refused");
  });

  test("legacy on legacy: the question reaches the client, its answer the server", LIMIT, async () => {
    const asking = await openSession(world.url(), token, { capabilities: { elicitation: {} } });
    const response = await asking.send("tools/call", params("old"), { id: 5 });
    const { eventsOf } = await import("./fixtures/rpc.mjs");
    const events = eventsOf(response);
    const question = await events.message(({ method }) => method === "elicitation/create");
    assert.equal(question.params.message, "Sure?");
    assert.equal((await asking.answer(question.id, { action: "decline" })).status, 202);
    const done = await events.message(({ id }) => id === 5);
    assert.equal(textOf(done.result), "got decline");
  });

  test("legacy on modern: the question reaches the client, its answer the server", LIMIT, async () => {
    const asking = await openSession(world.url(), token, { capabilities: { elicitation: {} } });
    const response = await asking.send("tools/call", params("new"), { id: 5 });
    const { eventsOf } = await import("./fixtures/rpc.mjs");
    const events = eventsOf(response);
    const question = await events.message(({ method }) => method === "elicitation/create");
    assert.equal(question.params.message, "Sure?");
    assert.equal((await asking.answer(question.id, { action: "decline" })).status, 202);
    const done = await events.message(({ id }) => id === 5);
    assert.match(textOf(done.result), /decline/);
  });

  test("modern on legacy: the question is a result, the retry ends the same call", LIMIT, async () => {
    const capabilities = { elicitation: {} };
    const asked = (await modern("tools/call", params("old"), { capabilities })).answer.result;
    assert.equal(asked.resultType, "input_required");
    const [[key, question]] = Object.entries(asked.inputRequests);
    assert.equal(question.params.message, "Sure?");
    const calls = () =>
      upstreams.old.received.filter(({ message: each }) => each?.method === "tools/call").length;
    const before = calls();
    const retry = {
      ...params("old"),
      requestState: asked.requestState,
      inputResponses: { [key]: { action: "decline" } },
    };
    const done = (await modern("tools/call", retry, { capabilities })).answer;
    assert.equal(textOf(done.result), "got decline");
    assert.equal(calls(), before);
  });

  test("modern on legacy, a client that cannot be asked: the server is told so", LIMIT, async () => {
    await modern("tools/call", params("old"), { ms: 5_000 }).catch(() => {});
    const heard = (fits) => upstreams.old.received.some(({ message: each }) => fits(each));
    await eventually(() => heard(({ id, error }) => id === 77 && error?.code === -32601), {
      what: "its question is declined, not left open",
    });
  });
});

test("each older revision is negotiated and works", LIMIT, async () => {
  for (const revision of ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]) {
    const opened = await openSession(world.url(), token, { revision });
    assert.equal(opened.initialized.answer.result.protocolVersion, revision);
    for (const server of ["old", "new"]) {
      const { answer } = await opened.ask("tools/call", { name: `${server}_read`, arguments: {} });
      assert.equal(textOf(answer.result), `${server} did read`, revision);
    }
    const listed = (await opened.ask("tools/list")).answer.result.tools;
    assert.ok(listed.length > 10);
    assert.equal(await opened.end(), 204);
  }
  const unknown = await openSession(world.url(), token, { revision: "2020-01-01" });
  assert.equal(unknown.initialized.answer.result.protocolVersion, "2025-11-25");
});

test("a server of an older revision is spoken to in that revision", LIMIT, async () => {
  for (const revision of ["2024-11-05", "2025-03-26", "2025-06-18"]) {
    const old = await startServer("aged", { era: "legacy", revision });
    const other = await openWorld({ servers: { aged: { url: old.url } } });
    try {
      const client = await connectTwo(other.url(), await other.token());
      assert.equal(textOf(await client.callTool({ name: "aged_read", arguments: {} })), "aged did read");
      const { headers } = old.last("tools/call");
      assert.equal(headers["mcp-protocol-version"], revision >= "2025-06-18" ? revision : undefined);
      await client.close();
    } finally {
      await other.stop();
      await old.stop();
    }
  }
});
