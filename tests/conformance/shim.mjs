import { request as openRequest } from "node:http";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { listen } from "./listener.mjs";
import { readBody } from "./message.mjs";
import { prefixNameHeader, prefixRequest, unprefixListing } from "./names.mjs";

const BODY_BYTES_MAX = 16 * 1024 * 1024;

/**
 * Starts a proxy through which a client that knows only un-prefixed names can use a portal that
 * prefixes them. Status, headers, streams and all other content pass unchanged.
 * @param {object} options
 * @param {string} options.target the portal's MCP URL
 * @param {string} options.prefix such as "fx_"
 * @returns {Promise<{ url: string, stop: () => Promise<void> }>}
 */
export async function startShim({ target, prefix }) {
  const portal = new URL(target);
  const listener = await listen(0, async (request, response) => {
    const bytes = await readBody(request, BODY_BYTES_MAX);
    if (bytes === undefined) {
      response.writeHead(413).end();
      return;
    }
    const body = parseOr(bytes.toString("utf8"), undefined);
    const mapped = prefixRequest(body, prefix);
    const sent = mapped === undefined ? bytes : Buffer.from(JSON.stringify(mapped));
    const headers = mapHeaders(request, { shim: new URL(listener.url).host, portal: portal.host });
    headers["mcp-name"] = prefixNameHeader(headers["mcp-name"], body, prefix);
    if (headers["mcp-name"] === undefined) delete headers["mcp-name"];
    if (bytes.length > 0) headers["content-length"] = sent.length;

    const answer = await exchange(portal, request, response, headers, sent);
    if (answer === undefined) return;
    await relay(answer, response, prefix);
  });
  return { url: `${listener.url}${portal.pathname}`, stop: listener.close };
}

/** What names the shim must name the portal; any other host or origin is the scenario's own. */
function mapHeaders(request, { shim, portal }) {
  const headers = { ...request.headers };
  // Compressed bodies could not be searched for names.
  for (const name of ["accept-encoding", "connection", "keep-alive", "transfer-encoding"])
    delete headers[name];
  if (headers.host === shim) headers.host = portal;
  if (headers.origin === `http://${shim}`) headers.origin = `http://${portal}`;
  return headers;
}

/** Resolves with the portal's answer, or with undefined once either side has gone. */
function exchange(portal, request, response, headers, sent) {
  return new Promise((resolve) => {
    const { hostname, port } = portal;
    const outgoing = openRequest({ hostname, port, path: request.url, method: request.method, headers });
    outgoing.on("response", resolve);
    outgoing.on("error", () => {
      if (response.headersSent) response.destroy();
      else response.writeHead(502).end();
      resolve(undefined);
    });
    // A client that goes away cancels its call, so the portal has to see it go.
    response.on("close", () => outgoing.destroy());
    outgoing.end(sent);
  });
}

async function relay(answer, response, prefix) {
  const type = answer.headers["content-type"] ?? "";
  const headers = { ...answer.headers };
  delete headers["transfer-encoding"];
  delete headers.connection;
  delete headers["keep-alive"];
  if (type.includes("application/json")) {
    const bytes = await readBody(answer, BODY_BYTES_MAX);
    const listing = unprefixListing(parseOr(bytes.toString("utf8"), undefined), prefix);
    const body = listing === undefined ? bytes : Buffer.from(JSON.stringify(listing));
    response.writeHead(answer.statusCode, { ...headers, "content-length": body.length }).end(body);
    return;
  }
  response.writeHead(answer.statusCode, headers);
  response.flushHeaders();
  const events = type.includes("text/event-stream") ? [new EventNames(prefix)] : [];
  // Either side may close an event stream at any time; that is no failure of the shim.
  await pipeline(answer, ...events, response).catch(() => response.destroy());
}

/** Maps the listings in an event stream, event by event, and passes all other bytes on. */
class EventNames extends Transform {
  #prefix;
  #rest = Buffer.alloc(0);

  constructor(prefix) {
    super();
    this.#prefix = prefix;
  }

  _transform(chunk, _encoding, done) {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    if (this.#rest.length > BODY_BYTES_MAX) return done(new Error("One event is too long"));
    for (let end = endOfEvent(this.#rest); end > 0; end = endOfEvent(this.#rest)) {
      this.push(this.#map(this.#rest.subarray(0, end)));
      this.#rest = this.#rest.subarray(end);
    }
    done();
  }

  _flush(done) {
    done(null, this.#rest);
  }

  #map(event) {
    const lines = event.toString("utf8").split(/\r?\n/);
    const isData = (line) => line.startsWith("data:");
    const data = lines.filter(isData).map((line) => line.slice(5).replace(/^ /, ""));
    const listing = unprefixListing(parseOr(data.join("\n"), undefined), this.#prefix);
    if (listing === undefined) return event;
    const others = lines.filter((line) => line !== "" && !isData(line));
    return [...others, `data: ${JSON.stringify(listing)}`, "", ""].join("\n");
  }
}

function endOfEvent(bytes) {
  const ends = ["\n\n", "\r\n\r\n"].map((end) => [bytes.indexOf(end), end.length]);
  const found = ends.filter(([at]) => at >= 0).map(([at, length]) => at + length);
  return found.length === 0 ? -1 : Math.min(...found);
}

function parseOr(text, otherwise) {
  try {
    return JSON.parse(text);
  } catch {
    return otherwise;
  }
}
