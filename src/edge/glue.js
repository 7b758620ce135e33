// What would cost several crossings between wasm and JavaScript, in one. No decision is made here.

/** What stands for a header that is not there: no header value can hold it. */
const ABSENT = "\u0000";

const HEADERS = [
  "authorization",
  "content-type",
  "content-length",
  "accept",
  "origin",
  "mcp-protocol-version",
  "mcp-method",
  "mcp-name",
  "mcp-session-id",
  "last-event-id",
  "cf-access-jwt-assertion",
];

/** Method, address and the headers the edge reads, a line each. */
export function head(request) {
  const headers = request.headers;
  let text = `${request.method}\n${request.url}`;
  for (const name of HEADERS) {
    text += `\n${headers.get(name) ?? ABSENT}`;
  }
  return text;
}

/** A request's body; null beyond the bound. */
export async function readBody(request, isLengthKnown, bytesMax) {
  if (isLengthKnown) {
    return new Uint8Array(await request.arrayBuffer());
  }
  return request.body === null ? new Uint8Array() : collect(request.body, bytesMax);
}

/** Reads a stream to its end; null beyond the bound. */
async function collect(stream, bytesMax) {
  const chunks = [];
  let length = 0;
  for await (const chunk of stream) {
    length += chunk.byteLength;
    if (length > bytesMax) {
      return null;
    }
    chunks.push(chunk);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}

/**
 * Sends a request and reads the answer's head, and its body where that is JSON.
 * @param {object} env where the service binding is, if `binding` names one
 * @param {string} headers names and values, a line each
 * @param {Uint8Array} body a view of wasm's memory: copied before anything is awaited
 * @param {AbortSignal | undefined} clientGone ends the exchange with the client; without it a signal of its own can
 * @returns {Promise<Exchange>} rejects with the name of what went wrong
 */
export function exchange(env, binding, url, method, headers, body, timeoutMs, bytesMax, clientGone) {
  const lines = headers.split("\n");
  const fields = {};
  for (let at = 0; at + 1 < lines.length; at += 2) {
    fields[lines[at]] = lines[at + 1];
  }
  const controller = clientGone ? undefined : new AbortController();
  const init = { method, headers: fields, redirect: "manual", signal: clientGone ?? controller.signal };
  if (method === "POST") {
    init.body = body.slice();
  }
  const { promise: late, reject } = Promise.withResolvers();
  const timer = setTimeout(() => {
    reject("timed out");
    controller?.abort();
  }, timeoutMs);
  const answered = answer(binding ? env[binding] : undefined, url, init, bytesMax, controller);
  return Promise.race([answered, late]).finally(() => clearTimeout(timer));
}

class Exchange {
  constructor(response, kind, buffer, controller) {
    const headers = response.headers;
    this.head = `${response.status}\n${kind}\n${headers.get("mcp-session-id") ?? ABSENT}\n${headers.get("retry-after") ?? ABSENT}`;
    this.response = response;
    this.buffer = buffer;
    this.controller = controller;
  }

  /** The next chunk of a body that was not read; undefined at its end. */
  async chunk(timeoutMs) {
    this.reader ??= this.response.body?.getReader();
    if (!this.reader) {
      return undefined;
    }
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject("timed out"), timeoutMs);
    });
    try {
      const { done, value } = await Promise.race([this.reader.read(), late]);
      return done ? undefined : value;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Nobody waits for the rest: the connection is one of six. */
  cancel() {
    this.controller?.abort();
    if (!this.buffer) {
      const cancelled = this.reader ? this.reader.cancel() : this.response.body?.cancel();
      cancelled?.catch(() => {});
    }
  }
}

const JSON_TYPE = /^application\/([\w.-]+\+)?json\b/i;

async function answer(service, url, init, bytesMax, controller) {
  const response = await (service ? service.fetch(url, init) : fetch(url, init));
  const headers = response.headers;
  const type = headers.get("content-type") ?? "";
  const kind = JSON_TYPE.test(type) ? "json" : type.startsWith("text/event-stream") ? "events" : "other";
  let buffer;
  if (kind === "json") {
    const length = headers.get("content-length");
    if (length !== null && Number(length) > bytesMax) {
      throw "too large";
    }
    // A service binding is a worker of the same company, and gives no length.
    if (length !== null || service) {
      buffer = await response.arrayBuffer();
    } else {
      buffer = (await collect(response.body, bytesMax))?.buffer;
    }
    if (buffer === undefined || buffer.byteLength > bytesMax) {
      throw "too large";
    }
  }
  return new Exchange(response, kind, buffer, controller);
}

/** Calls a Durable Object by name. */
export function callObject(env, binding, name, method, headerName, headerValue, body) {
  const init = { method };
  if (headerName) {
    init.headers = { [headerName]: headerValue };
  }
  if (method === "POST") {
    init.body = typeof body === "string" ? body : body.slice();
  }
  return env[binding].getByName(name).fetch("https://object/", init);
}

const JSON_OK = {
  status: 200,
  headers: new Headers({ "content-type": "application/json", "cache-control": "no-store" }),
};

/** The head of nearly every answer. */
export function jsonResponse(body) {
  return new Response(body, JSON_OK);
}

/** As above, with a body that is in wasm's memory. */
export function jsonResponseOf(bytes) {
  return new Response(bytes.slice(), JSON_OK);
}
