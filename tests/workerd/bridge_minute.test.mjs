// A person who takes more than a minute, and what is left afterwards: longer than any server's time-out and than the
// request that asked. Both are shown at once, since both take as long.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { form, steps } from "./fixtures/asking_legacy_steps.mjs";
import { openAskingWorld, replyTo, retry, scripted } from "./fixtures/asking_legacy_world.mjs";

const LIMIT = { timeout: 150_000 };
const MINUTE_MS = 61_000;
/** Two looks of half a minute each, and some time for a busy machine. */
const REST_MS = 100_000;
let world;

before(async () => {
  world = await openAskingWorld({ servers: { slow: { entry: { timeout_ms: 5_000 } }, idle: {} } });
}, LIMIT);
after(() => world?.stop());

test("after a minute", { ...LIMIT, concurrency: true }, async (suite) => {
  suite.test("another request answers through the stream that the first one opened", LIMIT, async () => {
    const who = await world.person();
    const params = scripted("slow", "minute", [steps.ask(form("late"))]);
    const asked = await world.round(who, params);
    assert.ok(asked.state, JSON.stringify(asked));
    await new Promise((resolve) => setTimeout(resolve, MINUTE_MS));
    const done = await world.round(who, retry(params, asked, replyTo));
    assert.equal(done.said?.begun, 1, JSON.stringify(done));
    assert.equal(world.servers.slow.begun("minute"), 1);
    assert.equal(world.servers.slow.call("minute").cancelled, 0);
  });

  suite.test("nothing is held open for a client that has no call under way", LIMIT, async () => {
    const { idle } = world.servers;
    await world.finish(await world.person(), scripted("idle", "once", [steps.ask(form("now"))]));
    assert.ok(idle.openStreams > 0, "the session's own stream");
    await eventually(() => idle.openStreams === 0, { ms: REST_MS, everyMs: 500, what: "the stream's end" });
    const who = await world.person();
    const again = await world.finish(who, scripted("idle", "again", [steps.ask(form("later"))]));
    assert.equal(again.said?.begun, 1, JSON.stringify(again));
  });
});
