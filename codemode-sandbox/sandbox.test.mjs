// The sandbox worker in workerd, called over RPC by a worker that stands where the portal will.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Log, LogLevel, Miniflare } from "miniflare";
import { within } from "../tests/harness/bounded.mjs";
import { sandboxWorker } from "../tests/harness/worker.mjs";

const CALLER = `
export default {
  async fetch(request, env) {
    const { program, deadlineMs, callMs = 0 } = await request.json();
    const calls = [];
    const call = async (name, argsJson) => {
      calls.push(name);
      if (name === "fail") throw new TypeError("the upstream refused");
      if (name === "slow") await new Promise((done) => setTimeout(done, callMs));
      return JSON.stringify({ name, args: JSON.parse(argsJson) });
    };
    const outcome = await env.SANDBOX.run(program, call, deadlineMs);
    await new Promise((done) => setTimeout(done, 50));
    return Response.json({ outcome, calls });
  },
};`;

let mf;

before(async () => {
  const caller = {
    config: {
      name: "caller",
      compatibilityDate: "2026-11-01",
      manifest: { mainModule: "caller.js", modules: { "caller.js": { type: "esm", contents: CALLER } } },
      env: { SANDBOX: { type: "worker", worker: "portcullis-codemode-sandbox", exportName: "Sandbox" } },
    },
  };
  mf = new Miniflare({
    log: new Log(LogLevel.ERROR),
    host: "127.0.0.1",
    port: 0,
    workers: [caller, sandboxWorker()],
  });
  await within(mf.ready, 30_000, "starting workerd");
});

after(() => mf?.dispose());

async function run(program, options = {}) {
  const sent = mf.dispatchFetch("http://caller/", {
    method: "POST",
    body: JSON.stringify({ program, ...options }),
  });
  const response = await within(sent, 15_000, "the run");
  assert.equal(response.status, 200);
  const { outcome, calls } = await response.json();
  return { ...JSON.parse(outcome), calls, chars: outcome.length };
}

test("a program calls by name, in parallel, and returns its result", async () => {
  const outcome = await run(`export default async ({ call }) => {
    const all = await Promise.all([1, 2, 3].map((n) => call("echo", { n })));
    return all.map((each) => each.args.n);
  }`);
  assert.deepEqual(outcome.result, [1, 2, 3]);
  assert.deepEqual(outcome.calls, ["echo", "echo", "echo"]);
  assert.deepEqual(outcome.logs, []);
});

test("what a program logs comes back, bounded", async () => {
  const few = await run(
    `export default () => { console.log("a", { b: 1 }); console.error(new RangeError("c")); }`,
  );
  assert.deepEqual(few.logs, [
    { level: "log", text: 'a {"b":1}' },
    { level: "error", text: "RangeError: c" },
  ]);
  assert.equal(few.result, null);
  const many = await run(
    `export default () => { for (let i = 0; i < 1e4; i++) console.log("x".repeat(1000)); }`,
  );
  assert.ok(many.chars < 64 * 1024, `${many.chars} characters of logs`);
});

test("a refused call is an error the program can catch, and an uncaught one names itself", async () => {
  const caught = await run(`export default ({ call }) => call("fail").catch((error) => error.message)`);
  assert.equal(caught.result, "the upstream refused");
  const uncaught = await run(`export default () => { undefined.x; }`);
  assert.equal(uncaught.error.name, "TypeError");
  assert.match(uncaught.error.stack, /program\.js:1/);
});

test("a syntax error is reported with its line", async () => {
  const outcome = await run("export default async () => {\n  return 1 +;\n}");
  assert.equal(outcome.error.name, "ProgramInvalid");
  assert.match(outcome.error.message, /SyntaxError/);
  assert.match(outcome.error.message, /program\.js:2/);
});

test("an isolate has no network, no storage and no eval", async () => {
  const outcome = await run(`import { env } from "cloudflare:workers";
  const message = async (attempt) => { try { return String(await attempt()); } catch (error) { return error.message; } };
  export default async () => ({
    fetched: await message(() => fetch("http://127.0.0.1:9/")),
    evaluated: await message(() => new Function("return 1")()),
    caches: typeof caches,
    env: Object.keys(env),
  })`);
  assert.match(outcome.result.fetched, /not permitted to access the internet/);
  assert.match(outcome.result.evaluated, /disallowed/);
  assert.equal(outcome.result.caches, "undefined");
  assert.deepEqual(outcome.result.env, []);
});

test("nothing of one run is left for the next", async () => {
  const program = `let runs = 0; export default () => { globalThis.seen = (globalThis.seen ?? 0) + 1; return [++runs, seen]; }`;
  assert.deepEqual((await run(program)).result, [1, 1]);
  assert.deepEqual((await run(program)).result, [1, 1]);
});

test("a program that does not finish is ended by the wall clock and keeps its logs", async () => {
  const outcome = await run(
    `export default () => { console.log("waiting"); return new Promise(() => {}); }`,
    {
      deadlineMs: 200,
    },
  );
  assert.equal(outcome.error.name, "DeadlineExceeded");
  assert.deepEqual(outcome.logs, [{ level: "log", text: "waiting" }]);
});

test("a program that stops the harness's clock is still ended from outside", async () => {
  const program = `export default () => {
    for (let timer = 0; timer < 1000; timer++) clearTimeout(timer);
    setInterval(() => {}, 1000);
    return new Promise(() => {});
  }`;
  const outcome = await run(program, { deadlineMs: 200 });
  assert.equal(outcome.error.name, "DeadlineExceeded");
  assert.match(outcome.error.message, /could not be asked/);
});

test("a program that breaks the harness gets an answer too", async () => {
  const outcome = await run(
    "export default () => { Object.prototype.toJSON = () => { throw new Error('no'); }; }",
  );
  assert.equal(outcome.error.name, "IsolateFailed");
});

test("a call issued after the deadline never reaches the caller", async () => {
  const program = `export default async ({ call }) => { for (let i = 0; i < 20; i++) { await call("slow"); } }`;
  const outcome = await run(program, { deadlineMs: 150, callMs: 100 });
  assert.equal(outcome.error.name, "DeadlineExceeded");
  assert.ok(outcome.calls.length <= 3, `${outcome.calls.length} calls`);
});

test("results are bounded and must be JSON", async () => {
  const large = await run(`export default () => "x".repeat(2 * 1024 * 1024)`);
  assert.equal(large.error.name, "ResultTooLarge");
  const cyclic = await run(`export default () => { const a = {}; a.a = a; return a; }`);
  assert.equal(cyclic.error.name, "ResultNotJson");
  const program = await run(`export default 1;//${"x".repeat(300 * 1024)}`);
  assert.equal(program.error.name, "ProgramTooLarge");
});

test("the worker answers no route", async () => {
  const worker = await mf.getWorker("portcullis-codemode-sandbox");
  const response = await within(worker.fetch("http://sandbox/"), 5_000, "the request");
  assert.equal(response.status, 404);
});
