// The honest rival: what a good JavaScript engineer would write for Workers to do the portal's work on one
// modern tools/call. It parses each message once, compiles rules once per revision, remembers verified tokens,
// batches its log and passes bytes on as they came. STEPS switches its steps, so that each can be priced.

import { checkRoom, record, recordNow } from "./audit.mjs";
import { findTool, namesOf } from "./catalog.mjs";
import { currentConfig, portalFor } from "./config.mjs";
import { checkRequest, readBody } from "./edge.mjs";
import { identify } from "./identity.mjs";
import { UPSTREAM_WAIT_MS } from "./limits.mjs";
import { readMessage, VERSION } from "./message.mjs";
import { judgeEvents, judgeJson } from "./outcome.mjs";
import { Refusal, respond } from "./refusal.mjs";

export { AuditObject } from "./audit-object.mjs";

const NOBODY = { subject: "", email: "", domain: "", groups: [], agent: "", portals: new WeakMap() };

let steps;

function readSteps(env) {
  const names = (env.STEPS ?? "identity,rules,outcome,audit").split(",");
  const has = (name) => names.includes(name);
  return { identity: has("identity"), rules: has("rules"), outcome: has("outcome"), audit: has("audit") };
}

export default {
  async fetch(request, env, ctx) {
    steps ??= readSteps(env);
    const startedMs = Date.now();
    // Time first: the log's indexes then grow at their end.
    const requestId = `${startedMs.toString(36)}-${crypto.randomUUID()}`;
    const call = { startedMs, requestId, principal: NOBODY, id: null };
    try {
      return await answer(request, env, ctx, call);
    } catch (fault) {
      const refusal = fault instanceof Refusal ? fault : new Refusal(500, -32603, "Internal error");
      if (refusal !== fault) {
        console.error(call.requestId, fault);
      }
      if (steps.audit) {
        const outcome = { status: "refused", reason: refusal.message, bytes: 0 };
        record(eventOf(call, "outcome", outcome), env, ctx);
      }
      return respond(refusal, call.id);
    }
  },
};

async function answer(request, env, ctx, call) {
  const url = new URL(request.url);
  checkRequest(request, url);

  let portal;
  if (steps.identity || steps.rules) {
    const found = currentConfig(env);
    const config = found instanceof Promise ? await found : found;
    portal = portalFor(config, url);
    call.portal = portal.name;
    call.revision = config.revision;
    if (steps.identity && !(portal.open && !request.headers.has("authorization"))) {
      const principal = identify(request, url, config.issuers);
      call.principal = principal instanceof Promise ? await principal : principal;
    }
  }

  const text = await readBody(request);
  call.requestBytes = text.length;
  const message = readMessage(text, request.headers, call);
  call.target = message.params.name;
  const target = steps.rules ? await decide(portal, message, env, call) : unprefixed(message, env);

  const audited = steps.audit;
  if (audited) {
    checkRoom();
  }
  if (audited && !target.readOnly) {
    await recordNow(eventOf(call, "intent", { status: "intent", bytes: 0 }), env);
  }

  const response = await forward(target, message);
  if (!steps.outcome) {
    return new Response(response.body, response);
  }

  const type = response.headers.get("content-type") ?? "";
  if (type.startsWith("text/event-stream") && target.readOnly) {
    const body = judgeEvents(response, message.id, (outcome) => {
      if (audited) {
        record(eventOf(call, "outcome", outcome), env, ctx);
      }
    });
    return new Response(body, {
      headers: { "content-type": "text/event-stream", "cache-control": "no-store" },
    });
  }
  if (!type.startsWith("application/json")) {
    throw new Refusal(502, -32603, "The upstream server sent no JSON");
  }
  const { body, outcome } = await judgeJson(response, message.id);
  if (audited) {
    const event = eventOf(call, "outcome", outcome);
    if (target.readOnly) {
      record(event, env, ctx);
    } else {
      await recordNow(event, env);
    }
  }
  return new Response(body, { headers: { "content-type": "application/json" } });
}

async function decide(portal, message, env, call) {
  let admitted = call.principal.portals.get(portal);
  if (admitted === undefined) {
    admitted = portal.admits(call.principal);
    call.principal.portals.set(portal, admitted);
  }
  if (!admitted && steps.identity) {
    throw new Refusal(403, -32600, "You may not use this portal");
  }
  const names = portal.names ?? (await namesOf(portal, env));
  const target = findTool(names, message.params.name);
  call.server = target.server.name;
  call.target = target.tool;
  call.rule = target.rule;
  call.isWrite = !target.readOnly;
  return { fetcher: target.server.fetcher, tool: target.tool, readOnly: target.readOnly };
}

function unprefixed(message, env) {
  const { name } = message.params;
  return { fetcher: env.MCP_ECHO, tool: name.slice(name.indexOf("_") + 1), readOnly: true };
}

function forward(target, message) {
  message.params.name = target.tool;
  return target.fetcher.fetch("http://upstream/mcp", {
    method: "POST",
    redirect: "manual",
    signal: AbortSignal.timeout(UPSTREAM_WAIT_MS),
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": VERSION,
      "mcp-method": "tools/call",
      "mcp-name": target.tool,
    },
    body: JSON.stringify(message),
  });
}

function eventOf(call, kind, outcome) {
  const nowMs = Date.now();
  const { principal } = call;
  return {
    id: `${call.requestId}.${kind}`,
    request_id: call.requestId,
    at_ms: nowMs,
    kind,
    status: outcome.status,
    reason: outcome.reason ?? null,
    rule: call.rule ?? null,
    portal: call.portal ?? "",
    principal: principal.subject,
    email: principal.email,
    agent: principal.agent,
    method: call.method ?? "",
    server: call.server ?? null,
    target: call.target ?? null,
    era: "modern",
    is_write: call.isWrite ? 1 : 0,
    duration_ms: nowMs - call.startedMs,
    request_bytes: call.requestBytes ?? 0,
    reply_bytes: outcome.bytes,
    revision: call.revision ?? 0,
  };
}
