// `resources/subscribe` of a legacy client on a modern server: the portal listens there with `subscriptions/listen`.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { startAsking } from "./fixtures/asking_modern.mjs";
import { readEvents } from "./fixtures/asking_modern_call.mjs";
import { connectAnswering } from "./fixtures/asking_modern_clients.mjs";
import { openCrashWorld } from "./fixtures/asking_modern_crash.mjs";
import { startSdkAsking } from "./fixtures/asking_modern_sdk.mjs";
import { carries, hears, updatesWithin } from "./fixtures/asking_modern_updates.mjs";
import { namesOf } from "./fixtures/clients.mjs";
import { openSession } from "./fixtures/rpc.mjs";
import { tool } from "./fixtures/upstream.mjs";

const LIMIT = { timeout: 60_000 };
const SOON_MS = 5_000;
/** A portal that looks at its listings again every three seconds has seen a change by then. */
const CHANGE_MS = 10_000;
let modern;
let other;
let sdk;
let world;
let token;

before(async () => {
  modern = await startAsking();
  other = await startAsking({ resources: [{ uri: "other://one", name: "one" }] });
  sdk = await startSdkAsking();
  const servers = { modern: { url: modern.url }, other: { url: other.url }, sdk: { url: sdk.url } };
  world = await openCrashWorld({ servers });
  token = await world.token();
}, LIMIT);
after(async () => {
  await world?.stop();
  await Promise.all([modern, other, sdk].map((upstream) => upstream?.stop()));
});

describe("a legacy client on a modern server", () => {
  let session;
  let own;
  const open = async () => {
    session = await openSession(world.url(), token);
    own = readEvents(await session.listen());
  };
  const close = async () => {
    await own?.cut();
    if (session) assert.equal(await session.end(), 204);
    session = undefined;
    await carries(modern, []);
  };
  const subscribe = async (uri) => {
    const { answer } = await session.ask("resources/subscribe", { uri });
    assert.deepEqual(answer.result, {}, JSON.stringify(answer));
  };
  afterEach(close);

  test("subscribes: the server is listened to, and its updates reach the client", LIMIT, async () => {
    await open();
    await subscribe("ask://one");
    await carries(modern, ["ask://one"]);
    const { params } = await hears(own, modern, "ask://one");
    assert.equal(params.uri, "ask://one");
  });

  test("hears what it subscribed to, and nothing else", LIMIT, async () => {
    await open();
    const bystander = await openSession(world.url(), token);
    const stray = readEvents(await bystander.listen());
    for (const uri of ["ask://one", "ask://two"]) await subscribe(uri);
    await carries(modern, ["ask://one", "ask://two"]);
    for (const uri of ["ask://one", "ask://two"]) await hears(own, modern, uri);
    const { answer } = await session.ask("resources/unsubscribe", { uri: "ask://one" });
    assert.deepEqual(answer.result, {}, JSON.stringify(answer));
    await carries(modern, ["ask://two"]);
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
    await carries(modern, ["ask://two"]);
    await carries(other, ["other://one"]);
    await hears(own, other, "other://one");
    await hears(own, modern, "ask://two");
    await session.ask("resources/unsubscribe", { uri: "other://one" });
    await carries(other, []);
  });

  test("may subscribe before it listens, and twice", LIMIT, async () => {
    session = await openSession(world.url(), token);
    await subscribe("ask://one");
    await subscribe("ask://one");
    own = readEvents(await session.listen());
    await carries(modern, ["ask://one"]);
    await hears(own, modern, "ask://one");
    await session.ask("resources/unsubscribe", { uri: "ask://one" });
    await carries(modern, []);
  });

  test("is refused what is no resource, and the server is not asked", LIMIT, async () => {
    await open();
    for (const uri of ["ask://none", "nowhere://x", ""]) {
      const { answer } = await session.ask("resources/subscribe", { uri });
      assert.ok([-32002, -32602].includes(answer.error?.code), `${uri}: ${JSON.stringify(answer)}`);
      assert.ok(!modern.wantedUris.includes(uri), uri);
    }
  });

  test("the end of a session ends the server's stream", LIMIT, async () => {
    await open();
    await subscribe("ask://one");
    await carries(modern, ["ask://one"]);
    await close();
  });

  test("a stream that the server ends is opened again", LIMIT, async () => {
    await open();
    await subscribe("ask://one");
    await carries(modern, ["ask://one"]);
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
      await own.cut();
      own = readEvents(await session.listen());
      await carries(modern, ["ask://one"]);
      await carries(other, ["other://one"]);
      await hears(own, modern, "ask://one", CHANGE_MS);
      await hears(own, other, "other://one", CHANGE_MS);
      await session.ask("resources/unsubscribe", { uri: "other://one" });
      await carries(other, []);
    });
  }

  for (const kind of ["one", "legacy"]) {
    test(`an official client (${kind}) hears updates of both modern servers`, LIMIT, async () => {
      const { client, heard } = await connectAnswering(kind, world.url(), token);
      try {
        await client.subscribeResource({ uri: "ask://three" });
        await client.subscribeResource({ uri: sdk.noteUri });
        await carries(modern, ["ask://three"]);
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
        await carries(modern, []);
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
        async () =>
          namesOf((await session.ask("tools/list")).answer.result.tools).includes("modern_fresh-for-legacy"),
        { ms: CHANGE_MS, what: "the new tool" },
      );
      await hears(own, modern, "ask://one");
    } finally {
      modern.tools = before;
    }
  });
});
