/**
 * Maps names between a client that knows a server by itself and a portal that prefixes its names.
 * Everything else in a message stays as it is.
 */

const NAMED_METHODS = ["tools/call", "prompts/get"];

/**
 * @param {unknown} body a client's message or batch
 * @param {string} prefix such as "fx_"
 * @returns {unknown} undefined if there is no name to map
 */
export function prefixRequest(body, prefix) {
  if (Array.isArray(body)) {
    const mapped = body.map((message) => prefixRequest(message, prefix));
    if (mapped.every((message) => message === undefined)) return undefined;
    return body.map((message, index) => mapped[index] ?? message);
  }
  const { method, params } = body ?? {};
  if (NAMED_METHODS.includes(method) && typeof params?.name === "string") {
    return { ...body, params: { ...params, name: prefix + params.name } };
  }
  const ref = params?.ref;
  if (method === "completion/complete" && ref?.type === "ref/prompt" && typeof ref.name === "string") {
    return { ...body, params: { ...params, ref: { ...ref, name: prefix + ref.name } } };
  }
  return undefined;
}

/**
 * The Mcp-Name header names a tool or a prompt with these methods, and a resource with others. A
 * header that contradicts the body must still do so afterwards, so it is mapped by itself.
 * @param {string | undefined} header
 * @param {unknown} body
 * @param {string} prefix
 * @returns {string | undefined}
 */
export function prefixNameHeader(header, body, prefix) {
  if (header === undefined || !NAMED_METHODS.includes(body?.method)) return header;
  const encoded = /^=\?base64\?(.*)\?=$/.exec(header);
  if (encoded === null) return prefix + header;
  const name = prefix + Buffer.from(encoded[1], "base64").toString("utf8");
  return `=?base64?${Buffer.from(name, "utf8").toString("base64")}?=`;
}

/**
 * @param {unknown} message a portal's message
 * @param {string} prefix
 * @returns {unknown} undefined if it is not a listing of tools or prompts
 */
export function unprefixListing(message, prefix) {
  const { result } = message ?? {};
  const key = ["tools", "prompts"].find((list) => Array.isArray(result?.[list]));
  if (key === undefined) return undefined;
  const entries = result[key].map((entry) =>
    entry?.name?.startsWith?.(prefix) ? { ...entry, name: entry.name.slice(prefix.length) } : entry,
  );
  return { ...message, result: { ...result, [key]: entries } };
}
