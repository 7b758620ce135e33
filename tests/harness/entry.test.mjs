// The worker's main module with a stand-in for the built wasm glue that can do what the real one must never do: trap,
// hang, throw. The trap is a real one, in a real wasm module, with other requests in flight.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Log, LogLevel, Miniflare } from "miniflare";
import { eventually, within } from "./bounded.mjs";
import { root } from "./worker.mjs";

const DEADLINE_MS = 800;

/** (module (func (export "trap") unreachable)) */
const TRAP = Uint8Array.from(
  Buffer.from("0061736d010000000104016000000302010007080104747261700000" + "0a05010300000b", "hex"),
);

const GLUE = `
import { WorkerEntrypoint, DurableObject } from "cloudflare:workers";
import module from "./trap.wasm";
const { trap } = new WebAssembly.Instance(module).exports;
export class AuditObject extends DurableObject {}
export class GrantObject extends DurableObject {}
export class SessionObject extends DurableObject {}
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
export default class extends WorkerEntrypoint {
  async fetch(request) {
    switch (new URL(request.url).pathname) {
      case "/trap": await sleep(50); queueMicrotask(() => trap()); return await new Promise(() => {});
      case "/throw": throw new Error("a secret of the inside");
      case "/hang": await sleep(60_000); return new Response("late");
      case "/stream": {
        const { readable, writable } = new TransformStream();
        const writer = writable.getWriter();
        this.ctx.waitUntil((async () => {
          for (let n = 0; n < 4; n++) { await writer.write(new TextEncoder().encode(n + "\\n")); await sleep(400); }
          await writer.close();
        })());
        return new Response(readable);
      }
    }
    return new Response("fine");
  }
  scheduled() { console.log("scheduled work ran"); }
  inner() { return "reached"; }
}`;

const CALLER = `export default { async fetch(request, env) {
  try { return new Response(await env.PORTAL.inner()); } catch (error) { return new Response(error.message, { status: 502 }); }
} };`;

const logs = [];
let mf;
let origin;

before(async () => {
  const entry = readFileSync(join(root, "src/edge/entry.js"), "utf8");
  const portal = {
    config: {
      name: "portal",
      compatibilityDate: "2026-11-01",
      compatibilityFlags: ["enable_request_signal"],
      manifest: {
        mainModule: "src/edge/entry.js",
        modules: {
          "src/edge/entry.js": { type: "esm", contents: entry },
          "build/index.js": { type: "esm", contents: GLUE },
          "build/trap.wasm": { type: "wasm", contents: TRAP },
        },
      },
      env: { REQUEST_DEADLINE_MS: { type: "text", value: String(DEADLINE_MS) } },
    },
  };
  const caller = {
    config: {
      name: "caller",
      compatibilityDate: "2026-11-01",
      manifest: { mainModule: "caller.js", modules: { "caller.js": { type: "esm", contents: CALLER } } },
      env: { PORTAL: { type: "worker", worker: "portal" } },
    },
  };
  mf = new Miniflare({
    host: "127.0.0.1",
    port: 0,
    cf: false,
    log: new Log(LogLevel.NONE),
    handleStructuredLogs: ({ message }) => logs.push(message),
    workers: [portal, caller],
  });
  origin = `http://127.0.0.1:${(await within(mf.ready, 30_000, "starting workerd")).port}`;
});

after(() => mf?.dispose());

async function get(path) {
  const start = performance.now();
  const response = await fetch(`${origin}${path}`, { signal: AbortSignal.timeout(10_000) });
  const text = await response.text();
  return { status: response.status, text, ms: performance.now() - start };
}

function assertBland({ status, text }) {
  assert.equal(status, 500);
  const body = JSON.parse(text);
  assert.equal(body.jsonrpc, "2.0");
  assert.equal(body.id, null);
  assert.equal(body.error.code, -32603);
  assert.match(body.error.data.requestId, /^[0-9a-f-]{36}$/);
  assert.doesNotMatch(text, /secret|unreachable|wasm/i);
  return body.error.data.requestId;
}

test("what the inside answers is passed on", async () => {
  const answer = await get("/");
  assert.deepEqual([answer.status, answer.text], [200, "fine"]);
});

test("an error of the inside becomes a bland 500, and its id finds it in the log", async () => {
  const id = assertBland(await get("/throw"));
  const line = await eventually(() => logs.find((each) => each.includes(id)), {
    ms: 5_000,
    what: "the log line",
  });
  assert.match(line, /a secret of the inside/);
});

test("a request that hangs is answered at the deadline", async () => {
  const answer = await get("/hang");
  assertBland(answer);
  assert.ok(answer.ms >= DEADLINE_MS - 50 && answer.ms < DEADLINE_MS + 1_500, `${answer.ms} ms`);
});

test("a stream that has begun outlives the deadline", async () => {
  const answer = await get("/stream");
  assert.equal(answer.text, "0\n1\n2\n3\n");
  assert.ok(answer.ms > DEADLINE_MS, `${answer.ms} ms`);
});

test("a trap answers every request in flight at once, and the next request is served", async () => {
  // One client has gone away: its leftovers must not disturb the others.
  const gone = new AbortController();
  const left = fetch(`${origin}/hang`, { signal: gone.signal }).catch((error) => error.name);
  setTimeout(() => gone.abort(), 20);
  assert.equal(await left, "AbortError");
  const answers = await Promise.all([get("/hang"), get("/trap"), get("/hang")]);
  for (const answer of answers) {
    assertBland(answer);
    assert.ok(answer.ms < DEADLINE_MS - 100, `${answer.ms} ms is no better than the deadline`);
  }
  assert.equal((await get("/")).status, 200);
});

test("only fetch and scheduled can be called over RPC", async () => {
  const caller = await mf.getWorker("caller");
  const response = await within(caller.fetch("http://caller/"), 5_000, "the call");
  assert.equal(response.status, 502);
  assert.match(await response.text(), /does not implement the method "inner"/);
});

test("scheduled work reaches the inside", async () => {
  const portal = await mf.getWorker("portal");
  const result = await within(portal.scheduled({ cron: "*/10 * * * *" }), 5_000, "the scheduled work");
  assert.equal(result.outcome, "ok");
  await eventually(() => logs.includes("scheduled work ran"), { ms: 5_000, what: "the scheduled work" });
});
