// A server that fails costs its own tools and nothing else, and the caller is told which and why.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { namesOf, textOf } from "./fixtures/clients.mjs";
import { FAULTS } from "./fixtures/faults.mjs";
import { ask, openSession } from "./fixtures/rpc.mjs";
import { freePort, startUpstream, tool } from "./fixtures/upstream.mjs";
import { openWorld } from "./fixtures/world.mjs";

const LIMIT = { timeout: 120_000 };
/** Short where silence is the fault; moving too many bytes takes its time on a busy machine. */
const timeoutMs = (fault) => (/^huge|^endless/.test(fault) ? 5_000 : 600);
/** A call to a server that fails must be over by then: ten of its time-outs, however alive it keeps its stream. */
const CALL_MS = 8_000;
/** What one request may spend on listings that are missing, and a little. */
const LISTING_MS = 12_000;
const own = (names) => names.filter((name) => !name.startsWith("portal_"));

describe("while listing", () => {
  const upstreams = {};
  let world;
  let token;
  let first;
  let tookMs;

  before(async () => {
    const servers = {};
    for (const [fault, [act]] of Object.entries(FAULTS)) {
      upstreams[fault] = await startUpstream({
        era: "modern",
        intercept: (_, response, message) => {
          if (message?.method !== "tools/list") return false;
          act(response, message);
          return true;
        },
      });
      servers[fault] = { url: upstreams[fault].url, timeout_ms: timeoutMs(fault) };
    }
    servers.dead = { url: `http://127.0.0.1:${await freePort()}/mcp`, timeout_ms: timeoutMs("dead") };
    for (const id of ["good", "fine"]) {
      upstreams[id] = await startUpstream({ tools: [tool("work")] });
      servers[id] = { url: upstreams[id].url };
    }
    world = await openWorld({ servers });
    token = await world.token();
    const began = Date.now();
    first = (await ask(world.url(), token, "tools/list", {}, { ms: 60_000 })).answer;
    tookMs = Date.now() - began;
  }, LIMIT);
  after(async () => {
    await world?.stop();
    await Promise.all(Object.values(upstreams).map((upstream) => upstream.stop()));
  });

  test("the good servers' tools are there, in bounded time", LIMIT, (context) => {
    context.diagnostic(`the first listing took ${tookMs} ms`);
    assert.ok(first.result, JSON.stringify(first));
    assert.deepEqual(own(namesOf(first.result.tools)), ["good_work", "fine_work"]);
    assert.ok(tookMs < LISTING_MS, `${tookMs} ms`);
  });

  for (const [fault, [, says]] of Object.entries({ ...FAULTS, dead: [null, /reach/] })) {
    test(`${fault}: the listing names the server and the reason`, LIMIT, () => {
      const unavailable = first.result._meta["portcullis/unavailableServers"];
      const told = unavailable.find(({ server }) => server === fault);
      assert.ok(told, JSON.stringify(unavailable.map(({ server }) => server)));
      assert.match(told.reason, says);
      assert.doesNotMatch(told.reason, /SECRET/);
    });

    test(`${fault}: a call is answered with the server's name, soon`, LIMIT, async () => {
      const params = { name: `${fault}_x`, arguments: {} };
      const { answer } = await ask(world.url(), token, "tools/call", params, { ms: CALL_MS });
      assert.equal(answer.error?.code, -32000, JSON.stringify(answer));
      assert.ok(answer.error.message.includes(`'${fault}'`), answer.error.message);
    });
  }

  test("portal_list_servers says what is wrong with each", LIMIT, async () => {
    const call = { name: "portal_list_servers", arguments: {} };
    const { answer } = await ask(world.url(), token, "tools/call", call, { ms: 60_000 });
    const { servers } = answer.result.structuredContent;
    const status = Object.fromEntries(servers.map((server) => [server.id, server.status]));
    assert.equal(status.good, "ready");
    for (const fault of [...Object.keys(FAULTS), "dead"]) assert.match(status[fault], /^unavailable/, fault);
  });

  test("calls of the good servers are not slower for it, in either era", LIMIT, async () => {
    for (const id of ["good", "fine"]) {
      const began = Date.now();
      const { answer } = await ask(world.url(), token, "tools/call", { name: `${id}_work`, arguments: {} });
      assert.equal(textOf(answer.result), "called work");
      assert.ok(Date.now() - began < 1_000, `${Date.now() - began} ms`);
    }
    const session = await openSession(world.url(), token);
    const { answer } = await session.ask("tools/call", { name: "good_work", arguments: {} });
    assert.equal(textOf(answer.result), "called work");
  });
});

for (const era of ["legacy", "modern"]) {
  describe(`in a call, a ${era} server`, () => {
    let liar;
    let good;
    let world;
    let token;
    /** The kinds and ends of rows that each failed request owes, by request id. */
    const owed = {};
    before(async () => {
      const writes = { annotations: { readOnlyHint: false } };
      liar = await startUpstream({
        era,
        tools: [
          ...[...Object.keys(FAULTS), "fine"].map((name) => tool(name)),
          ...Object.keys(FAULTS).map((name) => tool(`write-${name}`, writes)),
        ],
        intercept: (_, response, message) => {
          if (message?.method !== "tools/call") return false;
          const [act] = FAULTS[message.params.name.replace("write-", "")] ?? [];
          act?.(response, message);
          return Boolean(act);
        },
      });
      good = await startUpstream({ tools: [tool("work")] });
      const servers = {
        liar: { url: liar.url, timeout_ms: timeoutMs("") },
        // The same one, for the faults that take longer.
        bulk: { url: liar.url, timeout_ms: timeoutMs("huge") },
        good: { url: good.url },
      };
      world = await openWorld({ servers });
      token = await world.token();
      await ask(world.url(), token, "tools/list");
    }, LIMIT);
    after(async () => {
      await world?.stop();
      await Promise.all([liar?.stop(), good?.stop()]);
    });

    for (const [fault, [, says]] of Object.entries(FAULTS)) {
      const server = timeoutMs(fault) === timeoutMs("") ? "liar" : "bulk";

      function assertTold(answer) {
        assert.equal(answer.error?.code, -32000, JSON.stringify(answer).slice(0, 300));
        assert.ok(answer.error.message.includes(`'${server}'`), answer.error.message);
        assert.match(answer.error.message, says);
        assert.doesNotMatch(answer.error.message, /SECRET/);
        if (fault === "limited") assert.equal(answer.error.data.retryAfterSeconds, 17);
      }

      test(`${fault}: the error names the server and the reason, soon, in either era`, LIMIT, async () => {
        const session = await openSession(world.url(), token);
        const params = (name) => ({ name: `${server}_${name}`, arguments: {} });
        // At once: each of them takes as long as the fault lets it.
        const [read, write, older] = await Promise.all([
          ask(world.url(), token, "tools/call", params(fault), { ms: CALL_MS }),
          ask(world.url(), token, "tools/call", params(`write-${fault}`), { ms: CALL_MS }),
          session.ask("tools/call", params(fault), { ms: CALL_MS }),
        ]);
        for (const { answer, status } of [read, write, older]) {
          assert.equal(status, 200);
          assertTold(answer);
        }
        const made = (name) => liar.received.filter(({ message }) => message.params?.name === name).length;
        assert.deepEqual([made(fault), made(`write-${fault}`)], [2, 1], "a call is never repeated");
        const outcome = "outcome upstream_failed";
        for (const { answer } of [read, older]) owed[answer.error.data.requestId] = [outcome];
        owed[write.answer.error.data.requestId] = ["intent pending", outcome];
        await session.end();
      });
    }

    test("each failure is recorded as what it was", LIMIT, async () => {
      assert.equal(Object.keys(owed).length, 3 * Object.keys(FAULTS).length);
      const recorded = async () => {
        const rows = await world.portal.d1("SELECT request_id, kind, status FROM audit_events ORDER BY id");
        const found = {};
        for (const { request_id: id, kind, status } of rows) {
          if (owed[id]) found[id] = [...(found[id] ?? []), `${kind} ${status}`];
        }
        return found;
      };
      const isComplete = async () =>
        Object.values(await recorded()).flat().length === Object.values(owed).flat().length;
      await eventually(isComplete, { what: "all rows" }).catch(() => {});
      assert.deepEqual(await recorded(), owed);
    });

    test("the same server's other tools and the other server still work", LIMIT, async () => {
      for (const name of ["liar_fine", "good_work"]) {
        const { answer } = await ask(world.url(), token, "tools/call", { name, arguments: {} });
        assert.ok(answer.result, JSON.stringify(answer));
      }
      assert.equal((await fetch(`${world.portal.origin}/health`)).status, 200);
    });
  });
}
