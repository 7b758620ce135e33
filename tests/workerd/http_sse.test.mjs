// Servers that speak the transport of 2024-11-05: found, listed and called, and nothing of theirs goes elsewhere.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { eventually, within } from "../harness/bounded.mjs";
import { connectOne, connectTwo, namesOf, textOf } from "./fixtures/clients.mjs";
import { startEverything } from "./fixtures/everything.mjs";
import { ask, eventsOf, openSession, send } from "./fixtures/rpc.mjs";
import { startScript, writeNamed } from "./fixtures/sse_script.mjs";
import { startSdkServer } from "./fixtures/sse_sdk.mjs";
import { startUpstream, tool } from "./fixtures/upstream.mjs";
import { openWorld } from "./fixtures/world.mjs";

const LIMIT = { timeout: 60_000 };
const SECRET = "secret-of-sdk-41c7";
const TIMEOUT_MS = 3_000;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const callParams = (name, input = {}) => ({ name, arguments: input });

/** A world of one scripted server, and its end. */
async function withScript(options, server, run) {
  const script = await startScript(options);
  const world = await openWorld({
    servers: { script: { url: script.url, timeout_ms: TIMEOUT_MS, ...server } },
  });
  try {
    await run(script, world, await world.token());
  } finally {
    await world.stop();
    await script.stop();
  }
}

/** A listing's names, and all that the portal says with it: why something is missing. */
async function listingOf(world, token) {
  const { answer, text } = await ask(world.url(), token, "tools/list");
  return { names: namesOf(answer.result?.tools ?? []), said: text };
}

describe("a server of the official SDK that speaks HTTP+SSE alone", () => {
  let sdk;
  let world;
  let token;

  before(async () => {
    sdk = await startSdkServer();
    world = await openWorld({
      servers: {
        sdk: { url: sdk.url, auth: { kind: "bearer", secret: "UPSTREAM_SDK" }, timeout_ms: 10_000 },
      },
      start: {
        secrets: { UPSTREAM_SDK: SECRET },
        vars: { SECRET_HOSTS: JSON.stringify({ UPSTREAM_SDK: ["127.0.0.1"] }) },
      },
    });
    token = await world.token();
  }, LIMIT);

  after(async () => {
    await world?.stop();
    await sdk?.stop();
  });

  const CLIENTS = {
    "a 1.x client": () => connectOne(world.url(), token),
    "a 2.x legacy client": () => connectTwo(world.url(), token, { mode: "legacy" }),
    "a 2.x modern client": () => connectTwo(world.url(), token, { mode: "modern" }),
  };
  for (const [kind, connect] of Object.entries(CLIENTS)) {
    test(`${kind} finds it, lists it and calls it`, LIMIT, async () => {
      const client = await connect();
      const { tools } = await client.listTools();
      assert.ok(namesOf(tools).includes("sdk_echo"), JSON.stringify(namesOf(tools)));
      for (let index = 0; index < 5; index += 1) {
        const result = await client.callTool(callParams("sdk_echo", { words: `${kind} ${index}` }));
        assert.equal(textOf(result), `echo ${kind} ${index}`);
      }
      assert.equal(textOf(await client.callTool(callParams("sdk_write"))), "written");
      const prompt = await client.getPrompt({ name: "sdk_greet", arguments: { who: "Ada" } });
      assert.equal(prompt.messages[0].content.text, "Hello Ada");
      const { contents } = await client.readResource({ uri: "sdk://one" });
      assert.equal(contents[0].text, "one");
      await client.close();
      await eventually(() => sdk.open() === 0, { what: "the end of every connection" });
    });
  }

  test("its credential goes with every request, and the client's own with none", LIMIT, async () => {
    assert.ok(sdk.seen.some(({ verb, path }) => verb === "GET" && path === "/sse"));
    assert.ok(sdk.seen.some(({ verb, path }) => verb === "POST" && path === "/messages"));
    for (const { verb, path, headers } of sdk.seen) {
      assert.equal(headers.authorization, `Bearer ${SECRET}`, `${verb} ${path}`);
    }
    assert.ok(!JSON.stringify(sdk.seen).includes(token));
  });

  test("once known it is asked for its stream first, and never again in vain", LIMIT, async () => {
    sdk.seen.length = 0;
    await ask(world.url(), token, "tools/call", callParams("sdk_echo", { words: "x" }));
    assert.deepEqual(
      sdk.seen.map(({ verb, path }) => `${verb} ${path}`),
      ["GET /sse", "POST /messages", "POST /messages", "POST /messages"],
    );
  });

  test("calls at once do not get in each other's way", LIMIT, async () => {
    const words = Array.from({ length: 12 }, (_, index) => `at once ${index}`);
    const results = await Promise.all(
      words.map((each) => ask(world.url(), token, "tools/call", callParams("sdk_echo", { words: each }))),
    );
    assert.deepEqual(
      results.map(({ answer }) => textOf(answer.result)),
      words.map((each) => `echo ${each}`),
    );
  });

  test("progress comes in order before the answer", LIMIT, async () => {
    const meta = { progressToken: "mine" };
    const { messages } = await ask(world.url(), token, "tools/call", callParams("sdk_count"), { meta });
    assert.deepEqual(
      messages.map(({ params }) => params && [params.progressToken, params.progress]),
      [["mine", 1], ["mine", 2], ["mine", 3], undefined],
    );
    const client = await connectOne(world.url(), token);
    const seen = [];
    const onprogress = ({ progress }) => seen.push(progress);
    const result = await client.callTool(callParams("sdk_count"), undefined, { onprogress });
    assert.equal(textOf(result), "counted");
    assert.deepEqual(seen, [1, 2, 3]);
    await client.close();
  });

  test("it asks the person in the middle of a call, in several calls at once", LIMIT, async () => {
    const client = await connectOne(world.url(), token, {
      capabilities: { elicitation: {} },
      prepare: (each) =>
        each.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
          await pause(params.message === "first" ? 600 : 200);
          return { action: "accept", content: { name: `for ${params.message}` } };
        }),
    });
    const abouts = ["first", "second", "third"];
    const asked = abouts.map((about) => client.callTool(callParams("sdk_ask", { about })));
    const results = await within(Promise.all(asked), 20_000, "the questions");
    assert.deepEqual(
      results.map(textOf),
      abouts.map((about) => `${about} accept for ${about}`),
    );
    await client.close();
    await eventually(() => sdk.open() === 0, { what: "the end of every connection" });
  });

  test("a person who takes longer than the time-out is waited for", LIMIT, async () => {
    const session = await openSession(world.url(), token, { capabilities: { elicitation: {} } });
    const response = await session.send("tools/call", callParams("sdk_ask", { about: "slowly" }), { id: 9 });
    const events = eventsOf(response);
    const question = await events.message(({ method }) => method === "elicitation/create");
    await pause(12_000);
    await session.answer(question.id, { action: "accept", content: { name: "late" } });
    const answer = await events.message(({ id }) => id === 9);
    assert.equal(textOf(answer.result), "slowly accept late");
    const again = await session.answer(question.id, { action: "accept", content: {} });
    assert.equal(again.status, 400, "a question is answered once");
    await session.end();
  });

  test("a modern client is asked too, and answers with its next request", LIMIT, async () => {
    const capabilities = { elicitation: {} };
    const params = callParams("sdk_ask", { about: "bridged" });
    const call = (more = {}) =>
      ask(world.url(), token, "tools/call", { ...params, ...more }, { capabilities });
    const first = (await call()).answer.result;
    assert.equal(first.resultType, "input_required", JSON.stringify(first));
    const [[key, { method, params: asked }]] = Object.entries(first.inputRequests);
    assert.deepEqual([method, asked.message], ["elicitation/create", "bridged"]);
    assert.equal(sdk.open(), 1, "the call waits on its connection");
    const inputResponses = { [key]: { action: "accept", content: { name: "Ada" } } };
    const second = (await call({ inputResponses, requestState: first.requestState })).answer;
    assert.equal(textOf(second.result), "bridged accept Ada");
    await eventually(() => sdk.open() === 0, { what: "the end of the connection" });
  });

  test("a client that cancels ends the call at the server", LIMIT, async () => {
    const before = sdk.cancelled;
    const session = await openSession(world.url(), token);
    const response = await session.send("tools/call", callParams("sdk_wait"), { id: 77 });
    await eventually(() => sdk.open() === 1, { what: "the call" });
    await session.notify("notifications/cancelled", { requestId: 77 });
    await eventually(() => sdk.cancelled > before, { what: "the cancellation" });
    await response.body.cancel();
    await session.end();
  });

  test("a modern client that leaves ends the call and its connection", LIMIT, async () => {
    await eventually(() => sdk.open() === 0, { ms: 20_000, what: "a quiet server" });
    const before = sdk.cancelled;
    const gone = new AbortController();
    const calling = send(world.url(), token, "tools/call", callParams("sdk_wait"), { signal: gone.signal });
    await eventually(() => sdk.open() === 1, { what: "the call" });
    await pause(1_500);
    gone.abort();
    await calling.then((response) => response.body?.cancel()).catch(() => {});
    const isOver = () => sdk.cancelled > before && sdk.open() === 0;
    // The platform may notice only when something is written, and the server's time-out ends it at the latest.
    await eventually(isOver, { ms: 20_000, what: "the end of the call" });
  });

  test("a large answer passes whole", LIMIT, async () => {
    const bytes = 2 * 1024 * 1024;
    const { answer } = await ask(world.url(), token, "tools/call", callParams("sdk_large", { bytes }));
    assert.equal(textOf(answer.result).length, bytes);
  });

  test("each call leaves its rows", LIMIT, async () => {
    const rows = await eventually(async () => {
      const sql = "SELECT kind, status, reason FROM audit_events WHERE server = 'sdk' AND target = 'write'";
      const found = await world.portal.d1(sql);
      return found.length >= 6 ? found : undefined;
    });
    assert.equal(rows.filter(({ kind }) => kind === "intent").length, 3);
    assert.equal(rows.filter(({ kind, status }) => kind === "outcome" && status === "ok").length, 3);
  });
});

describe("the authors' own reference server over HTTP+SSE", () => {
  test("is found, lists what it has for clients that can be asked, and asks them", LIMIT, async () => {
    const everything = await startEverything("sse");
    const world = await openWorld({ servers: { everything: { url: everything.url, prefix: "ev" } } });
    try {
      const client = await connectOne(world.url(), await world.token(), {
        capabilities: { elicitation: {}, sampling: {}, roots: {} },
        prepare: (each) =>
          each.setRequestHandler(ElicitRequestSchema, () => ({ action: "accept", content: { name: "Ada" } })),
      });
      const names = namesOf((await client.listTools()).tools);
      assert.ok(names.includes("ev_trigger-elicitation-request"), JSON.stringify(names));
      const echo = await client.callTool(callParams("ev_echo", { message: "hé ✓" }));
      assert.equal(textOf(echo), "Echo: hé ✓");
      const asked = await client.callTool(callParams("ev_trigger-elicitation-request"));
      assert.match(textOf(asked), /Ada/);
      await client.close();
    } finally {
      await world.stop();
      await everything.stop();
    }
  });
});

describe("what a POST to the address is answered", () => {
  for (const status of [404, 405, 406]) {
    test(`${status}: the stream is tried, and the server found`, LIMIT, async () => {
      await withScript({ postStatus: status }, {}, async (script, world, token) => {
        const { names } = await listingOf(world, token);
        assert.deepEqual(
          names.filter((name) => name.startsWith("script")),
          ["script_echo"],
        );
        assert.deepEqual(script.methods().slice(0, 4), [
          "server/discover",
          "initialize",
          "GET",
          "initialize",
        ]);
        assert.equal(script.count("GET", "/sse"), 1);
        assert.equal(script.count("POST", "/sse"), 2);
      });
    });
  }

  for (const status of [400, 401, 403, 409, 429, 500, 502, 503, 302, 307, 200]) {
    test(`${status}: no stream is tried`, LIMIT, async () => {
      await withScript({ postStatus: status }, {}, async (script, world, token) => {
        const { names, said } = await listingOf(world, token);
        assert.deepEqual(
          names.filter((name) => name.startsWith("script")),
          [],
        );
        assert.match(said, /script/);
        assert.equal(script.count("GET", "/sse"), 0, JSON.stringify(script.methods()));
        assert.ok(script.count("POST", "/sse") >= 1);
      });
    });
  }

  test("nothing in time: no stream is tried", LIMIT, async () => {
    const intercept = (request) => request.method === "POST";
    await withScript({ intercept }, { timeout_ms: 1_000 }, async (script, world, token) => {
      const { said } = await listingOf(world, token);
      assert.match(said, /within 1000 ms/);
      assert.equal(script.count("GET", "/sse"), 0);
    });
  });

  test("a JSON-RPC error under 405: no stream is tried", LIMIT, async () => {
    const intercept = (request, response) => {
      if (request.method !== "POST" || !request.url.startsWith("/sse")) return false;
      response.writeHead(405, { "content-type": "application/json" });
      response.end('{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Method not allowed."}}');
      return true;
    };
    await withScript({ intercept }, {}, async (script, world, token) => {
      await listingOf(world, token);
      assert.equal(script.count("GET", "/sse"), 0);
    });
  });
});

describe("the configuration's word", () => {
  test("http_sse asks for the stream and posts nothing to its address", LIMIT, async () => {
    await withScript({ postStatus: 500 }, { transport: "http_sse" }, async (script, world, token) => {
      const { answer } = await ask(world.url(), token, "tools/call", callParams("script_echo"));
      assert.equal(textOf(answer.result), "called echo");
      assert.equal(script.count("POST", "/sse"), 0);
    });
  });

  test("streamable_http never asks for it", LIMIT, async () => {
    await withScript({}, { transport: "streamable_http" }, async (script, world, token) => {
      const { said } = await listingOf(world, token);
      assert.match(said, /405/);
      assert.equal(script.count("GET", "/sse"), 0);
    });
  });
});

test("a server that moves on to Streamable HTTP is found again", LIMIT, async () => {
  await withScript({}, {}, async (script, world, token) => {
    const call = () => ask(world.url(), token, "tools/call", callParams("script_echo"));
    assert.equal(textOf((await call()).answer.result), "called echo");
    const { port } = script;
    await script.stop();
    const newer = await startUpstream({ era: "legacy", tools: [tool("echo")], port });
    try {
      const first = await call();
      assert.match(first.answer.error.message, /404|405/, "nothing was called");
      assert.equal(newer.count("tools/call"), 0);
      assert.equal(textOf((await call()).answer.result), "called echo");
    } finally {
      await newer.stop();
    }
  });
});

describe("an endpoint that is not the server's own", () => {
  let evil;
  before(async () => {
    evil = await startScript();
  }, LIMIT);
  after(() => evil?.stop());

  const named = {
    "another port": () => `http://127.0.0.1:${evil.port}/messages`,
    "another host": () => `http://localhost:${evil.port}/messages`,
    "no scheme": () => `//127.0.0.1:${evil.port}/messages`,
    "a user name": (own) => `http://127.0.0.1:${own}@127.0.0.1:${evil.port}/messages`,
    "another scheme": (own) => `https://127.0.0.1:${own}/messages`,
  };
  for (const [what, endpoint] of Object.entries(named)) {
    test(`${what}: refused by name, and nothing is sent anywhere`, LIMIT, async () => {
      const begin = (response) => writeNamed(response, "endpoint", endpoint(response.socket.localPort));
      await withScript({ begin }, {}, async (script, world, token) => {
        const { said } = await listingOf(world, token);
        assert.match(said, /another origin/);
        assert.equal(script.seen.filter(({ path }) => path !== "/sse").length, 0);
        assert.equal(evil.seen.length, 0);
      });
    });
  }

  for (const [what, endpoint] of Object.entries({
    backslashes: () => `\\\\127.0.0.1:${evil.port}\\messages`,
    "a slash and a backslash": () => `/\\127.0.0.1:${evil.port}/messages`,
    "a full-width slash": () => `/\uff0f127.0.0.1:${evil.port}/messages`,
    nothing: () => "",
  })) {
    test(`${what}: no address, and nothing is sent anywhere`, LIMIT, async () => {
      const begin = (response) => writeNamed(response, "endpoint", endpoint());
      await withScript({ begin }, {}, async (script, world, token) => {
        const { said } = await listingOf(world, token);
        assert.match(said, /no address/);
        assert.equal(script.seen.filter(({ path }) => path !== "/sse").length, 0);
        assert.equal(evil.seen.length, 0);
      });
    });
  }

  test("in the middle of a call it ends the call", LIMIT, async () => {
    const call = ({ stream }) => writeNamed(stream, "endpoint", `//127.0.0.1:${evil.port}/messages`);
    await withScript({ call: (exchange) => void call(exchange) }, {}, async (_, world, token) => {
      const { answer } = await ask(world.url(), token, "tools/call", callParams("script_echo"));
      assert.match(answer.error.message, /second endpoint/);
      assert.equal(evil.seen.length, 0);
    });
  });
});

describe("a stream that goes wrong", () => {
  const FAULTS = {
    "that names no endpoint": [() => {}, /names no endpoint/],
    "of comments": [(response) => response.write(": hello\n\n".repeat(1_000)), /names no endpoint/],
    "that ends at once": [(response) => response.end(), /names no endpoint/],
    "that begins with something else": [(response) => response.write("data: {}\n\n"), /does not begin/],
    "of garbage": [(response) => response.write(Buffer.from([0xff, 0xfe, 10, 10])), /unreadable/],
  };
  for (const [what, [begin, words]] of Object.entries(FAULTS)) {
    test(`${what} is named in time`, LIMIT, async () => {
      await withScript({ begin }, {}, async (script, world, token) => {
        const beganMs = Date.now();
        const { said } = await listingOf(world, token);
        assert.match(said, words);
        assert.ok(Date.now() - beganMs < 8_000);
        assert.equal(script.count("POST", "/messages"), 0);
      });
    });
  }

  const CALLS = {
    "ends before the answer": [({ stream }) => void stream.end(), /ended its stream/],
    "is silent": [() => undefined, /within 3000 ms/],
    "says what is no message": [
      ({ stream }) => void writeNamed(stream, "message", "hello"),
      /no protocol message/,
    ],
  };
  for (const [what, [call, words]] of Object.entries(CALLS)) {
    test(`and ${what} ends the call by name`, LIMIT, async () => {
      await withScript({ call }, {}, async (_, world, token) => {
        const { answer } = await ask(world.url(), token, "tools/call", callParams("script_echo"));
        assert.match(answer.error.message, words);
      });
    });
  }

  test("a call that is refused is what its status says", LIMIT, async () => {
    const statuses = { 401: /credential/, 404: /404/, 429: /wait/, 500: /500/, 307: /redirect/ };
    let status;
    const intercept = (_, response, message) => {
      if (message?.method !== "tools/call") return false;
      response.writeHead(status, { location: "http://127.0.0.1:1/" }).end();
      return true;
    };
    await withScript({ intercept }, {}, async (script, world, token) => {
      for (const [each, words] of Object.entries(statuses)) {
        status = Number(each);
        const { answer } = await ask(world.url(), token, "tools/call", callParams("script_echo"));
        assert.match(answer.error.message, words, each);
      }
      const calls = script.methods().filter((method) => method === "tools/call");
      assert.equal(calls.length, Object.keys(statuses).length, "none was repeated");
    });
  });
});
