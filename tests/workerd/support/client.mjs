// A client that can be wrong: every byte, header and path of a request is the test's own.
import { request as httpRequest } from "node:http";
import { within } from "../../harness/bounded.mjs";

export const MODERN = "2026-07-28";
const ANSWER_MS = 20_000;
const VERSION_KEY = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities";

let nextId = 1_000;

/** What every modern request carries. */
export const META = { [VERSION_KEY]: MODERN, [CAPABILITIES_KEY]: {} };

/**
 * Sends one request as it is.
 * @param {{ origin: string }} portal
 * @param {{ verb?: string, path?: string, host?: string, token?: string, headers?: object,
 *   body?: string | Buffer, chunked?: boolean, announcedBytes?: number, signal?: AbortSignal }} what a header given as
 *   `undefined` is left out; `announcedBytes`: a Content-Length larger than the body, which then never ends
 * @returns {Promise<{ status: number, headers: object, text: string, json: any, messages: any[] }>} `json`: the body,
 *   or of an event stream its last message
 */
export async function send(portal, what) {
  const { verb = "POST", path = "/mcp", host, token, body, chunked = false, announcedBytes, signal } = what;
  const { port } = new URL(portal.origin);
  const headers = { host: host ?? `localhost:${port}` };
  if (token !== undefined) {
    headers.authorization = `Bearer ${token}`;
  }
  Object.assign(headers, lower(what.headers));
  for (const name of Object.keys(headers).filter((each) => headers[each] === undefined)) {
    delete headers[name];
  }
  const bytes = body === undefined ? undefined : Buffer.from(body);
  if (bytes && !chunked) {
    headers["content-length"] = announcedBytes ?? bytes.length;
  }
  const answered = new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port, method: verb, path, headers, signal, agent: false };
    const request = httpRequest(options, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        resolve(read(response, Buffer.concat(chunks).toString("utf8")));
        if (announcedBytes !== undefined) {
          request.destroy();
        }
      });
    });
    request.on("error", reject);
    if (announcedBytes !== undefined) {
      request.write(bytes);
    } else if (bytes && chunked) {
      request.write(bytes.subarray(0, 1));
      request.end(bytes.subarray(1));
    } else {
      request.end(bytes);
    }
  });
  return await within(answered, ANSWER_MS, `${verb} ${path}`);
}

/**
 * Opens an event stream and collects its messages until it is closed.
 * @returns {Promise<{ status: number, messages: object[], isEnded: boolean, close: () => void }>}
 */
export async function openStream(portal, { verb = "GET", path = "/mcp", token, headers, body }) {
  const gone = new AbortController();
  const url = `${portal.origin}${path}`;
  const opening = fetch(url, {
    method: verb,
    body,
    headers: { ...headers, accept: "application/json, text/event-stream", authorization: `Bearer ${token}` },
    signal: gone.signal,
  });
  const response = await within(opening, ANSWER_MS, `the stream of ${path}`);
  const messages = [];
  const read = async () => {
    let text = "";
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const events = text.split("\n\n");
      text = events.pop();
      const data = events.flatMap((each) => each.split("\n")).filter((line) => /^data: *\S/.test(line));
      messages.push(...data.map((line) => JSON.parse(line.slice(5))));
    }
  };
  const stream = { status: response.status, messages, isEnded: false, close: () => gone.abort() };
  read()
    .catch(() => {})
    .finally(() => {
      stream.isEnded = true;
    });
  return stream;
}

/** Header names have one case here, so that a test's own replaces the usual one. */
function lower(headers = {}) {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

function read(response, text) {
  const { statusCode: status, headers } = response;
  let messages = [];
  let json;
  if (headers["content-type"]?.startsWith("text/event-stream")) {
    const data = text.split("\n").filter((line) => line.startsWith("data:") && line.length > 6);
    messages = data.map((line) => JSON.parse(line.slice(5)));
    json = messages.at(-1);
  } else {
    try {
      json = JSON.parse(text);
    } catch {
      json = undefined;
    }
  }
  return { status, headers, text, json, messages };
}

/** A modern request's message. */
export function modernMessage(method, params = {}) {
  nextId += 1;
  const _meta = { ...META, ...params._meta };
  return { jsonrpc: "2.0", id: nextId, method, params: { ...params, _meta } };
}

/** The headers that mirror a modern message. */
export function modernHeaders(message) {
  const name = message.params?.name ?? message.params?.uri;
  const isNamed = ["tools/call", "prompts/get", "resources/read"].includes(message.method);
  return {
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    "mcp-protocol-version": message.params?._meta?.[VERSION_KEY] ?? MODERN,
    "mcp-method": message.method,
    ...(isNamed && typeof name === "string" ? { "mcp-name": name } : {}),
  };
}

/** Sends a modern request: `what` goes on top of what is right. */
export async function modern(portal, method, params, what = {}) {
  const message = modernMessage(method, params);
  const headers = { ...modernHeaders(message), ...lower(what.headers) };
  const answer = await send(portal, { body: JSON.stringify(message), ...what, headers });
  return { ...answer, id: message.id };
}

/** Calls a tool in the modern era. */
export function callTool(portal, name, args, what) {
  return modern(portal, "tools/call", { name, arguments: args ?? {} }, what);
}

/** The headers of a legacy request. */
export function legacyHeaders(session, revision) {
  return {
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    ...(revision && revision >= "2025-06-18" ? { "mcp-protocol-version": revision } : {}),
    ...(session ? { "mcp-session-id": session } : {}),
  };
}

/** Sends a legacy request, in a session where there is one. */
export async function legacy(portal, method, params, { session, revision = "2025-11-25", ...what } = {}) {
  nextId += 1;
  const message = { jsonrpc: "2.0", id: nextId, method, ...(params === undefined ? {} : { params }) };
  const headers = { ...legacyHeaders(session, revision), ...lower(what.headers) };
  const answer = await send(portal, { body: JSON.stringify(message), ...what, headers });
  return { ...answer, id: message.id };
}

/**
 * Opens a legacy session.
 * @returns {Promise<{ id: string, revision: string, result: object, ask: Function, send: Function }>}
 */
export async function openSession(portal, { revision = "2025-11-25", ...what } = {}) {
  const params = { protocolVersion: revision, capabilities: {}, clientInfo: { name: "test", version: "1" } };
  const answer = await legacy(portal, "initialize", params, { ...what, revision: undefined });
  const id = answer.headers["mcp-session-id"];
  if (answer.status !== 200 || !id || !answer.json?.result) {
    throw new Error(`no session: ${answer.status} ${answer.text.slice(0, 500)}`);
  }
  const headers = legacyHeaders(id, revision);
  const post = (body, more = {}) =>
    send(portal, { body, ...what, ...more, headers: { ...headers, ...lower(more.headers) } });
  await post(JSON.stringify({ jsonrpc: "2.0", method: "notifications/initialized" }));
  const ask = (method, params, more) =>
    legacy(portal, method, params, { session: id, revision, ...what, ...more });
  return { id, revision, result: answer.json.result, ask, send: post };
}
