// The worker's main module. Everything is decided in wasm; this is what still answers when wasm does not: every
// request gets its first response bytes or a plain 500, in bounded time. Only `fetch` and `scheduled` can be called
// from outside: methods of this class are callable over RPC, and wasm exports must not be.
import { WorkerEntrypoint } from "cloudflare:workers";
import Built from "../../build/index.js";

export { AuditObject, GrantObject, SessionObject } from "../../build/index.js";

const DEADLINE_DEFAULT_MS = 100_000;

/** Of every request without a response yet: the function that ends its wait, and when the wait ends anyway. */
const waiting = new Map();

// A panic stops the wasm instance with every request inside, and the timers below keep the runtime from noticing.
addEventListener("error", (event) => {
  if (event.error instanceof WebAssembly.RuntimeError) {
    for (const end of waiting.keys()) {
      end(event.error);
    }
  }
});

export default class Entry extends WorkerEntrypoint {
  async fetch(request) {
    const { promise: ended, reject: end } = Promise.withResolvers();
    const ms = Number(this.env.REQUEST_DEADLINE_MS) || DEADLINE_DEFAULT_MS;
    const timer = setTimeout(() => end(new Error(`no response within ${ms} ms`)), ms);
    keep(end, ms);
    try {
      return await Promise.race([new Built(this.ctx, this.env).fetch(request), ended]);
    } catch (error) {
      return failed(error);
    } finally {
      waiting.delete(end);
      clearTimeout(timer);
    }
  }

  scheduled(event) {
    return new Built(this.ctx, this.env).scheduled(event);
  }
}

/** A request whose client goes away is dropped without its `finally`; the oldest first, such leftovers go here. */
function keep(end, ms) {
  const now = Date.now();
  for (const [other, until] of waiting) {
    if (until > now) {
      break;
    }
    waiting.delete(other);
  }
  waiting.set(end, now + ms);
}

/** Says nothing about the inside; the id is what the log and the caller have in common. */
function failed(error) {
  const id = crypto.randomUUID();
  console.error(`request ${id} failed at the edge:`, error);
  const message = `Internal error. If it happens again, tell your administrator this id: ${id}`;
  const body = { jsonrpc: "2.0", id: null, error: { code: -32603, message, data: { requestId: id } } };
  return Response.json(body, { status: 500, headers: { "cache-control": "no-store" } });
}
