/**
 * How a tool is written down in this folder, and how it is registered. Both official SDKs take the same
 * registration call, so one definition form serves servers of either era.
 */

/** Looks, changes nothing. */
export const READS = {
  readOnlyHint: true,
  destructiveHint: false,
  idempotentHint: true,
  openWorldHint: false,
};
/** Adds something new each time it is called. */
export const ADDS = {
  readOnlyHint: false,
  destructiveHint: false,
  idempotentHint: false,
  openWorldHint: false,
};
/** Sets a state that can be set back; calling twice is calling once. */
export const SETS = {
  readOnlyHint: false,
  destructiveHint: false,
  idempotentHint: true,
  openWorldHint: false,
};
/** Overwrites or removes what cannot be had back from this server. */
export const DESTROYS = {
  readOnlyHint: false,
  destructiveHint: true,
  idempotentHint: true,
  openWorldHint: false,
};

/**
 * @typedef {object} Tool
 * @property {string} name
 * @property {string} title
 * @property {string} description
 * @property {import("zod").ZodObject} input
 * @property {import("zod").ZodObject} [output] with it, `run` returns the structured content
 * @property {object} annotations
 * @property {(args: any, context: any) => any} run
 */

/**
 * @param {{ registerTool: Function }} server an McpServer of either SDK
 * @param {Tool[]} tools
 */
export function registerTools(server, tools) {
  for (const { name, title, description, input, output, annotations, run } of tools) {
    const definition = { title, description, inputSchema: input, annotations };
    if (output) definition.outputSchema = output;
    server.registerTool(name, definition, async (args, context) =>
      toResult(await run(args, context), output),
    );
  }
}

function toResult(value, output) {
  if (typeof value === "string") return { content: [{ type: "text", text: value }] };
  if (isCompleteResult(value)) return value;
  // Parsed, so that a field the schema does not name can never leave: clients refuse such results.
  const structuredContent = output.parse(value);
  return { content: [{ type: "text", text: JSON.stringify(structuredContent) }], structuredContent };
}

function isCompleteResult(value) {
  return Array.isArray(value.content) || value.resultType === "input_required";
}

/**
 * One page of a list, with the offset of the next one while there is one.
 *
 * @template T
 * @param {T[]} items
 * @param {{ offset: number, limit: number }} window
 * @returns {{ items: T[], total: number, next_offset: number | null }}
 */
export function takePage(items, { offset, limit }) {
  const end = offset + limit;
  return {
    items: items.slice(offset, end),
    total: items.length,
    next_offset: end < items.length ? end : null,
  };
}

/**
 * @param {string} query words, all of which must occur
 * @param {...string} texts where to look
 * @returns {boolean}
 */
export function matchesWords(query, ...texts) {
  const haystack = texts.join("\n").toLowerCase();
  return query
    .toLowerCase()
    .split(/\s+/)
    .every((word) => haystack.includes(word));
}
