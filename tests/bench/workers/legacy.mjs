// The same server one protocol earlier: 2025-11-25, with sessions, and a question in the middle of a call's stream.

import { ORDER_QUESTION, orderText, textOf } from "./texts.mjs";

const VERSION = "2025-11-25";
const ANSWER_WAIT_MS = 20_000;

const TOOLS = [
  tool("echo", "Returns a text of the asked size."),
  tool("ask", "Asks its caller which order is meant, then names it."),
];

/** Open sessions and whether their client can be asked. */
const sessions = new Map();
/** Questions that wait for their answer: `(answer) => void` by id. */
const questions = new Map();
const counts = { calls: 0, calls_that_may_ask: 0, sessions: 0 };

function tool(name, description) {
  return {
    name,
    description,
    inputSchema: {
      type: "object",
      properties: { bytes: { type: "integer" }, note: { type: "string" } },
    },
    annotations: { readOnlyHint: true },
  };
}

function json(body, status = 200, headers = {}) {
  return new Response(body, { status, headers: { "content-type": "application/json", ...headers } });
}

function result(id, members, headers) {
  return json(`{"jsonrpc":"2.0","id":${id},"result":{${members}}}`, 200, headers);
}

function error(id, code, message, status = 200) {
  return json(
    `{"jsonrpc":"2.0","id":${id},"error":{"code":${code},"message":${JSON.stringify(message)}}}`,
    status,
  );
}

function initialize(id, { capabilities }) {
  const session = crypto.randomUUID();
  sessions.set(session, { canAsk: capabilities?.elicitation !== undefined });
  counts.sessions++;
  const facts = `"capabilities":{"tools":{}},"serverInfo":{"name":"legacy","version":"1.0.0"}`;
  return result(id, `"protocolVersion":"${VERSION}",${facts}`, { "mcp-session-id": session });
}

function call(id, session, { name, arguments: given }) {
  counts.calls++;
  counts.calls_that_may_ask += session.canAsk ? 1 : 0;
  switch (name) {
    case "echo":
      return result(id, `"content":[{"type":"text","text":${textOf(given?.bytes ?? 512)}}]`);
    case "ask":
      return session.canAsk
        ? ask(id)
        : error(id, -32602, "ask needs a client that declares elicitation in initialize");
    default:
      return error(id, -32602, `Unknown tool: ${name}`);
  }
}

/** The stream of a call: the question, and when its answer has come in a request of its own, the result. */
function ask(id) {
  const questionId = crypto.randomUUID();
  const encoder = new TextEncoder();
  const event = (data) => encoder.encode(`event: message\ndata: ${data}\n\n`);
  const body = new ReadableStream({
    async start(controller) {
      const answer = answerTo(questionId);
      const question = {
        jsonrpc: "2.0",
        id: questionId,
        method: "elicitation/create",
        params: ORDER_QUESTION,
      };
      controller.enqueue(event(JSON.stringify(question)));
      const text = orderText(await answer);
      controller.enqueue(
        event(`{"jsonrpc":"2.0","id":${id},"result":{"content":[{"type":"text","text":${text}}]}}`),
      );
      controller.close();
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

/** The timer is also what keeps the call alive: workerd ends a request that nothing of its own can wake. */
function answerTo(questionId) {
  return new Promise((resolve) => {
    const settle = (answer) => {
      clearTimeout(timer);
      questions.delete(questionId);
      resolve(answer);
    };
    const timer = setTimeout(() => settle(undefined), ANSWER_WAIT_MS);
    questions.set(questionId, settle);
  });
}

export default {
  async fetch(request) {
    const sessionId = request.headers.get("mcp-session-id");
    if (request.method === "DELETE") {
      return new Response(null, { status: sessions.delete(sessionId) ? 204 : 404 });
    }
    if (request.method === "GET" && !request.headers.get("accept")?.includes("text/event-stream")) {
      return json(JSON.stringify(counts));
    }
    if (request.method !== "POST") {
      return json('{"error":"this server has no stream of its own; use POST"}', 405);
    }
    const message = await request.json();
    const id = JSON.stringify(message.id ?? null);
    if (message.method === "initialize") {
      return initialize(id, message.params);
    }
    const session = sessions.get(sessionId);
    if (session === undefined) {
      return error(id, -32000, "There is no such session: initialize first", sessionId === null ? 400 : 404);
    }
    if (message.method === undefined) {
      questions.get(message.id)?.(message.result);
      return new Response(null, { status: 202 });
    }
    if (message.id === undefined) {
      return new Response(null, { status: 202 });
    }
    switch (message.method) {
      case "tools/call":
        return call(id, session, message.params);
      case "tools/list":
        return result(id, `"tools":${JSON.stringify(TOOLS)}`);
      case "ping":
        return result(id, "");
      default:
        return error(id, -32601, `Method not found: ${message.method}`);
    }
  },
};
