// Subscriptions across eras: `resources/subscribe` on a modern server, and `subscriptions/listen` on a legacy one.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { startAsking } from "./fixtures/asking_modern.mjs";
import { connectAnswering } from "./fixtures/asking_modern_clients.mjs";
import { openCrashWorld } from "./fixtures/asking_modern_crash.mjs";
import { startOlder } from "./fixtures/asking_modern_older.mjs";
import { startSdkAsking } from "./fixtures/asking_modern_sdk.mjs";
import { namesOf } from "./fixtures/clients.mjs";
import { ask, eventsOf, openSession, send } from "./fixtures/rpc.mjs";
import { tool } from "./fixtures/upstream.mjs";

const LIMIT = { timeout: 60_000 };
const SOON_MS = 5_000;
/** A portal that looks at its listings again every three seconds has seen a change by then. */
const CHANGE_MS = 10_000;
const SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId";
const UPDATED = "notifications/resources/updated";
const isUpdate = ({ method }) => method === UPDATED;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let modern;
let other;
let sdk;
let older;
let world;
let token;

before(async () => {
  modern = await startAsking();
  other = await startAsking({ resources: [{ uri: "other://one", name: "one" }] });
  sdk = await startSdkAsking();
  older = await startOlder();
  const servers = { modern, other, sdk, older };
  world = await openCrashWorld({
    servers: Object.fromEntries(Object.entries(servers).map(([id, { url }]) => [id, { url }])),
  });
  token = await world.token();
}, LIMIT);
after(async () => {
  await world?.stop();
  await Promise.all([modern, other, sdk, older].map((upstream) => upstream?.stop()));
});

/** Waits until the server's streams carry exactly these resources. */
const carries = (uris, upstream = modern) =>
  eventually(() => JSON.stringify(upstream.subscribedUris()) === JSON.stringify(uris), {
    ms: SOON_MS,
    what: `subscriptions to ${uris} and nothing else (last: ${upstream.subscribedUris()})`,
  });

/** Sends updates until one arrives: a stream that was just opened may not carry the first. */
async function hears(events, upstream, uri, ms = SOON_MS) {
  const timer = setInterval(() => upstream.update(uri), 100);
  try {
    upstream.update(uri);
    return await events.message((message) => isUpdate(message) && message.params.uri === uri, ms);
  } finally {
    clearInterval(timer);
  }
}

/** The updates that arrive within a while: as URIs. */
async function updatesWithin(events, ms) {
  const uris = [];
  const end = Date.now() + ms;
  while (Date.now() < end) {
    const left = Math.max(1, end - Date.now());
    const message = await events.message(isUpdate, left).catch(() => undefined);
    if (message) uris.push(message.params.uri);
    else break;
  }
  return uris;
}

describe("a legacy client on a modern server", () => {
  let session;
  let own;
  const open = async () => {
    session = await openSession(world.url(), token);
    own = eventsOf(await session.listen());
  };
  const close = async () => {
    await own?.cut().catch(() => {});
    if (session) assert.equal(await session.end(), 204);
    session = undefined;
    await carries([]);
  };
  const subscribe = async (uri) => {
    const { answer } = await session.ask("resources/subscribe", { uri });
    assert.deepEqual(answer.result, {}, JSON.stringify(answer));
  };
  afterEach(close);

  test("subscribes: the server is listened to, and its updates reach the client", LIMIT, async () => {
    await open();
    await subscribe("ask://one");
    await carries(["ask://one"]);
    const { params } = await hears(own, modern, "ask://one");
    assert.equal(params.uri, "ask://one");
  });

  test("hears what it subscribed to, and nothing else", LIMIT, async () => {
    await open();
    const bystander = await openSession(world.url(), token);
    const stray = eventsOf(await bystander.listen());
    for (const uri of ["ask://one", "ask://two"]) await subscribe(uri);
    await carries(["ask://one", "ask://two"]);
    for (const uri of ["ask://one", "ask://two"]) await hears(own, modern, uri);
    const { answer } = await session.ask("resources/unsubscribe", { uri: "ask://one" });
    assert.deepEqual(answer.result, {}, JSON.stringify(answer));
    await carries(["ask://two"]);
    await hears(own, modern, "ask://two");
    await updatesWithin(own, 300);
    for (const uri of ["ask://one", "ask://three", "ask://two"]) modern.update(uri);
    assert.deepEqual(await updatesWithin(own, 500), ["ask://two"]);
    assert.deepEqual(await updatesWithin(stray, 300), [], "another session");
    await stray.cut();
    await bystander.end();
  });

  test("subscribes to two servers", LIMIT, async () => {
    await open();
    await subscribe("ask://two");
    await subscribe("other://one");
    await carries(["ask://two"]);
    await carries(["other://one"], other);
    await hears(own, other, "other://one");
    await hears(own, modern, "ask://two");
    await session.ask("resources/unsubscribe", { uri: "other://one" });
    await carries([], other);
  });

  test("may subscribe before it listens, and twice", LIMIT, async () => {
    session = await openSession(world.url(), token);
    await subscribe("ask://one");
    await subscribe("ask://one");
    own = eventsOf(await session.listen());
    await carries(["ask://one"]);
    await hears(own, modern, "ask://one");
    await session.ask("resources/unsubscribe", { uri: "ask://one" });
    await carries([]);
  });

  test("is refused what is no resource, and the server is not asked", LIMIT, async () => {
    await open();
    for (const uri of ["ask://none", "nowhere://x", ""]) {
      const listens = modern.listens;
      const { answer } = await session.ask("resources/subscribe", { uri });
      assert.ok([-32002, -32602].includes(answer.error?.code), `${uri}: ${JSON.stringify(answer)}`);
      assert.deepEqual(modern.subscribedUris(), []);
      assert.equal(modern.listens, listens, uri);
    }
  });

  test("the end of a session ends the server's stream", LIMIT, async () => {
    await open();
    await subscribe("ask://one");
    await carries(["ask://one"]);
    await close();
  });

  test("a stream that the server ends is opened again", LIMIT, async () => {
    await open();
    await subscribe("ask://one");
    await carries(["ask://one"]);
    const listens = modern.listens;
    modern.hangUp();
    await eventually(() => modern.listens > listens, { ms: CHANGE_MS, what: "a new stream" });
    await hears(own, modern, "ask://one");
  });

  for (const [how, what] of [
    ["aborted", "the session's object is lost"],
    ["restarted", "workerd is started again"],
  ]) {
    test(`subscriptions outlive it when ${what}`, LIMIT, async () => {
      await open();
      await subscribe("ask://one");
      await subscribe("other://one");
      await hears(own, modern, "ask://one");
      await world.crash(how);
      await own.cut().catch(() => {});
      own = eventsOf(await session.listen());
      await carries(["ask://one"]);
      await carries(["other://one"], other);
      await hears(own, modern, "ask://one", CHANGE_MS);
      await hears(own, other, "other://one", CHANGE_MS);
      await session.ask("resources/unsubscribe", { uri: "other://one" });
      await carries([], other);
    });
  }

  for (const kind of ["one", "legacy"]) {
    test(`an official client (${kind}) hears updates of both modern servers`, LIMIT, async () => {
      const { client, heard } = await connectAnswering(kind, world.url(), token);
      try {
        await client.subscribeResource({ uri: "ask://three" });
        await client.subscribeResource({ uri: sdk.noteUri });
        await carries(["ask://three"]);
        const isHeard = (uri) => () => {
          modern.update("ask://three");
          sdk.notify.resourceUpdated(sdk.noteUri);
          return heard.updated.includes(uri);
        };
        for (const uri of ["ask://three", sdk.noteUri]) {
          await eventually(isHeard(uri), { ms: SOON_MS, everyMs: 100, what: `an update of ${uri}` });
        }
        await client.unsubscribeResource({ uri: sdk.noteUri });
        await client.unsubscribeResource({ uri: "ask://three" });
        await carries([]);
      } finally {
        await client.close();
      }
    });
  }

  test("hears at once that a listing changed, besides its resources", LIMIT, async () => {
    await open();
    await subscribe("ask://one");
    await session.ask("tools/list");
    await eventually(() => modern.hears("tools"), { ms: CHANGE_MS, what: "the portal listens for listings" });
    const before = modern.tools;
    try {
      modern.tools = [...before, tool("fresh-for-legacy")];
      modern.changed("tools");
      await own.message(({ method }) => method === "notifications/tools/list_changed", CHANGE_MS);
      await eventually(
        async () => namesOf((await session.ask("tools/list")).answer.result.tools).includes("modern_fresh-for-legacy"),
        { ms: CHANGE_MS, what: "the new tool" },
      );
      await hears(own, modern, "ask://one");
    } finally {
      modern.tools = before;
    }
  });
});

describe("a modern client on a legacy server", () => {
  const ids = { next: 0 };
  async function listen(notifications, who = token) {
    ids.next += 1;
    const id = `listen-${ids.next}`;
    const response = await send(world.url(), who, "subscriptions/listen", { notifications }, { id, ms: 60_000 });
    assert.equal(response.status, 200);
    const events = eventsOf(response);
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

  const isSubscribed = (uris) =>
    eventually(() => JSON.stringify(older.subscribedUris()) === JSON.stringify(uris), {
      ms: SOON_MS,
      what: `the server's subscriptions to be ${uris}`,
    });

  test("listens: the server is subscribed to in a session, and updates carry the subscription's id", LIMIT, async () => {
    const uris = ["old://one", "old://none"];
    const listening = await listen({ resourceSubscriptions: uris });
    assert.deepEqual(listening.honoured, { resourceSubscriptions: ["old://one"] });
    await isSubscribed(["old://one"]);
    const asked = older.last("resources/subscribe");
    assert.deepEqual(asked.message.params.uri, "old://one");
    assert.ok(asked.headers["mcp-session-id"]);
    await eventually(() => older.listeners.size > 0, { what: "the portal's stream" });
    const { params } = await hears(listening.events, older, "old://one");
    assert.equal(params._meta[SUBSCRIPTION], listening.id);
    older.update("old://two");
    assert.deepEqual((await updatesWithin(listening.events, 500)).filter((uri) => uri !== "old://one"), []);
    await leave(listening, "old://one");
  });

  test("of two streams each has its own resources, and one's end leaves the other's", LIMIT, async () => {
    const first = await listen({ resourceSubscriptions: ["old://one"] });
    const second = await listen({ resourceSubscriptions: ["old://two", "ask://one"] });
    assert.deepEqual(second.honoured.resourceSubscriptions, ["old://two", "ask://one"]);
    await isSubscribed(["old://one", "old://two"]);
    await hears(first.events, older, "old://one");
    const { params } = await hears(second.events, older, "old://two");
    assert.equal(params._meta[SUBSCRIPTION], second.id);
    assert.equal((await hears(second.events, modern, "ask://one")).params._meta[SUBSCRIPTION], second.id);
    await leave(first, "old://one");
    await hears(second.events, older, "old://two");
    await leave(second, "old://two");
  });

  test("the same resource for two people: both hear, and the first one's end is not the other's", LIMIT, async () => {
    const hers = await listen({ resourceSubscriptions: ["old://two"] });
    const his = await listen({ resourceSubscriptions: ["old://two"] }, await world.token("bob@acme.example"));
    await Promise.all([hears(hers.events, older, "old://two"), hears(his.events, older, "old://two")]);
    await hers.events.cut();
    await pause(500);
    for (let n = 0; n < 10; n += 1) {
      older.update("old://two");
      await pause(50);
    }
    await hears(his.events, older, "old://two");
    await leave(his, "old://two");
  });

  test("an official client listens", LIMIT, async () => {
    const { client, heard } = await connectAnswering("modern", world.url(), token);
    try {
      const listening = await client.listen({ resourceSubscriptions: ["old://one"] });
      await isSubscribed(["old://one"]);
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
