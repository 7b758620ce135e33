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

/** How to reach the wasm instance that runs now. What an older one waited for is nobody's: its calls refuse. */
let instance;

/** Called by each instance as it starts. */
export function attach(settle, fail, run) {
  instance = { settle, fail, run, turns: new Map(), exchanges: new Map() };
}

/** Has wasm go on with what was woken. */
export function later() {
  queueMicrotask(instance.run);
}

/** The promise of a request's response. */
export function promise(turn) {
  return new Promise((resolve) => instance.turns.set(turn, resolve));
}

export function respond(turn, response) {
  const resolve = instance.turns.get(turn);
  instance.turns.delete(turn);
  resolve(response);
}

/** Enters wasm. A trap in there must be seen by the worker's listener, and not end in a promise nobody looks at. */
function enter(tell, ...values) {
  try {
    return tell(...values);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** Reads a request's body; "too large" beyond the bound. */
export async function readBody(slot, request, isLengthKnown, bytesMax) {
  const { settle, fail } = instance;
  let bytes;
  try {
    if (isLengthKnown) {
      bytes = new Uint8Array(await request.arrayBuffer());
    } else {
      bytes = request.body === null ? new Uint8Array() : await collect(request.body, bytesMax);
    }
  } catch {
    return enter(fail, slot);
  }
  if (bytes === null) {
    enter(fail, slot, "too large");
  } else {
    enter(settle, slot, undefined, "", bytes);
  }
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
  return joined(chunks);
}

function joined(chunks) {
  const whole = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}

/**
 * Sends a request and reads the answer's head, and its body where that is JSON. The answer is a `Stream` or the JSON's
 * buffer, then status, kind, session and pause, a line each, then the bytes.
 * @param {object} env where the service binding is, if the head names one
 * @param {string} head binding or nothing, address, method, then headers' names and values, a line each
 * @param {Uint8Array} body a view of wasm's memory: copied before anything is awaited
 * @param {AbortSignal | undefined} client ends the exchange with the client; without it a signal of its own can
 */
export async function exchange(slot, env, head, body, timeoutMs, bytesMax, client) {
  const { settle, fail } = instance;
  // What is sent for a client that has gone is what its server is told of that.
  const clientGone = client?.aborted ? undefined : client;
  const lines = head.split("\n");
  const headers = {};
  for (let at = 3; at + 1 < lines.length; at += 2) {
    headers[lines[at]] = lines[at + 1];
  }
  const service = lines[0] === "" ? undefined : env[lines[0]];
  const controller = clientGone ? undefined : new AbortController();
  const init = { method: lines[2], headers, redirect: "manual", signal: clientGone ?? controller.signal };
  if (init.method === "POST") {
    init.body = body.slice();
  }
  const { exchanges } = instance;
  let isOver = false;
  if (controller) {
    exchanges.set(slot, () => {
      isOver = true;
      controller.abort();
    });
  }
  const timer = setTimeout(() => {
    isOver = true;
    controller?.abort();
    enter(fail, slot, "timed out");
  }, timeoutMs);
  let response;
  let kind;
  let bytes;
  let word;
  try {
    response = await (service ? service.fetch(lines[1], init) : fetch(lines[1], init));
    kind = kindOf(response.headers.get("content-type") ?? "");
    if (kind === "json" && !isOver) {
      // A service binding is a worker of the same company, and gives no length.
      bytes = service ? new Uint8Array(await response.arrayBuffer()) : await readJson(response, bytesMax);
      if (bytes === null || bytes.byteLength > bytesMax) {
        word = "too large";
      }
    }
  } catch {
    word = "failed";
  }
  exchanges.delete(slot);
  clearTimeout(timer);
  if (isOver) {
    response?.body?.cancel().catch(() => {});
    return;
  }
  if (word) {
    return enter(fail, slot, word);
  }
  const session = response.headers.get("mcp-session-id") ?? ABSENT;
  const pause = response.status < 400 ? ABSENT : (response.headers.get("retry-after") ?? ABSENT);
  const handle = bytes ? bytes.buffer : new Stream(response.body, controller);
  const isWanted = enter(settle, slot, handle, `${response.status}\n${kind}\n${session}\n${pause}`, bytes);
  if (isWanted === false && handle instanceof Stream) {
    handle.cancel();
  }
}

/** Nobody waits for an exchange any more: it ends. */
export function abandon(slot) {
  const end = instance.exchanges.get(slot);
  instance.exchanges.delete(slot);
  end?.();
}

const JSON_TYPE = /^application\/([\w.-]+\+)?json\b/i;

function kindOf(type) {
  if (type === "application/json" || JSON_TYPE.test(type)) {
    return "json";
  }
  return type.startsWith("text/event-stream") ? "events" : "other";
}

/** A body over the network; null beyond the bound. */
async function readJson(response, bytesMax) {
  const length = response.headers.get("content-length");
  if (length === null) {
    return collect(response.body, bytesMax);
  }
  return Number(length) > bytesMax ? null : new Uint8Array(await response.arrayBuffer());
}

/** A body that is read in pieces, or not at all. */
class Stream {
  constructor(body, controller) {
    this.body = body;
    this.controller = controller;
  }

  /** The next chunk; undefined at the end. */
  async chunk(timeoutMs) {
    this.reader ??= this.body?.getReader();
    if (!this.reader) {
      return undefined;
    }
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject("timed out"), timeoutMs);
    });
    try {
      // Kept when its time is over: the next call goes on waiting for the same chunk.
      this.reading ??= this.reader.read();
      const { done, value } = await Promise.race([this.reading, late]);
      this.reading = undefined;
      return done ? undefined : value;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Nobody waits for the rest: the connection is one of six. */
  cancel() {
    this.controller?.abort();
    const cancelled = this.reader ? this.reader.cancel() : this.body?.cancel();
    cancelled?.catch(() => {});
  }
}

/** Asks a Durable Object by name; the answer is its status and, on the lines after it, its text. */
export async function askObject(slot, env, binding, name, method, body) {
  const { settle, fail } = instance;
  let text;
  try {
    const response = await callObject(env, binding, name, method, undefined, undefined, body);
    text = `${response.status}\n${await response.text()}`;
  } catch {
    return enter(fail, slot);
  }
  enter(settle, slot, undefined, text);
}

/**
 * Reads rows from D1 and answers with them as JSON. Their `body` columns travel beside it as bytes, one after the
 * other, and leave their length in the row: they are large, and JSON already.
 */
export async function readRows(slot, env, sql, values) {
  const { settle, fail } = instance;
  let text;
  let bytes;
  try {
    const { results } = await env.DB.prepare(sql)
      .bind(...JSON.parse(values))
      .all();
    const bodies = [];
    for (const row of results) {
      if (typeof row.body === "string") {
        const body = encoder.encode(row.body);
        bodies.push(body);
        row.body = body.byteLength;
      }
    }
    text = JSON.stringify(results);
    bytes = joined(bodies);
  } catch {
    return enter(fail, slot);
  }
  enter(settle, slot, undefined, text, bytes);
}

const encoder = new TextEncoder();

/** Calls a Durable Object by name. */
export function callObject(env, binding, name, method, headerName, headerValue, body) {
  const init = { method };
  if (headerName) {
    init.headers = { [headerName]: headerValue };
  }
  if (method === "POST") {
    init.body = body.slice();
  }
  return env[binding].getByName(name).fetch("https://object/", init);
}

/**
 * Has an object answer. Its JSON comes as it is; a stream that breaks off ends with `lost`, so that the client hears of it
 * and does not merely see its connection end. Not aborted with the client: the object would go on to a stream that nobody
 * reads or cancels, whereas one that has come is cancelled with the client's own.
 */
export async function handOver(slot, env, binding, name, headerName, headerValue, body, lost) {
  const { settle, fail } = instance;
  const init = { method: "POST", headers: { [headerName]: headerValue }, body: body.slice() };
  let answer;
  try {
    const response = await env[binding].getByName(name).fetch("https://object/", init);
    const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") && response.body;
    answer = isStream ? new Response(mourned(response.body, lost), response) : response;
  } catch {
    return enter(fail, slot);
  }
  enter(settle, slot, answer, "");
}

/** A stream that says so when it ends too early. */
function mourned(stream, lost) {
  const reader = stream.getReader();
  return new ReadableStream({
    type: "bytes",
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (done) {
          controller.close();
          controller.byobRequest?.respond(0);
        } else {
          controller.enqueue(value);
        }
      } catch {
        // It may have broken off within an event, which must not swallow this one.
        controller.enqueue(encoder.encode(`\n\nevent: message\ndata: ${lost}\n\n`));
        controller.close();
        controller.byobRequest?.respond(0);
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
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
