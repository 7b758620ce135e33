// The upstream of every variant: an MCP server of the 2026-07-28 era that does as little as possible.

import { ORDER_QUESTION, orderText, textOf } from "./texts.mjs";

const VERSION = "2026-07-28";
const CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities";
const ASKED_STATE = "asked for the order";

const TOOLS = [
  tool("echo", "Returns a text of the asked size.", { readOnlyHint: true }),
  tool("fail", "Returns a result that is an error.", { readOnlyHint: true }),
  tool("reject", "Answers with a JSON-RPC error.", { readOnlyHint: true }),
  tool("stream", "Answers by server-sent events: one progress notification, then the result.", {
    readOnlyHint: true,
  }),
  tool("mirror", "Returns the request headers and the body as they arrived.", { readOnlyHint: true }),
  tool("ask", "Asks its caller which order is meant, then names it.", { readOnlyHint: true }),
  tool("write_note", "Changes something.", { readOnlyHint: false }),
  tool("delete_note", "Removes something.", { readOnlyHint: false, destructiveHint: true }),
  tool("purge", "Removes everything; no rule of the bench's configuration names it.", {
    readOnlyHint: false,
    destructiveHint: true,
  }),
];

let calls = 0;
let lists = 0;

function tool(name, description, annotations) {
  return {
    name,
    description,
    inputSchema: {
      type: "object",
      properties: { bytes: { type: "integer" }, note: { type: "string" } },
    },
    annotations,
  };
}

function json(body, status = 200) {
  return new Response(body, { status, headers: { "content-type": "application/json" } });
}

function result(id, members, type = "complete") {
  return json(`{"jsonrpc":"2.0","id":${id},"result":{"resultType":"${type}",${members}}}`);
}

function content(id, text, isError) {
  const tail = isError ? ',"isError":true' : "";
  return result(id, `"content":[{"type":"text","text":${text}}]${tail}`);
}

function error(id, code, message, status = 200) {
  return json(
    `{"jsonrpc":"2.0","id":${id},"error":{"code":${code},"message":${JSON.stringify(message)}}}`,
    status,
  );
}

function stream(id, bytes) {
  const progress =
    '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1,"total":2}}';
  const last = `{"jsonrpc":"2.0","id":${id},"result":{"resultType":"complete","content":[{"type":"text","text":${textOf(
    bytes,
  )}}]}}`;
  return new Response(`event: message\ndata: ${progress}\n\nevent: message\ndata: ${last}\n\n`, {
    headers: { "content-type": "text/event-stream" },
  });
}

/** One question: the first call gets it, the second brings the answer and the state that the first was given. */
function ask(id, { inputResponses, requestState, _meta }) {
  if (_meta?.[CAPABILITIES_KEY]?.elicitation === undefined) {
    return error(id, -32021, "ask needs a client that declares elicitation");
  }
  if (inputResponses === undefined) {
    const requests = JSON.stringify({ order: { method: "elicitation/create", params: ORDER_QUESTION } });
    return result(id, `"inputRequests":${requests},"requestState":"${ASKED_STATE}"`, "input_required");
  }
  if (requestState !== ASKED_STATE) {
    return error(id, -32602, "requestState is not the one that came with the question");
  }
  return content(id, orderText(inputResponses.order), false);
}

function call(request, id, message, body) {
  calls++;
  const { name, arguments: given } = message.params;
  switch (name) {
    case "echo":
      return content(id, textOf(given?.bytes ?? 512), false);
    case "fail":
      return content(id, '"the order is locked by another user"', true);
    case "reject":
      return error(id, -32602, "bytes must not be negative");
    case "stream":
      return stream(id, given?.bytes ?? 512);
    case "mirror":
      return content(id, JSON.stringify(JSON.stringify({ headers: [...request.headers], body })), false);
    case "ask":
      return ask(id, message.params);
    case "write_note":
    case "delete_note":
    case "purge":
      return content(id, '"done"', false);
    default:
      return error(id, -32602, `Unknown tool: ${name}`);
  }
}

export default {
  async fetch(request) {
    if (request.method === "GET") {
      return json(JSON.stringify({ calls, lists }));
    }
    if (request.method !== "POST") {
      return json('{"error":"use POST"}', 405);
    }
    const body = await request.text();
    const message = JSON.parse(body);
    if (message.id === undefined) {
      return new Response(null, { status: 202 });
    }
    const id = JSON.stringify(message.id);
    switch (message.method) {
      case "tools/call":
        return call(request, id, message, body);
      case "tools/list":
        lists++;
        return result(id, `"tools":${JSON.stringify(TOOLS)},"ttlMs":3600000,"cacheScope":"public"`);
      case "server/discover":
        return result(
          id,
          `"supportedVersions":["${VERSION}"],"capabilities":{"tools":{}},"ttlMs":3600000,"cacheScope":"public",` +
            '"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"echo","version":"1.0.0"}}',
        );
      default:
        return error(id, -32601, `Method not found: ${message.method}`, 404);
    }
  },
};
