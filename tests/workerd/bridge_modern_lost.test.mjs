// What a call is worth when the portal loses its memory: at every step, by eviction of the object and by the death of the
// worker. The outcome is the answer or a named error, and the server's own counter shows one call.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { startSdkServer } from "./fixtures/asking_legacy_sdk.mjs";
import { form, sampling, steps } from "./fixtures/asking_legacy_steps.mjs";
import { openAskingWorld, reached, replyTo, retry, scripted } from "./fixtures/asking_legacy_world.mjs";

const LIMIT = { timeout: 60_000 };
/** Servers by id: with an event store, and without. */
const SERVERS = { plain: {}, resuming: { resumes: true } };
let world;
let lib;

before(async () => {
  lib = await startSdkServer({ resumes: true });
  world = await openAskingWorld({ servers: SERVERS, others: { lib }, restarts: true });
}, LIMIT);
after(async () => {
  await world?.stop();
  await lib?.stop();
});

/** What the portal does with a call it cannot go on with. */
function assertInterrupted(round) {
  assert.equal(round.error?.code, -32000, round.told);
  assert.match(round.error.message, /interrupted/i);
  assert.match(round.error.message, /not repeated/i);
}

async function assertOnRecord(who, round) {
  const { requestId } = round.error.data;
  const rows = await world.rows(who, (found) => found.some((row) => row.request_id === requestId));
  const reasons = rows.filter((row) => row.request_id === requestId).map(({ reason }) => reason);
  assert.ok(reasons.includes("call_interrupted"), JSON.stringify(rows));
}

/** The end of a call whose stream can be taken up: its answer. Of one whose stream cannot: the named error. */
async function assertEnd(round, { server, who, answers }) {
  if (server.resumes) {
    assert.deepEqual(round.said?.answers, answers, round.told);
  } else {
    assertInterrupted(round);
    await assertOnRecord(who, round);
  }
}

/** A round that was on its way when the memory went: whatever arrives says what it is, and nothing is silent. */
const inFlight = (asking) => asking.catch((error) => ({ isCut: true, told: String(error) }));

/**
 * The steps of an interactive call. `prepare` brings a call to the step, `conclude` is what its client does afterwards.
 * `how` is "evicted" or "killed".
 */
const STEPS = {
  "before the call": {
    async prepare(call) {
      // The session is there, the call is not.
      const last = await world.finish(
        call.who,
        scripted(call.id, `${call.tag} earlier`, [steps.ask(form("e"))]),
      );
      assert.ok(last.said, last.told);
      assert.equal(call.server.begun(call.tag), 0);
    },
    async conclude(call) {
      assert.equal(call.server.begun(call.tag), 0);
      const last = await world.finish(call.who, call.params);
      assert.deepEqual(last.said?.answers, call.answers, last.told);
    },
  },
  "while the server works": {
    script: [steps.gate(), steps.ask(form("a")), steps.ask(sampling("b"))],
    async prepare(call) {
      call.running = inFlight(world.round(call.who, call.params));
      await reached(call.server, call.tag, "gate");
    },
    async conclude(call, how) {
      call.server.let(call.tag);
      const round = await call.running;
      // The client never had a state: there is nothing it could come back with.
      if (how === "killed") assert.ok(round.isCut || round.error, round.told);
      else if (round.state)
        assert.ok((await world.finish(call.who, call.params, { round })).said, round.told);
      else assertInterrupted(round);
    },
  },
  "while it waits for the person": {
    async prepare(call) {
      call.round = await world.round(call.who, call.params);
      assert.ok(call.round.state, call.round.told);
    },
    async conclude(call) {
      await assertEnd(await world.finish(call.who, retry(call.params, call.round)), call);
    },
  },
  "after the answer, before the server's": {
    script: [steps.ask(form("a")), steps.gate(), steps.ask(sampling("b"))],
    async prepare(call) {
      call.round = await world.round(call.who, call.params);
      assert.ok(call.round.state, call.round.told);
      call.running = inFlight(world.round(call.who, retry(call.params, call.round)));
      await reached(call.server, call.tag, "gate");
    },
    async conclude(call, how) {
      call.server.let(call.tag);
      const round = await call.running;
      if (how === "killed") assert.ok(round.isCut || round.error, round.told);
      else if (round.state)
        assert.ok((await world.finish(call.who, call.params, { round })).said, round.told);
      else assertInterrupted(round);
      // Saying it again does not hand it over again.
      const round2 = await world.round(call.who, retry(call.params, call.round));
      const again = await world.finish(call.who, call.params, { round: round2 });
      assert.ok(again.said || [-32602, -32000].includes(again.error?.code), again.told);
      assert.equal(call.server.call(call.tag).answers.filter(({ id }) => id === call.questionId()).length, 1);
    },
  },
  "between two rounds": {
    async prepare(call) {
      const first = await world.round(call.who, call.params);
      call.round = await world.round(call.who, retry(call.params, first));
      assert.ok(call.round.state, call.round.told);
    },
    async conclude(call) {
      await assertEnd(await world.finish(call.who, retry(call.params, call.round)), call);
    },
  },
};

const WAYS = { evicted: () => world.evict(), killed: () => world.crash() };

for (const [how, loseMemory] of Object.entries(WAYS)) {
  describe(how, () => {
    const calls = [];

    before(async () => {
      for (const id of Object.keys(SERVERS)) {
        for (const [name, { script }] of Object.entries(STEPS)) {
          const tag = `${how} ${name}`;
          const server = world.servers[id];
          const own = script ?? [steps.ask(form("a")), steps.ask(sampling("b"))];
          calls.push({
            id,
            name,
            tag,
            server,
            who: await world.person(),
            params: scripted(id, tag, own, "write"),
            answers: [replyTo(form("a")), replyTo(sampling("b"))],
            questionId: () => server.call(tag).questions[0].id,
          });
        }
      }
      // One loss for all: every call is at its own step when it comes. What fails here fails its test.
      for (const call of calls) call.prepared = STEPS[call.name].prepare(call).catch((error) => error);
      await Promise.all(calls.map(({ prepared }) => prepared));
      await loseMemory();
    }, LIMIT);

    for (const id of Object.keys(SERVERS)) {
      for (const name of Object.keys(STEPS)) {
        test(`${name} (${id})`, LIMIT, async () => {
          const call = calls.find((each) => each.id === id && each.name === name);
          const failed = await call.prepared;
          if (failed) throw failed;
          await STEPS[name].conclude(call, how);
          const { begun, requests } = call.server.call(call.tag);
          assert.deepEqual([begun, requests.length], [1, 1], "one call, and no second one in its place");
          // Nobody is left behind: the same person's next call works.
          const next = await world.finish(call.who, scripted(id, `${call.tag} next`, [steps.ask(form("n"))]));
          assert.deepEqual(next.said?.answers, [replyTo(form("n"))], next.told);
        });
      }
    }
  });
}

test("calls that share an object are taken up each for itself", LIMIT, async () => {
  const who = await world.person();
  const names = Array.from({ length: 8 }, (_, index) => `s${index}`);
  const calls = await Promise.all(
    names.map(async (name) => {
      const params = scripted("resuming", `shared ${name}`, [steps.ask(form(name))]);
      return { name, params, round: await world.round(who, params) };
    }),
  );
  await world.evict();
  const ends = await Promise.all(calls.map(({ params, round }) => world.round(who, retry(params, round))));
  for (const [index, { said, told }] of ends.entries()) {
    assert.deepEqual(said?.answers, [replyTo(form(names[index]))], told);
    assert.equal(world.servers.resuming.begun(`shared ${names[index]}`), 1);
  }
});

for (const tool of ["elicits", "elicits_on_get", "asks_twice"]) {
  test(`the library's own server with an event store, before every answer: ${tool}`, LIMIT, async () => {
    const who = await world.person();
    const params = { name: `lib_${tool}`, arguments: {} };
    let round = await world.round(who, params);
    for (let count = 0; round.state && count < 5; count += 1) {
      await world.evict();
      const reply = () => ({ action: "accept", content: { colour: "green" } });
      round = await world.round(who, retry(params, round, reply));
    }
    assert.deepEqual([round.said].flat()[0]?.content, { colour: "green" }, round.told);
    assert.equal(lib.begun[tool], 1);
  });
}

test("what the server asked while nobody listened is asked then", LIMIT, async () => {
  const who = await world.person();
  const record = world.servers.resuming.call("unheard");
  const params = scripted("resuming", "unheard", [
    steps.askOnly(form("a")),
    steps.gate(),
    steps.ask(form("b")),
  ]);
  const first = await world.round(who, params);
  assert.equal(first.asked.length, 1, first.told);
  await world.evict();
  world.servers.resuming.let("unheard");
  await eventually(() => record.questions.length === 2, { what: "the second question" });
  const last = await world.finish(who, params, { round: first });
  assert.deepEqual(last.said?.answers, [replyTo(form("a")), replyTo(form("b"))], last.told);
  assert.deepEqual([record.begun, record.answers.length], [1, 2]);
});

test("what the server answered while nobody listened is the answer", LIMIT, async () => {
  const who = await world.person();
  const params = scripted("resuming", "answered", [steps.askOnly(form("a")), steps.gate()], "write");
  const first = await world.round(who, params);
  assert.equal(first.asked.length, 1, first.told);
  await world.evict();
  world.servers.resuming.let("answered");
  await eventually(() => world.servers.resuming.call("answered").isDone, { what: "the server's answer" });
  const last = await world.round(who, retry(params, first));
  assert.equal(last.said?.begun, 1, last.told);
  assert.equal(world.servers.resuming.begun("answered"), 1);
});

test("evicted again and again, a resumed call comes to its end", LIMIT, async () => {
  const who = await world.person();
  const script = [1, 2, 3, 4].map((number) => steps.ask(form(`n${number}`)));
  const params = scripted("resuming", "again", script, "write");
  let round = await world.round(who, params);
  for (let count = 0; round.state && count < 10; count += 1) {
    await world.evict();
    round = await world.round(who, retry(params, round));
  }
  assert.equal(round.said?.answers.length, 4, round.told);
  assert.equal(world.servers.resuming.begun("again"), 1);
});

for (const [when, script] of Object.entries({
  "while it works": [steps.cut(), steps.pause(200), steps.ask(form("a"))],
  "while it waits": [steps.askOnly(form("a")), steps.pause(300), steps.cut(), steps.pause(300), steps.gate()],
})) {
  test(
    `a server that closes its stream ${when}: the answer or a named error, and one call`,
    LIMIT,
    async () => {
      for (const [id, server] of Object.entries(world.servers)) {
        const who = await world.person();
        const params = scripted(id, `cut ${when}`, script, "write");
        const round = await world.round(who, params);
        server.let(`cut ${when}`);
        const last = await world.finish(who, params, { round });
        if (id === "plain" || last.error) assert.equal(last.error?.code, -32000, last.told);
        else assert.deepEqual(last.said?.answers, [replyTo(form("a"))], last.told);
        assert.equal(server.begun(`cut ${when}`), 1);
        const next = await world.finish(who, scripted(id, `cut ${when} next`, [steps.ask(form("n"))]));
        assert.ok(next.said, next.told);
      }
    },
  );
}

for (const isEvicted of [true, false]) {
  const when = isEvicted ? "and the object is gone too" : "while it waits";
  test(`a server that forgets the session ${when}: a named error, and one call`, LIMIT, async () => {
    for (const [id, server] of Object.entries(world.servers)) {
      const who = await world.person();
      const params = scripted(id, `forgotten ${when}`, [steps.ask(form("a"))], "write");
      const first = await world.round(who, params);
      assert.ok(first.state, first.told);
      server.sessions.clear();
      if (isEvicted) await world.evict();
      const last = await world.round(who, retry(params, first));
      assert.equal(last.error?.code, -32000, last.told);
      const { begun, requests } = server.call(`forgotten ${when}`);
      assert.deepEqual([begun, requests.length], [1, 1]);
      const next = await world.finish(who, scripted(id, `after ${when}`, [steps.ask(form("a"))]));
      assert.ok(next.said, next.told);
    }
  });
}
