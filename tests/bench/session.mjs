// The 2025-11-25 protocol from the client's side: requests in a session.

import { httpRequest, nextId, payloadOf } from "./calls.mjs";
import { HOST } from "./document.mjs";
import { Lane } from "./lane.mjs";

const REVISION = "2025-11-25";

/**
 * Opens sessions one after the other, each as a client of its own would.
 * @param {{ host: string, port: number }} address
 * @param {{ count: number, capabilities: object, token?: string }} options
 * @returns {Promise<object[]>} the headers that every request in that session carries
 */
export async function openSessions(address, { count, capabilities, token }) {
  const lane = await Lane.open(address);
  try {
    const sessions = [];
    for (let made = 0; made < count; made++) {
      sessions.push(await openSession(lane, capabilities, token));
    }
    return sessions;
  } finally {
    lane.close();
  }
}

async function openSession(lane, capabilities, token) {
  const headers = {
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  };
  const params = {
    protocolVersion: REVISION,
    capabilities,
    clientInfo: { name: "bench", version: "1.0.0" },
  };
  const { request } = sessionRequest(headers, "initialize", params);
  const answer = await lane.send(request);
  const id = /\r\nmcp-session-id: *([^\r\n]+)/i.exec(answer.head)?.[1];
  const revision = answer.status === 200 && JSON.parse(payloadOf(answer)).result?.protocolVersion;
  if (id === undefined || revision !== REVISION) {
    throw new Error(`no session: HTTP ${answer.status}: ${answer.body.subarray(0, 300)}`);
  }
  const session = { ...headers, "mcp-protocol-version": REVISION, "mcp-session-id": id };
  const told = await lane.send(sessionPost(session, { jsonrpc: "2.0", method: "notifications/initialized" }));
  if (told.status !== 202) {
    throw new Error(`notifications/initialized: HTTP ${told.status}: ${told.body.subarray(0, 300)}`);
  }
  return session;
}

/** One request in a session, with its id. */
export function sessionRequest(session, method, params, id = nextId()) {
  return { id, request: sessionPost(session, { jsonrpc: "2.0", id, method, params }) };
}

/** Any message in a session, as bytes. */
export function sessionPost(session, message) {
  return httpRequest(HOST, "/mcp", session, JSON.stringify(message));
}
