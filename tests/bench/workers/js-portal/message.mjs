import { Refusal } from "./refusal.mjs";

export const VERSION = "2026-07-28";
const META = "io.modelcontextprotocol/";
const HEADER_MISMATCH = -32020;
const UNSUPPORTED_VERSION = -32022;

/**
 * One checked JSON-RPC request. The body is the authority; the headers must agree with it.
 * It is parsed once: what goes upstream is made from this same object.
 */
export function readMessage(text, headers, seen) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    throw new Refusal(400, -32700, "The request body is not JSON");
  }
  if (message === null || typeof message !== "object" || message.jsonrpc !== "2.0") {
    throw new Refusal(400, -32600, "The request body is not one JSON-RPC 2.0 message");
  }
  const { id, method, params } = message;
  if ((typeof id !== "string" && typeof id !== "number") || typeof method !== "string") {
    throw new Refusal(400, -32600, "A request has an id and a method");
  }
  seen.id = id;
  seen.method = method;
  checkMeta(params, headers);
  agree(headers, "mcp-method", method);
  if (method !== "tools/call") {
    throw new Refusal(404, -32601, `Method not found: ${method}`);
  }
  if (typeof params.name !== "string") {
    throw new Refusal(400, -32602, "params.name must be a string");
  }
  agree(headers, "mcp-name", params.name);
  return message;
}

function checkMeta(params, headers) {
  const meta = params?._meta;
  const version = meta?.[`${META}protocolVersion`];
  if (typeof version !== "string" || typeof meta[`${META}clientCapabilities`] !== "object") {
    throw new Refusal(400, -32602, `params._meta needs ${META}protocolVersion and ${META}clientCapabilities`);
  }
  agree(headers, "mcp-protocol-version", version);
  if (version !== VERSION) {
    throw new Refusal(400, UNSUPPORTED_VERSION, `Unsupported protocol version: ${version}`);
  }
}

function agree(headers, name, value) {
  const given = headers.get(name);
  if (given === value || (given !== null && decodeSentinel(given) === value)) {
    return;
  }
  throw new Refusal(400, HEADER_MISMATCH, `Header mismatch: ${name} does not agree with the body`);
}

function decodeSentinel(value) {
  if (!value.startsWith("=?base64?") || !value.endsWith("?=")) {
    return value;
  }
  try {
    const bytes = Uint8Array.from(atob(value.slice(9, -2)), (char) => char.charCodeAt(0));
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
