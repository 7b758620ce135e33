/** One HTTP exchange of a demo server: reading the body within a bound, and refusing as JSON-RPC. */

const BODY_BYTES_MAX = 4 * 1024 * 1024;

/** Stands for a body that is not JSON or too large. */
export const UNREADABLE = Symbol("unreadable");

/**
 * @param {import("node:http").IncomingMessage} req
 * @returns {Promise<unknown>} the parsed body, or UNREADABLE
 */
export async function readJson(req) {
  const chunks = [];
  let size = 0;
  for await (const chunk of req) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) return UNREADABLE;
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    return UNREADABLE;
  }
}

/**
 * @param {import("node:http").ServerResponse} res
 * @param {number} status
 * @param {number} code a JSON-RPC error code
 * @param {string} message
 */
export function refuse(res, status, code, message) {
  res.writeHead(status, { "content-type": "application/json" });
  res.end(JSON.stringify({ jsonrpc: "2.0", id: null, error: { code, message } }));
}
