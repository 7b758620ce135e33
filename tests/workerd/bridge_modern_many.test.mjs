// A thousand calls that wait for people who never come: bounded, cleaned away, and no harm to anybody else.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { form, steps } from "./fixtures/asking_legacy_steps.mjs";
import { openAskingWorld, replyTo, retry, scripted } from "./fixtures/asking_legacy_world.mjs";

const LIMIT = { timeout: 90_000 };
const WAIT_MS = 12_000;
/** One who asks for much more than anybody needs, and many who do not. */
const GREEDY_CALLS = 300;
const MODEST_PEOPLE = 35;
const MODEST_CALLS = 20;
const AT_ONCE = 40;
const MIB = 1024 * 1024;
const GROWTH_BYTES_MAX = 300 * MIB;
let world;
let greedy;

before(async () => {
  world = await openAskingWorld({ servers: { plain: {} }, waitMs: WAIT_MS });
}, LIMIT);
after(() => world?.stop());

/** Runs jobs, so many at a time. */
async function inTurns(jobs, atOnce) {
  const results = [];
  const queue = jobs.entries();
  const work = async () => {
    for (const [index, job] of queue) results[index] = await job();
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return results;
}

test("a thousand calls that wait", LIMIT, async (t) => {
  const { plain } = world.servers;
  const people = await Promise.all(Array.from({ length: MODEST_PEOPLE }, () => world.person("modest")));
  greedy = await world.person("greedy");
  const warm = await world.finish(greedy, scripted("plain", "warm", [steps.ask(form("a"))]));
  assert.ok(warm.said, warm.told);
  const wanted = [
    ...Array.from({ length: GREEDY_CALLS }, (_, index) => ({ who: greedy, tag: `greedy ${index}` })),
    ...people.flatMap((who, person) =>
      Array.from({ length: MODEST_CALLS }, (_, index) => ({ who, tag: `modest ${person} ${index}` })),
    ),
  ].map((call) => ({ ...call, params: scripted("plain", call.tag, [steps.ask(form("a"))]) }));
  assert.equal(wanted.length, 1_000);

  const before = world.memory();
  let most = 0;
  const watching = setInterval(() => {
    most = Math.max(most, world.memory() - before);
  }, 500);
  const began = Date.now();
  let rounds;
  try {
    rounds = await inTurns(
      wanted.map((call) => () => world.round(call.who, call.params)),
      AT_ONCE,
    );
    t.diagnostic(`asked in ${Date.now() - began} ms`);

    const parked = wanted.filter((_, index) => rounds[index].state);
    const refused = rounds.filter(({ state }) => !state);
    t.diagnostic(`${parked.length} wait, ${refused.length} were refused`);
    for (const { status, error, told } of refused) {
      assert.equal(status, 429, told);
      assert.equal(error?.code, -32000, told);
      assert.match(error.message, /^Too many .* at once\. Try again shortly\.$/);
    }
    for (const [index, { who, tag }] of wanted.entries()) {
      if (who !== greedy)
        assert.ok(rounds[index].state, `${tag} pays for another's greed: ${rounds[index].told}`);
      const isBegun = plain.begun(tag) === 1;
      assert.equal(isBegun, rounds[index].state !== undefined, `${tag}: begun is what was not refused`);
    }
    assert.ok(parked.some(({ who }) => who === greedy));

    await eventually(() => parked.every(({ tag }) => plain.call(tag).cancelled === 1), {
      ms: WAIT_MS + 15_000,
      everyMs: 200,
      what: "the server hears the end of every call that waited",
    });
    const sql =
      "SELECT COUNT(*) AS n FROM audit_events WHERE status = 'cancelled' AND reason = 'input_expired'";
    await eventually(async () => (await world.portal().d1(sql))[0].n === parked.length, {
      ms: 15_000,
      everyMs: 250,
      what: `${parked.length} rows of calls that ran out of time`,
    });
    // Late by now for everybody: a few will do.
    for (const call of [parked[0], parked.at(-1)]) {
      const round = rounds[wanted.indexOf(call)];
      const late = await world.round(call.who, retry(call.params, round));
      assert.equal(late.error?.code, -32602, late.told);
    }
  } finally {
    clearInterval(watching);
  }
  t.diagnostic(`workerd grew by ${Math.round(most / MIB)} MiB at most`);
  assert.ok(most < GROWTH_BYTES_MAX, `workerd grew by ${Math.round(most / MIB)} MiB`);
});

test("afterwards everybody can call again, the greedy one included", LIMIT, async () => {
  const { plain } = world.servers;
  for (const who of [greedy, await world.person("new")]) {
    const params = scripted("plain", `afterwards ${who.email}`, [steps.ask(form("a"))]);
    const last = await world.finish(who, params);
    assert.deepEqual(last.said?.answers, [replyTo(form("a"))], last.told);
  }
  const running = () => [...plain.sessions.values()].reduce((sum, each) => sum + each.running.size, 0);
  assert.equal(running(), 0, "nothing runs at the server any more");
});
