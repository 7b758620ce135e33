// The worker's main module. Everything is decided in wasm; this is what still answers when wasm cannot: a panic stops
// the instance with every request inside, and each of them gets a plain 500 at once. Only `fetch` and `scheduled` can be
// called from outside: this is a plain object and no class, so that nothing here is callable over RPC, least of all a wasm
// export; nor is an instance made for every request.
import Built from "../../build/index.js";

export { AuditObject, GrantObject, SessionObject } from "../../build/index.js";

/** The built handlers, called without the per-request proxies around them; a new instance is made only after a panic. */
const handlers = Built.prototype;
let isBroken = false;

const DEADLINE_DEFAULT_MS = 100_000;

/** Of every request without a response yet: the function that ends its wait. */
const waiting = new Set();

addEventListener("error", (event) => {
  if (event.error instanceof WebAssembly.RuntimeError) {
    broke(event.error);
  }
});

function broke(error) {
  isBroken = true;
  for (const end of waiting) {
    end(error);
  }
  waiting.clear();
}

export default {
  fetch(request, env, ctx) {
    mend(env, ctx);
    let answered;
    try {
      answered = handlers.fetch.call({ env, ctx }, request);
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) {
        broke(error);
      }
      return failed(error);
    }
    if (answered instanceof Response) {
      return answered;
    }
    // The outcome is recorded also when the client does not wait for it.
    ctx.waitUntil(answered);
    return new Promise((resolve, reject) => {
      const ms = env.REQUEST_DEADLINE_MS ?? DEADLINE_DEFAULT_MS;
      const timer = setTimeout(() => reject(new Error(`no response within ${ms} ms`)), ms);
      const settle = (done) => (value) => {
        clearTimeout(timer);
        waiting.delete(reject);
        done(value);
      };
      waiting.add(reject);
      answered.then(settle(resolve), settle(reject));
      // Made here, for the request it answers: another one may be the first to know.
    }).catch(failed);
  },

  scheduled(event, env, ctx) {
    mend(env, ctx);
    return handlers.scheduled.call({ env, ctx }, event);
  },
};

/** Constructing the built entry point starts wasm anew where it broke. */
function mend(env, ctx) {
  if (isBroken) {
    isBroken = false;
    new Built(ctx, env);
  }
}

/** Says nothing about the inside; the id is what the log and the caller have in common. */
function failed(error) {
  const id = crypto.randomUUID();
  console.error(`request ${id} failed at the edge:`, error);
  const message = `Internal error. If it happens again, tell your administrator this id: ${id}`;
  const body = { jsonrpc: "2.0", id: null, error: { code: -32603, message, data: { requestId: id } } };
  return Response.json(body, { status: 500, headers: { "cache-control": "no-store" } });
}
