import { AUDIT_BATCH_EVENTS, AUDIT_LINGER_MS, AUDIT_PENDING_EVENTS, AUDIT_TAKEOVER_MS } from "./limits.mjs";
import { Refusal } from "./refusal.mjs";

// Events of many requests travel together. Whoever starts a batch carries it in its waitUntil; a request that
// is cut off while it carries one is replaced after AUDIT_TAKEOVER_MS.
let pending = [];
let carriedUntilMs = 0;

function ledger(env) {
  return env.AUDIT.get(env.AUDIT.idFromName("0"));
}

/** Hands one event over without waiting for it. */
export function record(event, env, ctx) {
  pending.push(JSON.stringify(event));
  const nowMs = Date.now();
  if (pending.length >= AUDIT_BATCH_EVENTS) {
    ctx.waitUntil(send(env));
  } else if (nowMs >= carriedUntilMs) {
    carriedUntilMs = nowMs + AUDIT_TAKEOVER_MS;
    ctx.waitUntil(linger(env));
  }
}

/** Stores one event durably before it returns: intents and outcomes of tools that change something. */
export async function recordNow(event, env) {
  await ledger(env).append(`[${JSON.stringify(event)}]`);
}

/** A portal that can no longer say what happens stops letting things happen. */
export function checkRoom() {
  if (pending.length >= AUDIT_PENDING_EVENTS) {
    throw new Refusal(503, -32603, "The audit log is not reachable");
  }
}

async function linger(env) {
  await scheduler.wait(AUDIT_LINGER_MS);
  carriedUntilMs = 0;
  await send(env);
}

async function send(env) {
  if (pending.length === 0) {
    return;
  }
  const batch = pending;
  pending = [];
  try {
    await ledger(env).append(`[${batch.join(",")}]`);
  } catch {
    pending = batch.concat(pending);
  }
}
