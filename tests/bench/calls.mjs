// The requests the bench sends and what it demands of every answer.

export const VERSION = "2026-07-28";
const META = "io.modelcontextprotocol/";
const FIRST_ID = 1_000_000;

let sent = 0;

/** A new request id; all have the same width, so that right answers have the same length. */
export function nextId() {
  return FIRST_ID + sent++;
}

/** The JSON-RPC message of a tools/call, as an object. */
export function callMessage(name, given, { id = nextId(), capabilities = {} } = {}) {
  const _meta = {
    [`${META}protocolVersion`]: VERSION,
    [`${META}clientInfo`]: { name: "bench", version: "1.0.0" },
    [`${META}clientCapabilities`]: capabilities,
  };
  return { jsonrpc: "2.0", id, method: "tools/call", params: { name, arguments: given, _meta } };
}

/** The headers that belong to a message. */
export function callHeaders(message, token) {
  return {
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    "mcp-protocol-version": VERSION,
    "mcp-method": message.method,
    ...(message.params?.name === undefined ? {} : { "mcp-name": message.params.name }),
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  };
}

/** One HTTP/1.1 request as bytes. */
export function httpRequest(host, path, headers, body) {
  const lines = Object.entries({ host, ...headers, "content-length": Buffer.byteLength(body) });
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\n${lines.map(([k, v]) => `${k}: ${v}`).join("\r\n")}\r\n\r\n${body}`,
  );
}

/**
 * Checks answers of one kind of call. The first is parsed and its text measured; all later ones must have its
 * length, and carry their own id where the first carried its own.
 */
export function answerCheck(bytes) {
  let length;
  let idAt;
  return (answer, id) => {
    if (answer.status < 200 || answer.status > 299) {
      throw new Error(`HTTP ${answer.status}: ${answer.body.subarray(0, 300)}`);
    }
    if (length === answer.body.length && answer.body.latin1Slice(idAt, idAt + 7) === String(id)) {
      return;
    }
    const text = payloadOf(answer);
    const message = JSON.parse(text);
    const size = message.result?.content?.[0]?.text?.length;
    if (message.id !== id) {
      throw new Error(`answer to request ${message.id} came for request ${id}`);
    }
    if (message.result === undefined) {
      throw new Error(`an error instead of a result: ${text.slice(0, 300)}`);
    }
    if (bytes !== undefined && size !== bytes) {
      throw new Error(`result of ${size} bytes where ${bytes} were asked: ${text.slice(0, 300)}`);
    }
    length = answer.body.length;
    idAt = answer.body.indexOf(`"id":${id}`) + 5;
  };
}

/** Checks that every answer is a refusal: of one HTTP status, or of one JSON-RPC code for the id that was sent. */
export function refusalCheck({ statuses, code }) {
  return (answer, id) => {
    if (statuses !== undefined && !statuses.includes(answer.status)) {
      throw new Error(
        `HTTP ${answer.status} where ${statuses.join(" or ")} was due: ${answer.body.subarray(0, 300)}`,
      );
    }
    if (code === undefined) {
      return;
    }
    const message = JSON.parse(payloadOf(answer));
    if (message.error?.code !== code || message.id !== id) {
      throw new Error(`error ${code} for request ${id} was due: ${answer.body.subarray(0, 300)}`);
    }
  };
}

/** The JSON of an answer, whether it came as JSON or as the last event of a stream. */
export function payloadOf(answer) {
  const text = answer.body.toString("utf8");
  if (!/\r\ncontent-type: *text\/event-stream/i.test(answer.head)) {
    return text;
  }
  return text
    .trimEnd()
    .split(/\r?\n\r?\n/)
    .at(-1)
    .replace(/^(event|id|retry):.*\r?\n/gm, "")
    .replace(/^data: ?/gm, "");
}
