// What the servers of both eras say. Texts are made once, so that a large result costs its server no more than a
// small one.

const MAX_TEXT_BYTES = 8 * 1024 * 1024;
const LINE =
  "2026-11-20T08:15:42Z  order 48213 moved from packing to carrier, 3 items, no exceptions noted\n";

const texts = new Map();

/** The JSON string literal of a text of exactly so many bytes. */
export function textOf(bytes) {
  let text = texts.get(bytes);
  if (text === undefined) {
    const wanted = Math.min(Math.max(bytes, 0), MAX_TEXT_BYTES);
    text = JSON.stringify(LINE.repeat(Math.ceil(wanted / LINE.length)).slice(0, wanted));
    texts.set(bytes, text);
  }
  return text;
}

/** The elicitation of the tool that asks. */
export const ORDER_QUESTION = {
  mode: "form",
  message: "Which order is meant?",
  requestedSchema: {
    type: "object",
    properties: { order: { type: "string", title: "Order number" } },
    required: ["order"],
  },
};

/** The JSON string literal of what that tool says once it has its answer. */
export function orderText(answer) {
  const order = answer?.action === "accept" ? answer.content?.order : undefined;
  return JSON.stringify(order === undefined ? "no order was named" : `order ${order}`);
}
