// `subscriptions/listen` of a modern client on a legacy server: the portal subscribes there, in a session of its own.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { startAsking } from "./fixtures/asking_modern.mjs";
import { readEvents } from "./fixtures/asking_modern_call.mjs";
import { connectAnswering } from "./fixtures/asking_modern_clients.mjs";
import { startOlder } from "./fixtures/asking_modern_older.mjs";
import { carries, hears, updatesWithin } from "./fixtures/asking_modern_updates.mjs";
import { namesOf } from "./fixtures/clients.mjs";
import { ask, send } from "./fixtures/rpc.mjs";
import { tool } from "./fixtures/upstream.mjs";
import { openWorld } from "./fixtures/world.mjs";

const LIMIT = { timeout: 60_000 };
const SOON_MS = 5_000;
/** A portal that looks at its listings again every three seconds has seen a change by then. */
const CHANGE_MS = 10_000;
const SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId";
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let modern;
let older;
let world;
let token;

before(async () => {
  modern = await startAsking();
  older = await startOlder();
  world = await openWorld({ servers: { modern: { url: modern.url }, older: { url: older.url } } });
  token = await world.token();
}, LIMIT);
after(async () => {
  await world?.stop();
  await Promise.all([modern, older].map((upstream) => upstream?.stop()));
});

describe("a modern client on a legacy server", () => {
  const ids = { next: 0 };
  async function listen(notifications, who = token) {
    ids.next += 1;
    const id = `listen-${ids.next}`;
    const response = await send(
      world.url(),
      who,
      "subscriptions/listen",
      { notifications },
      { id, ms: 60_000 },
    );
    assert.equal(response.status, 200);
    const events = readEvents(response);
    const { method, params } = await events.message();
    assert.equal(method, "notifications/subscriptions/acknowledged");
    assert.equal(params._meta[SUBSCRIPTION], id);
    return { id, events, honoured: params.notifications };
  }

  /** Closes a stream. Local workerd learns of it only when something is written, so something is. */
  async function leave({ events }, uri) {
    await events.cut();
    const isOver = () => {
      older.update(uri);
      return !older.subscribedUris().includes(uri);
    };
    await eventually(isOver, { ms: CHANGE_MS, everyMs: 200, what: `the end of the subscription to ${uri}` });
  }

  test(
    "listens: the server is subscribed to in a session, and updates carry the subscription's id",
    LIMIT,
    async () => {
      const uris = ["old://one", "old://none"];
      const listening = await listen({ resourceSubscriptions: uris });
      assert.deepEqual(listening.honoured, { resourceSubscriptions: ["old://one"] });
      await carries(older, ["old://one"]);
      const asked = older.last("resources/subscribe");
      assert.deepEqual(asked.message.params.uri, "old://one");
      assert.ok(asked.headers["mcp-session-id"]);
      await eventually(() => older.listeners.size > 0, { what: "the portal's stream" });
      const { params } = await hears(listening.events, older, "old://one");
      assert.equal(params._meta[SUBSCRIPTION], listening.id);
      older.update("old://two");
      assert.deepEqual(
        (await updatesWithin(listening.events, 500)).filter((uri) => uri !== "old://one"),
        [],
      );
      await leave(listening, "old://one");
    },
  );

  test("of two streams each has its own resources, and one's end leaves the other's", LIMIT, async () => {
    const first = await listen({ resourceSubscriptions: ["old://one"] });
    const second = await listen({ resourceSubscriptions: ["old://two", "ask://one"] });
    assert.deepEqual(second.honoured.resourceSubscriptions, ["old://two", "ask://one"]);
    await carries(older, ["old://one", "old://two"]);
    await hears(first.events, older, "old://one");
    const { params } = await hears(second.events, older, "old://two");
    assert.equal(params._meta[SUBSCRIPTION], second.id);
    assert.equal((await hears(second.events, modern, "ask://one")).params._meta[SUBSCRIPTION], second.id);
    await leave(first, "old://one");
    await hears(second.events, older, "old://two");
    await leave(second, "old://two");
  });

  test(
    "the same resource for two people: both hear, and the first one's end is not the other's",
    LIMIT,
    async () => {
      const hers = await listen({ resourceSubscriptions: ["old://two"] });
      const his = await listen(
        { resourceSubscriptions: ["old://two"] },
        await world.token("bob@acme.example"),
      );
      await Promise.all([hears(hers.events, older, "old://two"), hears(his.events, older, "old://two")]);
      await hers.events.cut();
      await pause(500);
      for (let n = 0; n < 10; n += 1) {
        older.update("old://two");
        await pause(50);
      }
      await hears(his.events, older, "old://two");
      await leave(his, "old://two");
    },
  );

  test("an official client listens", LIMIT, async () => {
    const { client, heard } = await connectAnswering("modern", world.url(), token);
    try {
      const listening = await client.listen({ resourceSubscriptions: ["old://one"] });
      await carries(older, ["old://one"]);
      const isHeard = () => {
        older.update("old://one");
        return heard.updated.includes("old://one");
      };
      await eventually(isHeard, { ms: SOON_MS, everyMs: 100, what: "the update" });
      await listening.close();
      const isOver = () => {
        older.update("old://one");
        return older.subscribedUris().length === 0;
      };
      await eventually(isOver, { ms: CHANGE_MS, everyMs: 200, what: "the end of the subscription" });
    } finally {
      await client.close();
    }
  });

  test("hears that a legacy server's listings changed, each kind it asked for", LIMIT, async () => {
    const listening = await listen({
      toolsListChanged: true,
      promptsListChanged: true,
      resourceSubscriptions: ["old://one"],
    });
    await eventually(() => older.listeners.size > 0, { what: "the portal's stream" });
    await hears(listening.events, older, "old://one");
    const before = { tools: older.tools, prompts: older.prompts };
    const listed = async (method, member) => {
      const { answer } = await ask(world.url(), token, method);
      return namesOf(answer.result[member]);
    };
    await listed("tools/list", "tools");
    await listed("prompts/list", "prompts");
    try {
      older.tools = [...before.tools, tool("fresh-for-modern")];
      older.prompts = [...before.prompts, { name: "fresh-prompt" }];
      for (const kind of ["tools", "prompts"]) {
        older.push({ method: `notifications/${kind}/list_changed` });
        const isTold = ({ method }) => method === `notifications/${kind}/list_changed`;
        const { params } = await listening.events.message(isTold, CHANGE_MS);
        assert.equal(params._meta[SUBSCRIPTION], listening.id);
      }
      const isListed = async () =>
        (await listed("tools/list", "tools")).includes("older_fresh-for-modern") &&
        (await listed("prompts/list", "prompts")).includes("older_fresh-prompt");
      await eventually(isListed, { ms: CHANGE_MS, what: "the new tool and prompt" });
    } finally {
      Object.assign(older, before);
      await leave(listening, "old://one");
    }
  });

  test("a server that does not offer subscriptions is left out of what is honoured", LIMIT, async () => {
    const { honoured, events } = await listen({ resourceSubscriptions: ["old://none", "nowhere://x"] });
    assert.deepEqual(honoured.resourceSubscriptions ?? [], []);
    assert.deepEqual(older.subscribedUris(), []);
    await events.cut();
  });
});
