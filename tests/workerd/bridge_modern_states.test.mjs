// The state of a waiting call is in the client's hands: whoever forges it, swaps it, shows it twice or shows it where it
// does not belong gets nothing, and the server hears nothing. And what the trail says of it all.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { applyConfig } from "../harness/config.mjs";
import { form, scriptUri, steps } from "./fixtures/asking_legacy_steps.mjs";
import {
  cancelled,
  openAskingWorld,
  reached,
  replyTo,
  retry,
  scripted,
} from "./fixtures/asking_legacy_world.mjs";
import { ask } from "./fixtures/rpc.mjs";

const LIMIT = { timeout: 40_000 };
const TOGETHER = { concurrency: true };
/** The promise for a changed rule, and a little. */
const REVOKED_MS = 6_500;
const NOT_VALID = "The cursor or requestState is not valid here any more. Start the request anew.";
const script = [steps.ask(form("a"))];
let world;

before(async () => {
  world = await openAskingWorld({ servers: { one: {}, two: {}, kept: {} } });
}, LIMIT);
after(() => world?.stop());

/** Somebody with a call that waits for them. */
async function waiting(tag, { server = "one", tool = "ask", who, steps: own = script } = {}) {
  const person = who ?? (await world.person());
  const params = scripted(server, tag, own, tool);
  const round = await world.round(person, params);
  assert.ok(round.state, round.told);
  return { who: person, params, round, server: world.servers[server] };
}

/** Nobody took the bait, and the one it belongs to can still go on. */
async function assertUntouched({ who, params, round, server }) {
  const record = server.call(params.arguments.tag);
  assert.deepEqual([record.begun, record.answers.length, record.cancelled], [1, 0, 0]);
  const last = await world.round(who, retry(params, round));
  assert.deepEqual(last.said?.answers, [replyTo(form("a"))], last.told);
  assert.deepEqual([record.begun, record.answers.length], [1, 1]);
}

async function assertRefused(round, who, reason = "bad_seal") {
  assert.equal(round.error?.code, -32602, round.told);
  if (reason === "bad_seal") assert.equal(round.error.message, NOT_VALID);
  const { requestId } = round.error.data;
  const rows = await world.rows(who, (found) => found.some((row) => row.request_id === requestId));
  const own = rows.filter((row) => row.request_id === requestId);
  assert.deepEqual(
    own.map(({ kind, status, reason: why }) => [kind, status, why]),
    [["refusal", "refused", reason]],
  );
}

describe("forged", TOGETHER, () => {
  const swap = (text, at) => text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);
  const FORGED = {
    "its first letter": (state) => swap(state, 0),
    "its middle": (state) => swap(state, Math.floor(state.length / 2)),
    "near its end": (state) => swap(state, state.length - 4),
    "cut short": (state) => state.slice(0, -8),
    "with a tail": (state) => `${state}AAAA`,
    "twice over": (state) => state + state,
    empty: () => "",
    "made up": () => Buffer.from(JSON.stringify({ call: 1, principal: "alice" })).toString("base64url"),
    "no base64 at all": () => "\u0000 ü {}",
    "as large as may be": () => "A".repeat(60_000),
    "larger than may be": () => "A".repeat(100_000),
  };
  for (const [name, forge] of Object.entries(FORGED)) {
    test(name, LIMIT, async () => {
      const call = await waiting(`forged ${name}`);
      const state = forge(call.round.state);
      const refused = await world.round(call.who, retry(call.params, { ...call.round, state }));
      await assertRefused(refused, call.who);
      await assertUntouched(call);
    });
  }

  for (const [name, state] of Object.entries({ number: 7, object: {}, list: [], null: null })) {
    test(`a ${name} in its place`, LIMIT, async () => {
      const call = await waiting(`no text but ${name}`);
      const answered = { ...retry(call.params, call.round), requestState: state };
      const { error, told } = await world.round(call.who, answered);
      assert.equal(error?.code, -32602, told);
      await assertUntouched(call);
    });
  }

  test("a state is no cursor", LIMIT, async () => {
    const call = await waiting("as cursor");
    const { token } = call.who;
    const listed = await ask(world.url, token, "tools/list", { cursor: call.round.state });
    assert.equal(listed.answer.error?.code, -32602, listed.text);
    await assertUntouched(call);
  });
});

describe("shown where it does not belong", TOGETHER, () => {
  const MOVED = {
    "by another person": async (call) => [await world.person(), call.params],
    "for another server": (call) => [call.who, { ...call.params, name: "two_ask" }],
    "for another tool": (call) => [call.who, { ...call.params, name: "one_other" }],
    "for other arguments": (call) => [call.who, scripted("one", call.params.arguments.tag, [...script, {}])],
    "for one argument more": (call) => [
      call.who,
      { ...call.params, arguments: { ...call.params.arguments, more: null } },
    ],
    "for no arguments": (call) => [call.who, { name: call.params.name }],
  };
  for (const [name, move] of Object.entries(MOVED)) {
    test(name, LIMIT, async () => {
      const call = await waiting(`moved ${name}`);
      const [who, params] = await move(call);
      const refused = await world.round(who, retry(params, call.round));
      await assertRefused(refused, who);
      assert.equal(world.servers.two.begun(call.params.arguments.tag), 0);
      await assertUntouched(call);
    });
  }

  test("for another method", LIMIT, async () => {
    const call = await waiting("another method");
    const spare = { tag: "spare", steps: [] };
    for (const [method, params] of [
      ["prompts/get", { name: "one_ask", arguments: { script: JSON.stringify(spare) } }],
      ["resources/read", { uri: scriptUri("one", spare) }],
    ]) {
      await assertRefused(await world.round(call.who, retry(params, call.round), { method }), call.who);
    }
    assert.equal(world.servers.one.begun("spare"), 0);
    await assertUntouched(call);
  });

  test("the states of two calls at once, swapped", LIMIT, async () => {
    const who = await world.person();
    const [left, right] = await Promise.all(["left", "right"].map((tag) => waiting(tag, { who })));
    await assertRefused(await world.round(who, retry(left.params, right.round)), who);
    await assertRefused(await world.round(who, retry(right.params, left.round)), who);
    await Promise.all([left, right].map(assertUntouched));
  });

  test("two calls that are the same to the letter stay two", LIMIT, async () => {
    const who = await world.person();
    const [first, second] = await Promise.all([1, 2].map(() => waiting("same", { who })));
    assert.notEqual(first.round.state, second.round.state);
    const reply = (name) => () => ({ action: "accept", content: { a: name } });
    const answered = await Promise.all([
      world.round(who, retry(first.params, first.round, reply("first"))),
      world.round(who, retry(second.params, second.round, reply("second"))),
    ]);
    assert.ok(
      answered.every(({ said }) => said),
      answered.map(({ told }) => told).join(),
    );
    const record = world.servers.one.call("same");
    assert.deepEqual([record.begun, record.answers.length], [2, 2]);
    assert.deepEqual(record.answers.map(({ result }) => result.content.a).toSorted(), ["first", "second"]);
    assert.notEqual(record.requests[0].id, record.requests[1].id);
  });
});

describe("shown twice", TOGETHER, () => {
  test("after the end", LIMIT, async () => {
    const call = await waiting("twice");
    const answered = retry(call.params, call.round);
    assert.ok((await world.round(call.who, answered)).said);
    await assertRefused(await world.round(call.who, answered), call.who, "input_taken");
    const { begun, answers } = call.server.call("twice");
    assert.deepEqual([begun, answers.length], [1, 1]);
  });

  test("after the next question", LIMIT, async () => {
    const call = await waiting("twice-asked", { steps: [steps.ask(form("a")), steps.ask(form("b"))] });
    const answered = retry(call.params, call.round);
    const second = await world.round(call.who, answered);
    assert.ok(second.state, second.told);
    await assertRefused(await world.round(call.who, answered), call.who, "input_taken");
    const last = await world.round(call.who, retry(call.params, second));
    assert.deepEqual(last.said?.answers, [replyTo(form("a")), replyTo(form("b"))], last.told);
  });

  test("ten times at once: one gets through", LIMIT, async () => {
    const call = await waiting("at-once", { tool: "write", steps: [...script, steps.pause(300)] });
    const answered = retry(call.params, call.round);
    const all = await Promise.all(Array.from({ length: 10 }, () => world.round(call.who, answered)));
    assert.equal(all.filter(({ said }) => said).length, 1, all.map(({ told }) => told).join("\n"));
    const refused = all.filter(({ error }) => error?.code === -32602);
    assert.equal(refused.length, 9);
    const { begun, answers } = call.server.call("at-once");
    assert.deepEqual([begun, answers.length], [1, 1]);
  });
});

describe("the trail", TOGETHER, () => {
  const outcomes = (rows) =>
    rows.filter(({ kind }) => kind !== "intent").map(({ kind, status }) => `${kind} ${status}`);

  for (const tool of ["ask", "write"]) {
    test(`one outcome for each request of a ${tool}`, LIMIT, async () => {
      const own = [steps.ask(form("a")), steps.ask(form("b"))];
      const call = await waiting(`trail ${tool}`, { tool, steps: own });
      const last = await world.finish(call.who, call.params, { round: call.round });
      assert.ok(last.said, last.told);
      const rows = await world.rows(call.who, (found) => outcomes(found).length >= 3);
      assert.deepEqual(outcomes(rows), ["outcome input_required", "outcome input_required", "outcome ok"]);
      const ends = rows.filter(({ kind }) => kind !== "intent");
      assert.equal(new Set(ends.map((row) => row.request_id)).size, 3, "each request has an id of its own");
      for (const row of rows) {
        assert.deepEqual(
          [row.method, row.server, row.target, row.era, row.portal, row.is_write],
          ["tools/call", "one", tool, "modern", "main", tool === "write" ? 1 : 0],
        );
      }
      if (tool === "write") assert.equal(rows[0].kind, "intent");
      assert.ok(!JSON.stringify(rows).includes("What is a?"), "nothing of what was asked or said");
    });
  }
});

// The last of the file: it changes what holds for everybody.
describe("a rule that changes between two rounds", () => {
  const { timeout } = LIMIT;

  test("ends the call: refused here, cancelled there, nothing handed over", { timeout }, async () => {
    const call = await waiting("denied", { server: "kept" });
    const servers = { ...world.config.servers };
    servers.kept = { ...servers.kept, tools: { default: "allow", deny: ["ask"] } };
    await applyConfig(world.portal().origin, { ...world.config, servers }, world.portal().setupToken);
    const end = Date.now() + REVOKED_MS;
    const other = await world.person();
    for (let count = 0; Date.now() < end; count += 1) {
      const { error } = await world.round(other, scripted("kept", `probe ${count}`, []));
      if (error) break;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const refused = await world.round(call.who, retry(call.params, call.round));
    assert.ok(refused.error, refused.told);
    assert.match(refused.error.message, /^Unknown tool: kept_ask$/);
    await cancelled(call.server, "denied");
    assert.deepEqual(call.server.call("denied").answers, []);
    const { requestId } = refused.error.data;
    const rows = await world.rows(call.who, (found) => found.some((row) => row.request_id === requestId));
    assert.deepEqual(
      rows.filter((row) => row.request_id === requestId).map(({ kind, status }) => [kind, status]),
      [["refusal", "refused"]],
    );
  });

  test("a person who may not enter any more hears and says nothing", { timeout }, async () => {
    const call = await waiting("shut-out");
    await reached(call.server, "shut-out");
    const { main } = world.config.portals;
    const block = { action: "block", include: [{ email: call.who.email }] };
    const portals = { main: { ...main, access: [block, ...main.access] } };
    await applyConfig(world.portal().origin, { ...world.config, portals }, world.portal().setupToken);
    const end = Date.now() + REVOKED_MS;
    let status = 200;
    while (status === 200 && Date.now() < end) {
      ({ status } = await ask(world.url, call.who.token, "tools/list"));
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const refused = await world.round(call.who, retry(call.params, call.round));
    assert.equal(refused.status, 403, refused.told);
    assert.deepEqual(call.server.call("shut-out").answers, []);
  });
});
