// One catalog of many servers: names, order, collisions, pages, freshness.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { connectTwo, namesOf, textOf } from "./fixtures/clients.mjs";
import { ask, openSession } from "./fixtures/rpc.mjs";
import { startUpstream, tool } from "./fixtures/upstream.mjs";
import { openWorld } from "./fixtures/world.mjs";

const LIMIT = { timeout: 60_000 };

async function withWorld(ids, options, run) {
  const upstreams = {};
  let world;
  try {
    for (const [id, settings] of Object.entries(ids)) upstreams[id] = await startUpstream(settings);
    const servers = {};
    for (const [id, { url }] of Object.entries(upstreams)) servers[id] = { url, ...options.servers?.[id] };
    world = await openWorld({ servers, portals: options.portals, start: options.start });
    return await run(world, upstreams, await world.token());
  } finally {
    await world?.stop();
    await Promise.all(Object.values(upstreams).map((upstream) => upstream.stop()));
  }
}

const listTools = async (world, token, portal) =>
  (await ask(world.url(portal), token, "tools/list")).answer.result;
const own = (names) => names.filter((name) => !name.startsWith("portal_"));
const toolNames = async (...args) => own(namesOf((await listTools(...args)).tools));
const callText = async (world, token, name) => {
  const { answer } = await ask(world.url(), token, "tools/call", { name, arguments: {} });
  return answer.result ? textOf(answer.result) : `${answer.error.code} ${answer.error.message}`;
};
const says =
  (id) =>
  ({ message }) => ({ content: [{ type: "text", text: `${id}:${message.params.name}` }] });

test("the order is the portal's, then each server's own, every time and in both eras", LIMIT, async () => {
  const ids = {};
  // The later servers answer sooner: the order must not depend on who is first to answer.
  for (const [index, id] of ["delta", "alpha", "charlie", "bravo"].entries()) {
    const wait = (4 - index) * 60;
    ids[id] = {
      tools: [tool("z"), tool("a"), tool("m")],
      intercept: () => new Promise((resolve) => setTimeout(() => resolve(false), wait)),
    };
  }
  await withWorld(ids, {}, async (world, _, token) => {
    const expected = ["delta", "alpha", "charlie", "bravo"].flatMap((id) => [
      `${id}_z`,
      `${id}_a`,
      `${id}_m`,
    ]);
    const session = await openSession(world.url(), token);
    for (let round = 0; round < 3; round += 1) {
      assert.deepEqual(await toolNames(world, token), expected);
      assert.deepEqual(own(namesOf((await session.ask("tools/list")).answer.result.tools)), expected);
    }
  });
});

test("names: prefixes, a server without one, aliases and descriptions", LIMIT, async () => {
  const ids = {
    one: {
      tools: [tool("create"), tool("plain", { description: undefined }), tool("hidden")],
      call: says("one"),
    },
    two: { tools: [tool("create")], prompts: [{ name: "ask" }], call: says("two") },
  };
  const options = {
    servers: {
      one: {
        prefix: "",
        alias: {
          create: { name: "make", description: 'Make it "so".' },
          plain: { description: "Now described." },
          hidden: { name: "shown" },
        },
      },
      two: { prefix: "Two-x" },
    },
    portals: {
      main: { hostnames: ["localhost"], servers: ["two"] },
      bare: { servers: ["one"] },
    },
  };
  await withWorld(ids, options, async (world, upstreams, token) => {
    const { tools } = await listTools(world, token, "bare");
    assert.deepEqual(own(namesOf(tools)), ["make", "plain", "shown"]);
    assert.equal(tools.find(({ name }) => name === "make").description, 'Make it "so".');
    assert.equal(tools.find(({ name }) => name === "plain").description, "Now described.");
    assert.equal(tools.find(({ name }) => name === "shown").description, "The tool hidden");
    const called = (await ask(world.url("bare"), token, "tools/call", { name: "make", arguments: {} }))
      .answer;
    assert.equal(textOf(called.result), "one:create");
    const gone = (await ask(world.url("bare"), token, "tools/call", { name: "create", arguments: {} }))
      .answer;
    assert.equal(gone.error.code, -32602, "the aliased name is not a second door");
    assert.deepEqual(await toolNames(world, token), ["Two-x_create"]);
    assert.equal(await callText(world, token, "Two-x_create"), "two:create");
    assert.match(await callText(world, token, "one_create"), /-32602 Unknown tool/);
    const { prompts } = (await ask(world.url(), token, "prompts/list")).answer.result;
    assert.deepEqual(namesOf(prompts), ["Two-x_ask"]);
    assert.equal(upstreams.one.last("tools/call").message.params.name, "create");
  });
});

test(
  "a name that two prefixes could mean is called where it is listed, and the other is reported",
  LIMIT,
  async () => {
    const ids = {
      git: { tools: [tool("lab_x", { description: "git:lab_x" })], call: says("git") },
      lab: { tools: [tool("x", { description: "lab:x" })], call: says("lab") },
    };
    for (const order of [
      ["git", "lab"],
      ["lab", "git"],
    ]) {
      const portals = { main: { hostnames: ["localhost"], servers: order } };
      await withWorld(ids, { servers: { lab: { prefix: "git_lab" } }, portals }, async (world, _, token) => {
        const { tools, _meta } = await listTools(world, token);
        const [listed, ...others] = tools.filter(({ name }) => name === "git_lab_x");
        assert.equal(others.length, 0);
        assert.equal(await callText(world, token, "git_lab_x"), listed.description, `servers = ${order}`);
        assert.equal(_meta["portcullis/collisions"]?.length, 1);
      });
    }
  },
);

test(
  "an alias that takes another tool's name is that tool in listing and call, and the other is reported",
  LIMIT,
  async () => {
    for (const order of [
      ["remove", "look"],
      ["look", "remove"],
    ]) {
      const tools = order.map((name) => tool(name, { description: `ali:${name}` }));
      const options = { servers: { ali: { alias: { look: { name: "remove" } } } } };
      await withWorld({ ali: { tools, call: says("ali") } }, options, async (world, _, token) => {
        const result = await listTools(world, token);
        const [listed, ...others] = result.tools.filter(({ name }) => name === "ali_remove");
        assert.equal(others.length, 0);
        assert.equal(
          await callText(world, token, "ali_remove"),
          listed.description,
          `tools in order ${order}`,
        );
        assert.match(JSON.stringify(result._meta["portcullis/collisions"] ?? null), /ali_remove/);
      });
    }
  },
);

test("an alias never lets a rule's tool through another tool's name", LIMIT, async () => {
  const ids = { ali: { tools: [tool("look"), tool("remove")], call: says("ali") } };
  const options = {
    servers: { ali: { alias: { remove: { name: "tidy" } }, tools: { default: "allow", deny: ["remove"] } } },
  };
  await withWorld(ids, options, async (world, _, token) => {
    assert.deepEqual(await toolNames(world, token), ["ali_look"]);
    assert.match(await callText(world, token, "ali_tidy"), /-32602/);
    assert.match(await callText(world, token, "ali_remove"), /-32602/);
  });
});

test("a tool that one server lists twice counts once and is reported", LIMIT, async () => {
  const ids = {
    twin: {
      tools: [tool("same", { description: "first" }), tool("same", { description: "second" }), tool("other")],
    },
  };
  await withWorld(ids, {}, async (world, _, token) => {
    const { tools } = await listTools(world, token);
    const same = tools.filter(({ name }) => name === "twin_same");
    assert.deepEqual(
      same.map(({ description }) => description),
      ["first"],
    );
    const servers = (
      await ask(world.url(), token, "tools/call", { name: "portal_list_servers", arguments: {} })
    ).answer;
    const [twin] = servers.result.structuredContent.servers;
    assert.match(JSON.stringify(twin.warnings), /'same' is listed twice/);
    assert.equal(twin.tools, 2);
  });
});

test(
  "resources: the first server owns a URI, the other is reported, nobody else is asked",
  LIMIT,
  async () => {
    const read =
      (id) =>
      ({ message }) => ({ contents: [{ uri: message.params.uri, text: id }] });
    const both = [{ uri: "shared://doc", name: "doc" }];
    const ids = {
      first: { resources: both, call: read("first") },
      second: {
        resources: [...both, { uri: "second://own", name: "own" }],
        templates: [{ uriTemplate: "second://t/{id}", name: "t" }],
        call: read("second"),
      },
    };
    await withWorld(ids, {}, async (world, upstreams, token) => {
      const { resources, _meta } = (await ask(world.url(), token, "resources/list")).answer.result;
      assert.deepEqual(
        resources.map(({ uri }) => uri),
        ["shared://doc", "second://own"],
      );
      assert.deepEqual(_meta["portcullis/collisions"], [{ server: "second", hidden: "shared://doc" }]);
      const text = async (uri) => {
        const { answer } = await ask(world.url(), token, "resources/read", { uri });
        return answer.result?.contents[0].text ?? answer.error.code;
      };
      assert.equal(await text("shared://doc"), "first");
      assert.equal(await text("second://own"), "second");
      assert.equal(await text("second://t/4"), "second");
      assert.equal(await text("second://t/4/5"), -32602);
      assert.equal(await text("file:///etc/passwd"), -32602);
      const asked = [upstreams.first, upstreams.second].flatMap(({ received }) => received);
      const uris = asked
        .filter(({ message }) => message.method === "resources/read")
        .map(({ message }) => message.params.uri);
      assert.deepEqual(uris, ["shared://doc", "second://own", "second://t/4"]);
    });
  },
);

test("an upstream's own pages are read to the end", LIMIT, async () => {
  const tools = Array.from({ length: 250 }, (_, index) => tool(`t${index}`));
  await withWorld({ paged: { tools, pageSize: 20 } }, {}, async (world, _, token) => {
    assert.deepEqual(
      await toolNames(world, token),
      tools.map(({ name }) => `paged_${name}`),
    );
  });
});

describe("5,000 tools on 200 servers", () => {
  const upstreams = [];
  let world;
  let token;
  before(async () => {
    const servers = {};
    for (let index = 0; index < 200; index += 1) {
      const tools = Array.from({ length: 25 }, (_, each) => tool(`tool_${each}`));
      const upstream = await startUpstream({
        era: index % 2 ? "modern" : "legacy",
        tools,
        call: says(`s${index}`),
      });
      upstreams.push(upstream);
      servers[`s${index}`] = { url: upstream.url };
    }
    const portals = { other: { servers: Object.keys(servers) } };
    world = await openWorld({ servers, portals });
    token = await world.token();
  }, LIMIT);
  after(async () => {
    await world?.stop();
    await Promise.all(upstreams.map((upstream) => upstream.stop()));
  });

  async function pages(from = token) {
    const found = [];
    const sizes = [];
    let cursor;
    do {
      const { answer } = await ask(world.url(), from, "tools/list", cursor ? { cursor } : {}, { ms: 60_000 });
      assert.ok(answer.result, JSON.stringify(answer));
      assert.equal(answer.result._meta["portcullis/unavailableServers"], undefined);
      sizes.push(answer.result.tools.length);
      found.push(...answer.result.tools);
      cursor = answer.result.nextCursor;
    } while (cursor && sizes.length < 100);
    return { names: own(namesOf(found)), sizes };
  }

  test("all pages, complete and in order, at first and again", { timeout: 120_000 }, async (context) => {
    const expected = upstreams.flatMap((_, index) =>
      Array.from({ length: 25 }, (__, each) => `s${index}_tool_${each}`),
    );
    for (const round of ["first", "again"]) {
      const began = performance.now();
      const { names, sizes } = await pages();
      context.diagnostic(
        `${round}: ${Math.round(performance.now() - began)} ms for ${sizes.length} pages (${sizes})`,
      );
      assert.deepEqual(names, expected);
    }
  });

  test("a call finds its server among them", LIMIT, async (context) => {
    const began = performance.now();
    assert.equal(await callText(world, token, "s137_tool_24"), "s137:tool_24");
    context.diagnostic(`${Math.round(performance.now() - began)} ms`);
  });

  test("an official client lists them all by itself", LIMIT, async () => {
    const client = await connectTwo(world.url(), token);
    assert.equal(own(namesOf((await client.listTools()).tools)).length, 5_000);
    await client.close();
  });

  test(
    "a cursor is good only for its own person, portal and listing, and as it was made",
    LIMIT,
    async () => {
      const { nextCursor } = (await ask(world.url(), token, "tools/list")).answer.result;
      const refused = async (url, bearer, cursor, method = "tools/list") => {
        const { answer } = await ask(url, bearer, method, { cursor });
        assert.equal(answer.error?.code, -32602, JSON.stringify(answer).slice(0, 200));
      };
      const bob = await world.token("bob@acme.example");
      await refused(world.url(), bob, nextCursor);
      await refused(world.url("other"), token, nextCursor);
      await refused(world.url(), token, nextCursor, "prompts/list");
      for (const at of [0, Math.floor(nextCursor.length / 2), nextCursor.length - 1]) {
        const other = nextCursor[at] === "A" ? "B" : "A";
        await refused(world.url(), token, nextCursor.slice(0, at) + other + nextCursor.slice(at + 1));
      }
      for (const made of ["", "1000", "MTAwMA", `${nextCursor}A`, nextCursor.slice(1)])
        await refused(world.url(), token, made);
      assert.ok(
        (await ask(world.url(), token, "tools/list", { cursor: nextCursor })).answer.result.tools.length > 0,
      );
    },
  );
});
