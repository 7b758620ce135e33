import { randomUUID } from "node:crypto";
import { readJson, refuse, UNREADABLE } from "./exchange.mjs";

const SESSIONS_MAX = 2000;
const SESSION_IDLE_MS = 30 * 60 * 1000;

/**
 * Sessions of the 2025 era over plain node:http: `initialize` opens one, its id leads every later request to
 * the same transport, DELETE ends it. Works with the transport of either SDK, which share their interface.
 *
 * @param {object} parts
 * @param {(message: unknown) => boolean} parts.isInitialize
 * @param {(options: object) => Promise<object>} parts.connect makes a transport with a server behind it
 * @returns {{ handle: (req, res, body?: unknown) => Promise<void>, close: () => Promise<void> }}
 */
export function createSessions({ isInitialize, connect }) {
  /** @type {Map<string, { transport: any, usedAt: number }>} */
  const sessions = new Map();

  async function open() {
    await endIdle(sessions);
    if (sessions.size >= SESSIONS_MAX) return undefined;
    const transport = await connect({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => {
        sessions.set(id, { transport, usedAt: Date.now() });
      },
      onsessionclosed: (id) => {
        sessions.delete(id);
      },
    });
    return transport;
  }

  async function handle(req, res, parsedBody) {
    const body = parsedBody ?? (req.method === "POST" ? await readJson(req) : undefined);
    if (body === UNREADABLE) {
      return refuse(res, 400, -32700, "The body is not JSON, or it is larger than 4 MiB.");
    }
    const id = req.headers["mcp-session-id"];
    if (id === undefined) {
      if (!isInitialize(body)) {
        return refuse(res, 400, -32600, "Send initialize first: this server needs an Mcp-Session-Id.");
      }
      const transport = await open();
      if (!transport) return refuse(res, 503, -32000, "Too many sessions are open. Try again later.");
      return transport.handleRequest(req, res, body);
    }
    const session = sessions.get(id);
    if (!session) return refuse(res, 404, -32001, "This session has ended. Send initialize to open another.");
    session.usedAt = Date.now();
    return session.transport.handleRequest(req, res, body);
  }

  async function close() {
    const transports = [...sessions.values()].map(({ transport }) => transport);
    sessions.clear();
    await Promise.allSettled(transports.map((transport) => transport.close()));
  }

  return { handle, close };
}

async function endIdle(sessions) {
  const oldest = Date.now() - SESSION_IDLE_MS;
  for (const [id, { transport, usedAt }] of sessions) {
    if (usedAt > oldest) continue;
    sessions.delete(id);
    await transport.close();
  }
}
