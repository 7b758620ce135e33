// The portal's own tools: seeing the servers and switching them, for oneself only.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { connectTwo, namesOf, textOf } from "./fixtures/clients.mjs";
import { ask, eventsOf, openSession, send } from "./fixtures/rpc.mjs";
import { startUpstream, tool } from "./fixtures/upstream.mjs";
import { openWorld } from "./fixtures/world.mjs";

const LIMIT = { timeout: 60_000 };
const IDS = ["red", "green", "blue"];
const upstreams = {};
let world;
let people = 0;

before(async () => {
  for (const id of IDS) {
    const read = ({ message }) =>
      message.method === "resources/read"
        ? { contents: [{ uri: message.params.uri, text: id }] }
        : { content: [] };
    upstreams[id] = await startUpstream({
      tools: [tool("a"), tool("b")],
      prompts: [{ name: "p" }],
      resources: [{ uri: `${id}://r`, name: "r" }],
      call: read,
    });
  }
  const servers = Object.fromEntries(
    IDS.map((id) => [id, { url: upstreams[id].url, name: `The ${id} one` }]),
  );
  world = await openWorld({ servers, portals: { quiet: { servers: IDS, portal_tools: false } } });
}, LIMIT);
after(async () => {
  await world?.stop();
  await Promise.all(Object.values(upstreams).map((upstream) => upstream.stop()));
});

/** Somebody who has switched nothing yet. */
async function newPerson() {
  people += 1;
  const token = await world.token(`person${people}@acme.example`);
  const request = (method, params, options) => ask(world.url(), token, method, params, options);
  return {
    token,
    request,
    use: async (name, input = {}, options = {}) =>
      (await request("tools/call", { name, arguments: input }, options)).answer,
    tools: async () => serversOf((await request("tools/list")).answer.result.tools),
  };
}

function serversOf(tools) {
  const names = namesOf(tools).filter((name) => !name.startsWith("portal_"));
  return [...new Set(names.map((name) => name.split("_")[0]))];
}

test(
  "the tools are listed with schemas and annotations, and not where they are switched off",
  LIMIT,
  async () => {
    const person = await newPerson();
    const { tools } = (await person.request("tools/list")).answer.result;
    const own = tools.filter(({ name }) => name.startsWith("portal_"));
    assert.deepEqual(namesOf(own), [
      "portal_list_servers",
      "portal_toggle_single_server",
      "portal_toggle_servers",
    ]);
    for (const { inputSchema, description, annotations } of own) {
      assert.equal(inputSchema.type, "object");
      assert.ok(description && annotations);
    }
    const quiet = (await ask(world.url("quiet"), person.token, "tools/list")).answer.result.tools;
    assert.equal(quiet.filter(({ name }) => name.startsWith("portal_")).length, 0);
    const call = { name: "portal_list_servers", arguments: {} };
    assert.equal((await ask(world.url("quiet"), person.token, "tools/call", call)).answer.error.code, -32602);
  },
);

test("portal_list_servers tells names, prefixes, tools and state", LIMIT, async () => {
  const person = await newPerson();
  const { result } = await person.use("portal_list_servers");
  assert.deepEqual(
    result.structuredContent.servers.map(({ id, name, prefix, enabled, tools, status }) => [
      id,
      name,
      prefix,
      enabled,
      tools,
      status,
    ]),
    IDS.map((id) => [id, `The ${id} one`, id, true, 2, "ready"]),
  );
  for (const id of IDS) assert.match(textOf(result), new RegExp(`${id}.*ready`));
});

test("a server that is off is neither listed nor called nor read, and comes back", LIMIT, async () => {
  const person = await newPerson();
  const off = await person.use("portal_toggle_single_server", { server_id: "green", action: "untoggle" });
  assert.ok(!off.result.isError, JSON.stringify(off));
  assert.deepEqual(await person.tools(), ["red", "blue"]);
  const before = upstreams.green.received.length;
  assert.equal((await person.use("green_a")).error.code, -32602);
  assert.equal((await person.request("prompts/get", { name: "green_p" })).answer.error.code, -32602);
  assert.equal((await person.request("resources/read", { uri: "green://r" })).answer.error.code, -32602);
  const { prompts } = (await person.request("prompts/list")).answer.result;
  assert.deepEqual(namesOf(prompts), ["red_p", "blue_p"]);
  assert.equal(upstreams.green.received.length, before, "nothing reached it");
  const { servers } = (await person.use("portal_list_servers")).result.structuredContent;
  assert.deepEqual(
    servers.map(({ enabled }) => enabled),
    [true, false, true],
  );
  await person.use("portal_toggle_single_server", { server_id: "green", action: "toggle" });
  assert.deepEqual(await person.tools(), IDS);
  assert.ok((await person.use("green_a")).result);
});

test("several at once; unknown ids and wrong arguments change nothing", LIMIT, async () => {
  const person = await newPerson();
  assert.ok(!(await person.use("portal_toggle_servers", { disable: ["red", "blue"] })).result.isError);
  assert.deepEqual(await person.tools(), ["green"]);
  await person.use("portal_toggle_servers", { enable: ["blue"], disable: ["green"] });
  assert.deepEqual(await person.tools(), ["blue"]);
  const unknown = (await person.use("portal_toggle_servers", { disable: ["blue", "grey"] })).result;
  assert.equal(unknown.isError, true);
  assert.match(textOf(unknown), /grey.*red, green, blue/);
  for (const input of [
    { disable: "blue" },
    { disable: [7] },
    { enable: null, disable: { blue: true } },
    { disabled: ["blue"] },
  ]) {
    const { result, error } = await person.use("portal_toggle_servers", input);
    assert.ok(
      error?.code === -32602 || result?.isError,
      `${JSON.stringify(input)}: ${JSON.stringify(result)}`,
    );
  }
  for (const input of [
    {},
    { server_id: "blue" },
    { server_id: "blue", action: "off" },
    { server_id: 3, action: "toggle" },
  ]) {
    const { result, error } = await person.use("portal_toggle_single_server", input);
    assert.ok(error?.code === -32602 || result?.isError, JSON.stringify(input));
  }
  assert.deepEqual(await person.tools(), ["blue"]);
});

test("all servers off is an empty listing, not an error, and the portal's tools stay", LIMIT, async () => {
  const person = await newPerson();
  await person.use("portal_toggle_servers", { disable: IDS });
  assert.deepEqual(await person.tools(), []);
  await person.use("portal_toggle_servers", { enable: IDS });
  assert.deepEqual(await person.tools(), IDS);
});

describe("whose switches they are", () => {
  test("a modern person's hold for all their requests, and for nobody else", LIMIT, async () => {
    const [one, other] = [await newPerson(), await newPerson()];
    await one.use("portal_toggle_single_server", { server_id: "red", action: "untoggle" });
    assert.deepEqual(await one.tools(), ["green", "blue"]);
    assert.deepEqual(await other.tools(), IDS);
    const quiet = (await ask(world.url("quiet"), one.token, "tools/list")).answer.result.tools;
    assert.deepEqual(serversOf(quiet), IDS, "nor at another portal");
  });

  test("another agent of the same person has its own", LIMIT, async () => {
    const email = "agents@acme.example";
    const [first, second] = [
      await world.token(email, { client_id: "agent-one" }),
      await world.token(email, { client_id: "agent-two" }),
    ];
    const params = { name: "portal_toggle_servers", arguments: { disable: ["red"] } };
    await ask(world.url(), first, "tools/call", params);
    const servers = async (token) =>
      serversOf((await ask(world.url(), token, "tools/list")).answer.result.tools);
    assert.deepEqual(await servers(first), ["green", "blue"]);
    assert.deepEqual(await servers(second), IDS);
  });

  test(
    "a legacy client's hold for its session, and the client is told that its listing changed",
    LIMIT,
    async () => {
      const person = await newPerson();
      const [here, there] = await Promise.all([1, 2].map(() => openSession(world.url(), person.token)));
      const events = eventsOf(await here.listen());
      const servers = async (session) => serversOf((await session.ask("tools/list")).answer.result.tools);
      const input = { server_id: "blue", action: "untoggle" };
      const { answer } = await here.ask("tools/call", {
        name: "portal_toggle_single_server",
        arguments: input,
      });
      assert.ok(!answer.result.isError);
      assert.deepEqual(await servers(here), ["red", "green"]);
      assert.deepEqual(await servers(there), IDS);
      assert.deepEqual(await person.tools(), IDS);
      await events.message(({ method }) => method === "notifications/tools/list_changed", 10_000);
      await events.cut();
    },
  );

  test("a modern listener is told as well", LIMIT, async () => {
    const person = await newPerson();
    const notifications = { toolsListChanged: true };
    const events = eventsOf(await send(world.url(), person.token, "subscriptions/listen", { notifications }));
    await events.message();
    await person.use("portal_toggle_servers", { disable: ["red"] });
    await events.message(({ method }) => method === "notifications/tools/list_changed", 10_000);
    await events.cut();
  });
});

describe("the form", () => {
  test("a modern client without arguments is asked, and its answer is what holds", LIMIT, async () => {
    const token = await world.token("form@acme.example");
    const asked = [];
    const client = await connectTwo(world.url(), token, {
      capabilities: { elicitation: { form: {} } },
      prepare: (each) =>
        each.setRequestHandler("elicitation/create", ({ params }) => {
          asked.push(params);
          return { action: "accept", content: { red: false, green: true, blue: false } };
        }),
    });
    try {
      const result = await client.callTool({ name: "portal_toggle_servers", arguments: {} });
      assert.ok(!result.isError, textOf(result));
      assert.deepEqual(Object.keys(asked[0].requestedSchema.properties).sort(), IDS.toSorted());
      await eventually(
        async () => serversOf((await ask(world.url(), token, "tools/list")).answer.result.tools).length === 1,
        {
          what: "the switches",
        },
      );
    } finally {
      await client.close();
    }
  });

  test("declined or cancelled, nothing changes and nobody is asked again", LIMIT, async () => {
    for (const action of ["decline", "cancel"]) {
      const token = await world.token(`${action}@acme.example`);
      let asked = 0;
      const client = await connectTwo(world.url(), token, {
        capabilities: { elicitation: { form: {} } },
        prepare: (each) =>
          each.setRequestHandler("elicitation/create", () => {
            asked += 1;
            return { action };
          }),
      });
      try {
        await client.callTool({ name: "portal_toggle_servers", arguments: {} });
        assert.equal(asked, 1);
        assert.deepEqual(serversOf((await client.listTools()).tools), IDS);
      } finally {
        await client.close();
      }
    }
  });

  test("a client that shows no forms is told how to say it", LIMIT, async () => {
    const person = await newPerson();
    const { result } = await person.use("portal_toggle_servers");
    assert.equal(result.resultType, "complete");
    assert.match(textOf(result), /enable.*disable/s);
  });

  test("an answer for another person, or made up, changes nothing", LIMIT, async () => {
    const [one, other] = [await newPerson(), await newPerson()];
    const options = { capabilities: { elicitation: { form: {} } } };
    const { result } = await one.use("portal_toggle_servers", {}, options);
    assert.equal(result.resultType, "input_required");
    const inputResponses = { servers: { action: "accept", content: { red: false } } };
    for (const [person, requestState] of [
      [other, result.requestState],
      [one, "made-up"],
    ]) {
      const params = { name: "portal_toggle_servers", arguments: {}, inputResponses, requestState };
      assert.equal((await person.request("tools/call", params, options)).answer.error.code, -32602);
      assert.deepEqual(await person.tools(), IDS);
    }
  });
});
