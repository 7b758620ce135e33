// How a catalog stays true: changes reach clients, and a restart forgets nothing.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { startIssuer } from "../harness/identity.mjs";
import { connectTwo, namesOf } from "./fixtures/clients.mjs";
import { ask, eventsOf, openSession, send } from "./fixtures/rpc.mjs";
import { startUpstream, tool } from "./fixtures/upstream.mjs";
import { makeFolder, openWorld } from "./fixtures/world.mjs";

const LIMIT = { timeout: 90_000 };
const CHANGE_MS = 15_000;
const LIST_CHANGED = { method: "notifications/tools/list_changed" };
const own = (names) => names.filter((name) => !name.startsWith("portal_"));
const listed = async (world, token) => {
  const { answer } = await ask(world.url(), token, "tools/list");
  assert.ok(answer.result, JSON.stringify(answer));
  return own(namesOf(answer.result.tools));
};

async function withServer(options, run) {
  const upstream = await startUpstream({ tools: [tool("old")], ...options });
  let world;
  try {
    world = await openWorld({ servers: { srv: { url: upstream.url } } });
    await run(world, upstream, await world.token());
  } finally {
    await world?.stop();
    await upstream.stop();
  }
}

// A legacy server tells of a change on the stream that some client's session has open anyway; then its listing is read
// again at once. A modern server is listened to for subscribed resources only: its change is found by reading the
// listing again when the server's own word for how long it holds is over.
const SERVERS = [{ era: "legacy" }, { era: "modern", listingExtras: { ttlMs: 2_000, cacheScope: "public" } }];

/** Changes the server's tools, and says so where somebody hears it. */
async function change(world, token, upstream, session) {
  upstream.tools = [tool("old"), tool("fresh")];
  if (upstream.era === "modern") return;
  const own = session ?? (await openSession(world.url(), token));
  await own.ask("tools/call", { name: "srv_old", arguments: {} });
  await eventually(() => upstream.listeners.size > 0, { what: "the portal's stream to the server" });
  upstream.push(LIST_CHANGED);
}

for (const options of SERVERS) {
  describe(`a ${options.era} server's change`, () => {
    test("reaches a legacy client on its stream, whose next listing shows it", LIMIT, () =>
      withServer(options, async (world, upstream, token) => {
        const session = await openSession(world.url(), token);
        const events = eventsOf(await session.listen());
        const names = async () => own(namesOf((await session.ask("tools/list")).answer.result.tools));
        assert.deepEqual(await names(), ["srv_old"]);
        await change(world, token, upstream, session);
        await events.message(({ method }) => method === LIST_CHANGED.method, CHANGE_MS);
        assert.deepEqual(await names(), ["srv_old", "srv_fresh"]);
        assert.equal(upstream.count("subscriptions/listen"), 0);
        await events.cut();
      }),
    );

    test("reaches a listening modern client, whose next listing shows it", LIMIT, () =>
      withServer(options, async (world, upstream, token) => {
        assert.deepEqual(await listed(world, token), ["srv_old"]);
        const response = await send(world.url(), token, "subscriptions/listen", {
          notifications: { toolsListChanged: true },
        });
        assert.equal(response.status, 200);
        const events = eventsOf(response);
        const first = await events.message();
        assert.equal(first.method, "notifications/subscriptions/acknowledged");
        assert.equal(first.params.notifications.toolsListChanged, true);
        await change(world, token, upstream);
        const told = await events.message(({ method }) => method === LIST_CHANGED.method, CHANGE_MS);
        assert.ok(told.params._meta["io.modelcontextprotocol/subscriptionId"]);
        assert.deepEqual(await listed(world, token), ["srv_old", "srv_fresh"]);
        assert.equal(upstream.count("subscriptions/listen"), 0);
        await events.cut();
      }),
    );
  });
}

test("an official modern client refreshes its listing by itself", LIMIT, () =>
  withServer(SERVERS[1], async (world, upstream, token) => {
    const seen = [];
    const onChanged = (error, tools) => seen.push(error ?? own(namesOf(tools)));
    const client = await connectTwo(world.url(), token, {
      options: { listChanged: { tools: { autoRefresh: true, debounceMs: 10, onChanged } } },
    });
    try {
      await client.listTools();
      upstream.tools = [tool("fresh")];
      await eventually(() => seen.some((names) => names.includes?.("srv_fresh")), {
        ms: CHANGE_MS,
        what: "the new tool",
      });
    } finally {
      await client.close();
    }
  }),
);

test(
  "a resource's update reaches the modern client that asked for it, and only that resource's",
  LIMIT,
  async () => {
    const resources = ["srv://a", "srv://b"].map((uri) => ({ uri, name: uri }));
    const upstream = await startUpstream({ era: "modern", resources });
    const world = await openWorld({ servers: { srv: { url: upstream.url } } });
    try {
      const response = await send(world.url(), await world.token(), "subscriptions/listen", {
        notifications: { resourceSubscriptions: ["srv://a", "srv://unknown"] },
      });
      const events = eventsOf(response);
      const acknowledged = await events.message();
      assert.deepEqual(acknowledged.params.notifications.resourceSubscriptions, ["srv://a"]);
      await eventually(() => upstream.listeners.size > 0, { what: "the portal's stream" });
      for (const uri of ["srv://b", "srv://a"])
        upstream.push({ method: "notifications/resources/updated", params: { uri } });
      const told = await events.message(({ method }) => method === "notifications/resources/updated");
      assert.equal(told.params.uri, "srv://a");
      await events.cut();
    } finally {
      await world.stop();
      await upstream.stop();
    }
  },
);

test("a listing survives a restart, also while its server is down", LIMIT, async () => {
  const folder = await makeFolder();
  const issuer = await startIssuer({ audience: "portcullis-tests" });
  const upstream = await startUpstream({ tools: [tool("kept")] });
  const start = {
    state: folder.path,
    secrets: {
      SEAL_KEY: Buffer.alloc(32, 7).toString("base64url"),
      SETUP_TOKEN: "again-and-again-and-again",
    },
  };
  const servers = { srv: { url: upstream.url } };
  try {
    const first = await openWorld({ servers, start, issuer });
    assert.deepEqual(await listed(first, await first.token()), ["srv_kept"]);
    await first.stop();
    await upstream.stop();
    // Nothing is applied: the state alone must know the configuration too.
    const second = await openWorld({ servers, start: { ...start, config: undefined }, issuer });
    try {
      assert.deepEqual(await listed(second, await second.token()), ["srv_kept"]);
    } finally {
      await second.stop();
    }
  } finally {
    await issuer.stop();
    await folder.remove();
  }
});

test("another isolate's new listing is seen without asking the server again", LIMIT, async () => {
  // Two workers with one database stand for two isolates of one deployment.
  const { portalWorkers } = await import("../harness/worker.mjs");
  const upstream = await startUpstream({
    era: "modern",
    tools: [tool("old")],
    resources: [{ uri: "srv://a", name: "a" }],
    listingExtras: { ttlMs: 600_000, cacheScope: "public" },
  });
  const secrets = {
    SEAL_KEY: Buffer.alloc(32, 9).toString("base64url"),
    SETUP_TOKEN: "one-token-for-both-of-them",
  };
  const [twin] = portalWorkers({ name: "twin", vars: { LOCAL_DEVELOPMENT: "1" }, secrets });
  twin.config.env.DB = { type: "d1", id: "portcullis-db" };
  const world = await openWorld({
    servers: { srv: { url: upstream.url } },
    start: { secrets, workers: [twin] },
  });
  try {
    const token = await world.token();
    const worker = await world.portal.mf.getWorker("twin");
    const twinNames = async () => {
      const response = await worker.fetch(world.url(), {
        method: "POST",
        headers: {
          authorization: `Bearer ${token}`,
          "content-type": "application/json",
          accept: "application/json, text/event-stream",
          "mcp-protocol-version": "2026-07-28",
          "mcp-method": "tools/list",
        },
        body: JSON.stringify({
          jsonrpc: "2.0",
          id: 1,
          method: "tools/list",
          params: {
            _meta: {
              "io.modelcontextprotocol/protocolVersion": "2026-07-28",
              "io.modelcontextprotocol/clientCapabilities": {},
            },
          },
        }),
      });
      return own(namesOf((await response.json()).result.tools));
    };
    assert.deepEqual(await listed(world, token), ["srv_old"]);
    assert.deepEqual(await twinNames(), ["srv_old"]);
    assert.equal(upstream.count("tools/list"), 1, "the second isolate found the first one's listing");
    // Said on a stream that is open for a resource.
    const notifications = { toolsListChanged: true, resourceSubscriptions: ["srv://a"] };
    const events = eventsOf(await send(world.url(), token, "subscriptions/listen", { notifications }));
    await eventually(() => upstream.listeners.size > 0, { what: "the portal's stream" });
    upstream.tools = [tool("fresh")];
    upstream.push(LIST_CHANGED);
    await eventually(async () => (await twinNames()).includes("srv_fresh"), {
      ms: CHANGE_MS,
      what: "the change there",
    });
    await events.cut();
  } finally {
    await world.stop();
    await upstream.stop();
  }
});
