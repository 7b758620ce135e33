// People who are asked and never come back, clients that hang up in the middle, and clients that read slowly.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { eventually } from "../harness/bounded.mjs";
import { form, steps } from "./fixtures/asking_legacy_steps.mjs";
import {
  CAPABILITIES,
  cancelled,
  openAskingWorld,
  reached,
  replyTo,
  retry,
  roundOf,
  scripted,
} from "./fixtures/asking_legacy_world.mjs";
import { ask, read, send } from "./fixtures/rpc.mjs";

const LIMIT = { timeout: 40_000 };
const TOGETHER = { concurrency: true };
/** How long a call waits for its person here. */
const WAIT_MS = 2_500;
/** How much later than that its end may be noticed. */
const LATE_MS = 4_000;
const MIB = 1024 * 1024;
let world;

before(async () => {
  world = await openAskingWorld({ servers: { plain: {}, resuming: { resumes: true } }, waitMs: WAIT_MS });
}, LIMIT);
after(() => world?.stop());

const outcomes = (rows) => rows.filter(({ kind }) => kind !== "intent");

/** The server was told, the trail says why, and coming back late says the same. */
async function assertExpired(who, id, params, round, since) {
  const { tag } = params.arguments;
  const server = world.servers[id];
  await cancelled(server, tag, WAIT_MS + LATE_MS);
  assert.ok(Date.now() - since >= WAIT_MS - 200, "it was given its time");
  const late = await world.round(who, retry(params, round));
  assert.equal(late.error?.code, -32602, late.told);
  const isExpired = ({ status, reason }) => status === "cancelled" && reason === "input_expired";
  const isComplete = (rows) =>
    rows.some(isExpired) && rows.some(({ request_id: each }) => each === late.error.data.requestId);
  const rows = outcomes(await world.rows(who, isComplete));
  const expired = rows.filter(isExpired);
  assert.equal(expired.length, 1, JSON.stringify(rows));
  const { method, server: named, target } = expired[0];
  assert.deepEqual([method, named, target], ["tools/call", id, params.name.split("_")[1]]);
  const refused = rows.find(({ request_id: each }) => each === late.error.data.requestId);
  assert.deepEqual([refused?.kind, refused?.reason], ["refusal", "input_expired"]);
  const { begun, cancelled: times } = server.call(tag);
  assert.deepEqual([begun, times], [1, 1]);
}

describe("a person who never comes back", TOGETHER, () => {
  for (const tool of ["ask", "write"]) {
    test(`to a ${tool}`, LIMIT, async () => {
      const who = await world.person();
      const params = scripted("plain", `vanished ${tool}`, [steps.ask(form("a"))], tool);
      const round = await world.round(who, params);
      assert.ok(round.state, round.told);
      await assertExpired(who, "plain", params, round, Date.now());
      assert.deepEqual(world.servers.plain.call(params.arguments.tag).answers, []);
    });
  }

  test("to the second question", LIMIT, async () => {
    const who = await world.person();
    const params = scripted("plain", "vanished later", [steps.ask(form("a")), steps.ask(form("b"))]);
    const first = await world.round(who, params);
    const second = await world.round(who, retry(params, first));
    assert.ok(second.state, second.told);
    await assertExpired(who, "plain", params, second, Date.now());
  });

  test("and one who takes their time with each question is not cut off", LIMIT, async () => {
    const who = await world.person();
    const script = ["a", "b", "c"].map((name) => steps.ask(form(name)));
    const params = scripted("plain", "thoughtful", script);
    let round = await world.round(who, params);
    const since = Date.now();
    for (let count = 0; round.state && count < 5; count += 1) {
      await pause(WAIT_MS * 0.5);
      round = await world.round(who, retry(params, round));
    }
    assert.equal(round.said?.answers.length, 3, round.told);
    assert.ok(Date.now() - since > WAIT_MS, "longer in all than one question may wait");
  });
});

// Apart from the others: taking the objects' memory away concerns everybody.
describe("a person who never comes back to an object that was evicted", TOGETHER, () => {
  const calls = {};

  before(async () => {
    for (const id of ["plain", "resuming"]) {
      const who = await world.person();
      const params = scripted(id, "vanished evicted", [steps.ask(form("a"))]);
      calls[id] = { who, params, round: await world.round(who, params), since: Date.now() };
    }
    await world.evict();
  });

  for (const id of ["plain", "resuming"]) {
    test(id, LIMIT, async () => {
      const { who, params, round, since } = calls[id];
      assert.ok(round.state, round.told);
      await assertExpired(who, id, params, round, since);
    });
  }
});

// Local workerd learns that a client has gone only when it writes to it, so the server keeps talking.
describe("a client that hangs up while the server works", TOGETHER, () => {
  const talk = [steps.progress(100, 100), steps.gate()];

  /** Begins a request and hangs up once something of it has arrived. */
  async function hangUp(who, params, tag) {
    const gone = new AbortController();
    const options = { capabilities: CAPABILITIES, meta: { progressToken: tag }, signal: gone.signal };
    const response = await send(world.url, who.token, "tools/call", params, options);
    await response.body.getReader().read();
    gone.abort();
  }

  test("before anything was asked: cancelled", LIMIT, async () => {
    const who = await world.person();
    await hangUp(who, scripted("plain", "hung up", talk), "hung up");
    await cancelled(world.servers.plain, "hung up");
    const rows = outcomes(await world.rows(who, (found) => outcomes(found).length > 0));
    assert.deepEqual(
      rows.map(({ kind, status }) => [kind, status]),
      [["outcome", "cancelled"]],
    );
  });

  test("after it has answered: cancelled, and the state is spent", LIMIT, async () => {
    const who = await world.person();
    const meta = { progressToken: "hung up later" };
    const params = scripted("plain", "hung up later", [steps.ask(form("a")), ...talk]);
    const first = await world.round(who, params, { meta });
    assert.ok(first.state, first.told);
    const answered = retry(params, first);
    await hangUp(who, answered, "hung up later");
    await cancelled(world.servers.plain, "hung up later");
    const again = await world.round(who, answered);
    assert.equal(again.error?.code, -32602, again.told);
    const { begun, answers } = world.servers.plain.call("hung up later");
    assert.deepEqual([begun, answers.length], [1, 1]);
  });

  test("its other calls go on", LIMIT, async () => {
    const who = await world.person();
    const params = scripted("plain", "stays", [steps.ask(form("a")), steps.gate()]);
    const first = await world.round(who, params);
    const answering = world.round(who, retry(params, first));
    await reached(world.servers.plain, "stays", "gate");
    await hangUp(who, scripted("plain", "goes", talk), "goes");
    await cancelled(world.servers.plain, "goes");
    world.servers.plain.let("stays");
    const last = await answering;
    assert.deepEqual(last.said?.answers, [replyTo(form("a"))], last.told);
    assert.equal(world.servers.plain.call("stays").cancelled, 0);
  });
});

describe("a client that reads slowly", () => {
  test("misses nothing of what was said before the question", LIMIT, async () => {
    const who = await world.person();
    const count = 1_500;
    const params = scripted("plain", "slow", [steps.flood(count, 1_000), steps.ask(form("a"))]);
    const meta = { "io.modelcontextprotocol/logLevel": "debug" };
    const options = { capabilities: CAPABILITIES, meta };
    const response = await send(world.url, who.token, "tools/call", params, options);
    await pause(1_500);
    const round = roundOf(await read(response));
    const numbers = round.messages.filter(({ method }) => method).map(({ params: said }) => said.data.number);
    assert.deepEqual(
      numbers,
      Array.from({ length: count }, (_, index) => index + 1),
    );
    assert.ok(round.state, round.told);
    const last = await world.round(who, retry(params, round), { meta });
    assert.deepEqual(last.said?.answers, [replyTo(form("a"))], last.told);
  });

  test("does not make the portal hold what it has not read", LIMIT, async () => {
    const who = await world.person();
    const before = world.memory();
    const params = scripted("plain", "stuck", [steps.flood(2_000, 100_000)]);
    const options = { capabilities: CAPABILITIES, meta: { "io.modelcontextprotocol/logLevel": "debug" } };
    const response = await send(world.url, who.token, "tools/call", params, options);
    const reader = response.body.getReader();
    await reader.read();
    let most = 0;
    for (let look = 0; look < 10; look += 1) {
      await pause(300);
      most = Math.max(most, world.memory() - before);
    }
    await reader.cancel();
    assert.ok(
      most < 120 * MIB,
      `workerd grew by ${Math.round(most / MIB)} MiB for one client that stopped reading`,
    );
    const next = await world.finish(who, scripted("plain", "stuck next", [steps.ask(form("a"))]));
    assert.ok(next.said, next.told);
  });
});

test("nothing of all this stays with the portal", LIMIT, async () => {
  const { plain } = world.servers;
  const sessions = () =>
    new Set([...plain.sessions.values()].filter(({ standalone }) => standalone.response)).size;
  // What is left are the sessions' own streams; the calls' are closed.
  await eventually(() => plain.openStreams <= sessions(), { ms: WAIT_MS + LATE_MS, what: "closed streams" });
  const { answer } = await ask(world.url, (await world.person()).token, "tools/list");
  assert.ok(answer.result, JSON.stringify(answer));
});
