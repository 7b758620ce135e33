// The protocol authors' own reference server behind the portal: whatever it does, it must still do.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { eventually, within } from "../harness/bounded.mjs";
import { connectOne, connectTwo, namesOf, textOf } from "./fixtures/clients.mjs";
import { startEverything } from "./fixtures/everything.mjs";
import { openWorld } from "./fixtures/world.mjs";

const LIMIT = { timeout: 60_000 };
const CALL_MS = 15_000;
const ROOTS = [{ uri: "file:///home/ada/project", name: "project" }];
let everything;
let world;
let client;
const heard = { logs: [], updates: [], sampled: [], elicited: [], rootsAsked: 0 };

before(async () => {
  everything = await startEverything();
  world = await openWorld({ servers: { everything: { url: everything.url, prefix: "ev" } } });
  client = await connectOne(world.url(), await world.token(), {
    capabilities: { sampling: {}, elicitation: {}, roots: { listChanged: true } },
    prepare: answer,
  });
}, LIMIT);

after(async () => {
  await client?.close();
  await world?.stop();
  await everything?.stop();
});

function answer(each) {
  each.setRequestHandler(CreateMessageRequestSchema, ({ params }) => {
    heard.sampled.push(params);
    return { role: "assistant", model: "test-model", content: { type: "text", text: "sampled words" } };
  });
  each.setRequestHandler(ElicitRequestSchema, ({ params }) => {
    heard.elicited.push(params);
    return { action: "accept", content: { name: "Alice Example" } };
  });
  each.setRequestHandler(ListRootsRequestSchema, () => {
    heard.rootsAsked += 1;
    return { roots: ROOTS };
  });
  each.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => heard.logs.push(params));
  each.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) =>
    heard.updates.push(params.uri),
  );
}

async function call(name, input = {}, options = {}) {
  const params = { name: `ev_${name}`, arguments: input };
  return await within(client.callTool(params, undefined, { timeout: CALL_MS, ...options }), CALL_MS, name);
}

test("lists its tools under the prefix", LIMIT, async () => {
  const names = namesOf((await client.listTools()).tools);
  for (const name of ["echo", "get-sum", "get-tiny-image", "trigger-long-running-operation"]) {
    assert.ok(names.includes(`ev_${name}`), `${name} of ${names}`);
  }
});

test("lists the tools that it offers only to clients that can be asked", LIMIT, async () => {
  const names = namesOf((await client.listTools()).tools);
  for (const name of ["trigger-sampling-request", "trigger-elicitation-request", "get-roots-list"]) {
    assert.ok(names.includes(`ev_${name}`), `${name} of ${names}`);
  }
});

test("text, structure, images, links and embedded resources come back whole", LIMIT, async () => {
  assert.equal(textOf(await call("echo", { message: "hé ✓" })), "Echo: hé ✓");
  assert.match(textOf(await call("get-sum", { a: 2, b: 40 })), /42/);
  const weather = await call("get-structured-content", { location: "New York" });
  assert.equal(typeof weather.structuredContent.temperature, "number");
  const image = (await call("get-tiny-image")).content.find(({ type }) => type === "image");
  assert.equal(Buffer.from(image.data, "base64").subarray(1, 4).toString(), "PNG");
  const links = (await call("get-resource-links", { count: 3 })).content;
  assert.equal(links.filter(({ type }) => type === "resource_link").length, 3);
  const reference = await call("get-resource-reference", { resourceType: "Text", resourceId: 1 });
  assert.ok(reference.content.some(({ type }) => type === "resource"));
  const annotated = await call("get-annotated-message", { messageType: "error" });
  assert.equal(annotated.content[0].annotations.priority, 1);
});

test("a wrong argument is the tool's own error", LIMIT, async () => {
  const result = await call("get-sum", { a: "x", b: 1 }).catch((error) => error);
  assert.ok(result.isError || result.code === -32602, JSON.stringify(result));
});

test("progress arrives in order, before the result", LIMIT, async () => {
  const seen = [];
  const onprogress = ({ progress, total }) => seen.push([progress, total]);
  const result = await call("trigger-long-running-operation", { duration: 1, steps: 4 }, { onprogress });
  assert.match(textOf(result), /Long running operation completed/);
  assert.deepEqual(
    seen.map(([progress]) => progress),
    [1, 2, 3, 4],
  );
});

test("a client that cancels hears no more, and the session goes on", LIMIT, async () => {
  const controller = new AbortController();
  const work = { duration: 10, steps: 10 };
  const waiting = call("trigger-long-running-operation", work, { signal: controller.signal });
  setTimeout(() => controller.abort("enough"), 300);
  await assert.rejects(waiting, /enough|abort/i);
  assert.equal(textOf(await call("echo", { message: "still here" })), "Echo: still here");
});

test("a server's sampling request is answered by the client", LIMIT, async () => {
  const result = await call("trigger-sampling-request", { prompt: "say words", maxTokens: 20 });
  assert.match(textOf(result), /sampled words/);
  assert.equal(heard.sampled.length, 1);
  assert.equal(heard.sampled[0].maxTokens, 20);
});

test("a server's elicitation is answered by the client", LIMIT, async () => {
  const result = await call("trigger-elicitation-request");
  assert.match(textOf(result), /Alice Example/);
  assert.equal(heard.elicited.length, 1);
  assert.ok(heard.elicited[0].requestedSchema.properties.legacyTitledEnum);
});

test(
  "a server asks for the client's roots on the session's own stream, and again when they change",
  LIMIT,
  async () => {
    await call("echo", { message: "opens the session" });
    await eventually(() => heard.rootsAsked > 0, { ms: 10_000, what: "the server's question" });
    const before = heard.rootsAsked;
    await client.sendRootsListChanged();
    await eventually(() => heard.rootsAsked > before, { ms: 10_000, what: "the second question" });
  },
);

test("a server's tool tells the client's roots, and that they changed", LIMIT, async () => {
  const roots = async () => textOf(await call("get-roots-list"));
  await eventually(async () => (await roots()).includes("file:///home/ada/project"), {
    ms: 10_000,
    what: "the roots",
  });
  ROOTS.push({ uri: "file:///home/ada/second", name: "second" });
  await client.sendRootsListChanged();
  await eventually(async () => (await roots()).includes("file:///home/ada/second"), {
    ms: 10_000,
    what: "new roots",
  });
});

test("log messages arrive at the level the client set", LIMIT, async () => {
  await client.setLoggingLevel("debug");
  heard.logs.length = 0;
  await call("toggle-simulated-logging");
  await eventually(() => heard.logs.length > 0, { ms: 10_000, what: "a log message" });
  await call("toggle-simulated-logging");
});

test("prompts are listed, got and completed", LIMIT, async () => {
  const names = namesOf((await client.listPrompts()).prompts);
  assert.ok(names.includes("ev_completable-prompt"), String(names));
  const prompt = await client.getPrompt({
    name: "ev_completable-prompt",
    arguments: { department: "Sales", name: "Eve" },
  });
  assert.match(prompt.messages[0].content.text, /Eve to the head of the Sales team/);
  const completed = await client.complete({
    ref: { type: "ref/prompt", name: "ev_completable-prompt" },
    argument: { name: "name", value: "" },
    context: { arguments: { department: "Sales" } },
  });
  assert.deepEqual(completed.completion.values, ["David", "Eve", "Frank"]);
});

test("resources and templates are listed, read and completed", LIMIT, async () => {
  const { resources } = await client.listResources();
  assert.ok(resources.length > 0);
  const read = await client.readResource({ uri: resources[0].uri });
  assert.equal(read.contents[0].uri, resources[0].uri);
  const { resourceTemplates } = await client.listResourceTemplates();
  const template = resourceTemplates.find(({ uriTemplate }) => uriTemplate.includes("text"));
  const uri = template.uriTemplate.replace(/\{\w+\}/, "2");
  assert.equal((await client.readResource({ uri })).contents[0].uri, uri);
  const ref = { type: "ref/resource", uri: template.uriTemplate };
  const completed = await client.complete({ ref, argument: { name: "resourceId", value: "3" } });
  assert.deepEqual(completed.completion.values, ["3"]);
});

test("a subscribed resource's updates arrive until the client unsubscribes", LIMIT, async () => {
  const uri = "demo://resource/dynamic/text/1";
  await client.subscribeResource({ uri });
  await call("toggle-subscriber-updates");
  await eventually(() => heard.updates.includes(uri), { ms: 15_000, what: "an update" });
  await client.unsubscribeResource({ uri });
  await call("toggle-subscriber-updates");
});

test("a modern client uses the same legacy server", LIMIT, async () => {
  const modern = await connectTwo(world.url(), await world.token());
  try {
    const params = { name: "ev_trigger-long-running-operation", arguments: { duration: 1, steps: 3 } };
    const seen = [];
    const result = await modern.callTool(params, { onprogress: ({ progress }) => seen.push(progress) });
    assert.match(textOf(result), /completed/);
    assert.deepEqual(seen, [1, 2, 3]);
  } finally {
    await modern.close();
  }
});
