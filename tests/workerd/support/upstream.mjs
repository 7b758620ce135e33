// An MCP server as a test wants it: it keeps everything it was sent, and misbehaves on demand.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";

const MODERN = "2026-07-28";
const LEGACY = "2025-11-25";
const TTL_MS = 300_000;
/** Methods by which a client makes an upstream do something; listings and handshakes are the portal's own business. */
const GOVERNED = new Set([
  "tools/call",
  "prompts/get",
  "resources/read",
  "completion/complete",
  "resources/subscribe",
  "resources/unsubscribe",
]);

const READ = { readOnlyHint: true };
const WRITE = { readOnlyHint: false, destructiveHint: false };
const SCHEMA = { type: "object", properties: { note: { type: "string" } } };

/** The tools of a fixture that is not given others. */
export const TOOLS = [
  { name: "echo", description: "Says its arguments.", inputSchema: SCHEMA, annotations: READ },
  { name: "reflect", description: "Shows what it was sent.", inputSchema: SCHEMA, annotations: READ },
  { name: "fail", description: "An error result.", inputSchema: SCHEMA, annotations: READ },
  { name: "reject", description: "A JSON-RPC error.", inputSchema: SCHEMA, annotations: READ },
  { name: "write_note", description: "Writes.", inputSchema: SCHEMA, annotations: WRITE },
  { name: "delete_note", description: "Deletes.", inputSchema: SCHEMA, annotations: WRITE },
  { name: "unmarked", description: "Says nothing about itself.", inputSchema: SCHEMA },
  { name: "secret_read", description: "Reads what is denied.", inputSchema: SCHEMA, annotations: READ },
  {
    name: "region",
    description: "Mirrors an argument in a header.",
    inputSchema: { type: "object", properties: { region: { type: "string", "x-mcp-header": "Region" } } },
    annotations: READ,
  },
];

/**
 * Starts an upstream on 127.0.0.1.
 * @param {{ era?: "modern" | "legacy", tools?: object[], path?: string }} [options]
 * @returns {Promise<object>} `url`; `seen`: every request as `{ verb, path, headers, text, message }`; `calls`: how many
 *   of them made it do something; `sessions`: of a legacy one, forget them with `sessions.clear()`; `intercept`: set
 *   `(seen, response) => boolean` to answer by hand; `stop()`
 */
export async function startUpstream({ era = "modern", tools = TOOLS, path = "/mcp" } = {}) {
  const upstream = {
    seen: [],
    sessions: new Set(),
    initialized: 0,
    listeners: new Set(),
    tools,
    intercept: undefined,
    governed: () => upstream.seen.filter((each) => GOVERNED.has(each.message?.method)),
    get calls() {
      return upstream.governed().length;
    },
    /** Tells everybody who listens. */
    push(method) {
      for (const listener of upstream.listeners) {
        const params = listener.id === undefined ? {} : { params: subscription(listener.id) };
        listener.response.write(event({ jsonrpc: "2.0", method, ...params }));
      }
    },
  };
  const server = createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", async () => {
      const text = Buffer.concat(chunks).toString("utf8");
      const seen = {
        verb: request.method,
        path: request.url,
        headers: request.headers,
        text,
        atMs: Date.now(),
      };
      seen.message = parse(text);
      upstream.seen.push(seen);
      if (upstream.intercept && (await upstream.intercept(seen, response))) {
        return;
      }
      if (seen.path !== path) {
        response.writeHead(404).end();
      } else if (era === "modern") {
        answerModern(upstream, seen, response);
      } else {
        answerLegacy(upstream, seen, response);
      }
    });
  });
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const origin = `http://127.0.0.1:${server.address().port}`;
  return Object.assign(upstream, {
    origin,
    url: `${origin}${path}`,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

/** Answers a request with a JSON body. */
export function respond(response, status, body, headers = {}) {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
}

/** A promise with its own resolve, to hold a call at the upstream until a test lets it go. */
export function gate() {
  let open;
  const opened = new Promise((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** One server-sent event. */
export function event(message) {
  return `event: message\ndata: ${JSON.stringify(message)}\n\n`;
}

const subscription = (id) => ({ _meta: { "io.modelcontextprotocol/subscriptionId": id } });

/** Keeps a stream open until the other side goes. */
function listen(upstream, response, id) {
  const listener = { response, id };
  upstream.listeners.add(listener);
  response.on("close", () => upstream.listeners.delete(listener));
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.flushHeaders();
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function answerModern(upstream, seen, response) {
  const { message } = seen;
  if (seen.verb !== "POST" || message === undefined) {
    response.writeHead(405).end();
    return;
  }
  if (message.id === undefined) {
    response.writeHead(202).end();
    return;
  }
  if (message.method === "subscriptions/listen") {
    listen(upstream, response, message.id);
    const params = { ...subscription(message.id), notifications: message.params.notifications };
    response.write(event({ jsonrpc: "2.0", method: "notifications/subscriptions/acknowledged", params }));
    return;
  }
  const facts = { resultType: "complete", ttlMs: TTL_MS, cacheScope: "public" };
  const results = {
    "server/discover": () => ({
      ...facts,
      supportedVersions: [MODERN],
      capabilities: { tools: { listChanged: true } },
      _meta: { "io.modelcontextprotocol/serverInfo": { name: "fixture", version: "1" } },
    }),
    "tools/list": () => ({ ...facts, tools: upstream.tools }),
  };
  if (message.method === "tools/call") {
    answerCall(seen, response, { resultType: "complete" });
  } else if (results[message.method]) {
    respond(response, 200, { jsonrpc: "2.0", id: message.id, result: results[message.method]() });
  } else {
    const error = { code: -32601, message: `Method not found: ${message.method}` };
    respond(response, 404, { jsonrpc: "2.0", id: message.id, error });
  }
}

function answerLegacy(upstream, seen, response) {
  const { message } = seen;
  const session = seen.headers["mcp-session-id"];
  if (seen.verb === "DELETE") {
    upstream.sessions.delete(session);
    response.writeHead(200).end();
    return;
  }
  if (seen.verb === "GET" && upstream.sessions.has(session)) {
    listen(upstream, response);
    return;
  }
  if (seen.verb !== "POST") {
    response.writeHead(405).end();
    return;
  }
  if (message?.method === "initialize") {
    const id = randomUUID();
    upstream.sessions.add(id);
    upstream.initialized += 1;
    const result = {
      protocolVersion: LEGACY,
      capabilities: { tools: { listChanged: true } },
      serverInfo: { name: "fixture", version: "1" },
    };
    respond(response, 200, { jsonrpc: "2.0", id: message.id, result }, { "mcp-session-id": id });
    return;
  }
  if (session === undefined || !upstream.sessions.has(session)) {
    const error = { code: -32000, message: "Bad Request: no such session" };
    respond(response, session === undefined ? 400 : 404, { jsonrpc: "2.0", id: null, error });
    return;
  }
  if (message?.id === undefined) {
    response.writeHead(202).end();
  } else if (message.method === "tools/list") {
    respond(response, 200, { jsonrpc: "2.0", id: message.id, result: { tools: upstream.tools } });
  } else if (message.method === "tools/call") {
    answerCall(seen, response, {});
  } else if (message.method === "ping") {
    respond(response, 200, { jsonrpc: "2.0", id: message.id, result: {} });
  } else {
    const error = { code: -32601, message: `Method not found: ${message.method}` };
    respond(response, 200, { jsonrpc: "2.0", id: message.id, error });
  }
}

function answerCall(seen, response, extra) {
  const { id, params } = seen.message;
  if (params.name === "reject") {
    respond(response, 200, { jsonrpc: "2.0", id, error: { code: -32602, message: "rejected on purpose" } });
    return;
  }
  const said = params.name === "reflect" ? { headers: seen.headers, text: seen.text } : params.arguments;
  const content = [{ type: "text", text: JSON.stringify(said ?? null) }];
  respond(response, 200, {
    jsonrpc: "2.0",
    id,
    result: { ...extra, content, ...(params.name === "fail" ? { isError: true } : {}) },
  });
}
