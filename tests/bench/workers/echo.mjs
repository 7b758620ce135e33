// The upstream of every variant: an MCP server of the 2026-07-28 era that does as little as possible.
// Texts are prepared once, so that its cost is the same for a large result as for a small one.

const VERSION = "2026-07-28";
const MAX_TEXT_BYTES = 8 * 1024 * 1024;
const LINE =
  "2026-11-20T08:15:42Z  order 48213 moved from packing to carrier, 3 items, no exceptions noted\n";

const TOOLS = [
  tool("echo", "Returns a text of the asked size.", { readOnlyHint: true }),
  tool("fail", "Returns a result that is an error.", { readOnlyHint: true }),
  tool("reject", "Answers with a JSON-RPC error.", { readOnlyHint: true }),
  tool("stream", "Answers by server-sent events: one progress notification, then the result.", {
    readOnlyHint: true,
  }),
  tool("mirror", "Returns the request headers and the body as they arrived.", { readOnlyHint: true }),
  tool("write_note", "Changes something.", { readOnlyHint: false }),
  tool("delete_note", "Removes something.", { readOnlyHint: false, destructiveHint: true }),
  tool("purge", "Removes everything; no rule of the bench's configuration names it.", {
    readOnlyHint: false,
    destructiveHint: true,
  }),
];

const texts = new Map();
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

/** The JSON string literal of a text of exactly so many bytes. */
function textOf(bytes) {
  let text = texts.get(bytes);
  if (text === undefined) {
    const wanted = Math.min(Math.max(bytes, 0), MAX_TEXT_BYTES);
    text = JSON.stringify(LINE.repeat(Math.ceil(wanted / LINE.length)).slice(0, wanted));
    texts.set(bytes, text);
  }
  return text;
}

function json(body, status = 200) {
  return new Response(body, { status, headers: { "content-type": "application/json" } });
}

function result(id, members) {
  return json(`{"jsonrpc":"2.0","id":${id},"result":{"resultType":"complete",${members}}}`);
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
