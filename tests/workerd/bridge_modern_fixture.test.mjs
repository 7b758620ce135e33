// The asking servers without a portal between: a test through the portal means nothing where this fails.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { eventually, within } from "../harness/bounded.mjs";
import { startAskingServer } from "./fixtures/asking_legacy.mjs";
import { startSdkServer } from "./fixtures/asking_legacy_sdk.mjs";
import { form, roots, sampling, scriptUri, steps, visit } from "./fixtures/asking_legacy_steps.mjs";
import { textOf } from "./fixtures/clients.mjs";

const LIMIT = { timeout: 30_000 };
const CAPABILITIES = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} };
const started = [];
const servers = {};

before(async () => {
  servers.plain = await startAskingServer({ id: "plain" });
  servers.resuming = await startAskingServer({ id: "resuming", resumes: true });
  servers.sdk = await startSdkServer();
  servers.sdkResuming = await startSdkServer({ resumes: true });
  started.push(...Object.values(servers));
}, LIMIT);

after(async () => {
  for (const each of started.reverse()) await (each.stop ?? each.close).call(each);
});

async function connect(server) {
  const client = new Client({ name: "direct", version: "1" }, { capabilities: CAPABILITIES });
  client.asked = [];
  client.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
    client.asked.push(params.message);
    if (params.mode === "url") return { action: "accept" };
    const [name] = Object.keys(params.requestedSchema.properties);
    return { action: "accept", content: { [name]: name === "colour" ? "green" : `${name}!` } };
  });
  client.setRequestHandler(CreateMessageRequestSchema, async () => ({
    role: "assistant",
    content: { type: "text", text: "said" },
    model: "m",
  }));
  client.setRequestHandler(ListRootsRequestSchema, async () => ({ roots: [{ uri: "file:///r" }] }));
  await client.connect(new StreamableHTTPClientTransport(new URL(server.url)));
  started.push(client);
  return client;
}

const call = async (client, name, tag, ...script) =>
  JSON.parse(textOf(await client.callTool({ name, arguments: { tag, steps: script } })));

for (const kind of ["plain", "resuming"]) {
  describe(`the ${kind} server`, () => {
    test("asks in every way, on either stream, in rounds", LIMIT, async () => {
      const client = await connect(servers[kind]);
      const said = await call(
        client,
        "ask",
        "all",
        steps.ask(form("a"), visit("b"), sampling("c"), roots()),
        steps.askOnGet(form("d")),
        steps.ask(form("e")),
      );
      const { answers } = said;
      assert.deepEqual(answers[0], { action: "accept", content: { a: "a!" } });
      assert.equal(answers[1].action, "accept");
      assert.equal(answers[2].content.text, "said");
      assert.deepEqual(answers[3], { roots: [{ uri: "file:///r" }] });
      assert.deepEqual(answers[4].content, { d: "d!" });
      assert.deepEqual(answers[5].content, { e: "e!" });
      assert.deepEqual([said.begun, servers[kind].begun("all")], [1, 1]);
      assert.deepEqual(servers[kind].initialized.at(-1).capabilities, CAPABILITIES);
    });

    test("asks from prompts and resources", LIMIT, async () => {
      const client = await connect(servers[kind]);
      const script = { tag: "p", steps: [steps.ask(form("p"))] };
      const prompt = await client.getPrompt({ name: "ask", arguments: { script: JSON.stringify(script) } });
      assert.match(prompt.messages[0].content.text, /p!/);
      const read = await client.readResource({ uri: scriptUri(kind, { ...script, tag: "r" }) });
      assert.match(read.contents[0].text, /p!/);
    });

    test("begins nothing before its page was visited", LIMIT, async () => {
      const client = await connect(servers[kind]);
      const begin = () => call(client, "write", "needs", steps.needs(visit("n")));
      await assert.rejects(begin(), (error) => error.code === -32042 && error.data.elicitations.length === 1);
      assert.equal(servers[kind].begun("needs"), 0);
      servers[kind].allow("visit-n");
      assert.equal((await begin()).begun, 1);
    });

    test("reports, and stops when it is told to", LIMIT, async () => {
      const client = await connect(servers[kind]);
      const heard = [];
      const controller = new AbortController();
      const input = { tag: "stop", steps: [steps.progress(3), steps.gate()] };
      const options = { signal: controller.signal, onprogress: ({ progress }) => heard.push(progress) };
      const calling = client.callTool({ name: "ask", arguments: input }, undefined, options);
      await eventually(() => heard.length === 3, { what: "three reports" });
      assert.deepEqual(servers[kind].call("stop").reached, ["gate"]);
      controller.abort("enough");
      await assert.rejects(calling);
      await eventually(() => servers[kind].call("stop").cancelled === 1, { what: "the cancellation" });
    });
  });
}

test("a cut stream is taken up again where events have ids, asked and answered once", LIMIT, async () => {
  const client = await connect(servers.resuming);
  const script = [steps.ask(form("a")), steps.cut(), steps.ask(form("b")), steps.pause(50)];
  const said = await within(call(client, "write", "cut", ...script), 10_000, "the resumed call");
  assert.deepEqual(
    said.answers.map(({ content }) => content),
    [{ a: "a!" }, { b: "b!" }],
  );
  assert.equal(said.begun, 1);
  assert.deepEqual(client.asked, ["What is a?", "What is b?"]);
  assert.ok(servers.resuming.gets.some(({ lastEventId }) => lastEventId));
});

test("a cut stream of the plain one is lost, and the call goes on there", LIMIT, async () => {
  const client = await connect(servers.plain);
  const script = [steps.cut(), steps.gate()];
  const options = { timeout: 500 };
  await assert.rejects(
    client.callTool({ name: "ask", arguments: { tag: "lost", steps: script } }, undefined, options),
  );
  assert.equal(servers.plain.begun("lost"), 1);
});

for (const kind of ["sdk", "sdkResuming"]) {
  test(`the library's own server asks by its own means (${kind})`, LIMIT, async () => {
    const client = await connect(servers[kind]);
    const use = async (name) => JSON.parse(textOf(await client.callTool({ name })));
    const green = { action: "accept", content: { colour: "green" } };
    assert.deepEqual(await use("elicits"), green);
    assert.deepEqual(await use("elicits_on_get"), green);
    assert.deepEqual(await use("visits"), { action: "accept" });
    assert.equal((await use("samples")).content.text, "said");
    assert.deepEqual(await use("lists_roots"), { roots: [{ uri: "file:///r" }] });
    assert.deepEqual((await use("asks_all"))[0], green);
    assert.deepEqual(await use("asks_twice"), [green, green]);
    assert.deepEqual(servers[kind].begun, {
      elicits: 1,
      elicits_on_get: 1,
      visits: 1,
      samples: 1,
      lists_roots: 1,
      asks_all: 1,
      asks_twice: 1,
    });
    await assert.rejects(client.callTool({ name: "gated" }), (error) => error.code === -32042);
    servers[kind].allow("gate-1");
    assert.equal(await use("gated"), "through");
  });
}
