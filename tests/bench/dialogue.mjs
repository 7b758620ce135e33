// One whole interactive call as a client of either era sees it: the call, one question, its answer, the result.

import { performance } from "node:perf_hooks";
import { callHeaders, callMessage, httpRequest, nextId, payloadOf } from "./calls.mjs";
import { HOST } from "./document.mjs";
import { Lane } from "./lane.mjs";
import { sessionPost, sessionRequest } from "./session.mjs";

/** What a client that can be asked declares. */
export const ASKABLE = { elicitation: { form: {} } };

const accept = (order) => ({ action: "accept", content: { order } });

/** The current protocol: the answer to the question travels in the call's second request. */
export function modernDialogue({ tool, token }) {
  return async (lane) => {
    const startedMs = performance.now();
    const order = `${nextId()}`;
    const asked = await post(lane, tool, token, {});
    const { resultType, inputRequests, requestState } = asked.result ?? {};
    const questions = Object.entries(inputRequests ?? {});
    if (resultType !== "input_required" || questions.length !== 1) {
      throw new Error(`one question was due, not ${JSON.stringify(asked).slice(0, 300)}`);
    }
    const [[key, { method }]] = questions;
    if (method !== "elicitation/create") {
      throw new Error(`an elicitation was due, not ${method}`);
    }
    const inputResponses = { [key]: accept(order) };
    checkOrder(await post(lane, tool, token, { inputResponses, requestState }), order);
    return performance.now() - startedMs;
  };
}

async function post(lane, tool, token, more) {
  const message = callMessage(tool, {}, { capabilities: ASKABLE });
  Object.assign(message.params, more);
  const headers = callHeaders(message, token);
  return parse(await lane.send(httpRequest(HOST, "/mcp", headers, JSON.stringify(message))), message.id);
}

/** The protocol before it: the question comes on the call's stream, its answer goes over a second connection. */
export function legacyDialogue({ tool, sessions }) {
  return async ({ calls, answers }, at) => {
    const startedMs = performance.now();
    const order = `${nextId()}`;
    const { request, id } = sessionRequest(sessions[at], "tools/call", { name: tool, arguments: {} });
    const undelivered = Promise.withResolvers();
    let delivery;
    const ended = calls.send(request, (body) => {
      const question = delivery === undefined ? questionIn(body) : undefined;
      if (question !== undefined) {
        delivery = deliver(answers, sessions[at], question.id, order);
        // Without its answer the call would only end with the server's patience.
        delivery.catch(undelivered.reject);
      }
    });
    const answer = await Promise.race([ended, undelivered.promise]);
    if (delivery === undefined) {
      throw new Error(`the call ended without a question: ${answer.body.subarray(0, 300)}`);
    }
    checkOrder(parse(answer, id), order);
    await delivery;
    return performance.now() - startedMs;
  };
}

async function deliver(lane, session, id, order) {
  const { status, body } = await lane.send(
    sessionPost(session, { jsonrpc: "2.0", id, result: accept(order) }),
  );
  if (status !== 202) {
    throw new Error(`the answer to the question: HTTP ${status}: ${body.subarray(0, 300)}`);
  }
}

/** Two sockets: one is busy with the call's stream while the other carries the answer. */
export async function openPair(address) {
  const [calls, answers] = await Promise.all([Lane.open(address), Lane.open(address)]);
  const close = () => {
    calls.close();
    answers.close();
  };
  return { calls, answers, close };
}

/** The server's request among the events that have come whole. */
function questionIn(body) {
  const text = body.toString("utf8");
  const whole = text.slice(0, text.lastIndexOf("\n\n") + 1);
  for (const [, data] of whole.matchAll(/^data: ?(\{.*)$/gm)) {
    const message = JSON.parse(data);
    if (message.method === "elicitation/create") {
      return message;
    }
  }
  return undefined;
}

function parse(answer, id) {
  if (answer.status !== 200) {
    throw new Error(`HTTP ${answer.status}: ${answer.body.subarray(0, 300)}`);
  }
  const text = payloadOf(answer);
  const message = JSON.parse(text);
  if (message.id !== id || message.result === undefined) {
    throw new Error(`a result for request ${id} was due, not ${text.slice(0, 300)}`);
  }
  return message;
}

function checkOrder(message, order) {
  const text = message.result.content?.[0]?.text;
  if (text !== `order ${order}`) {
    throw new Error(`"order ${order}" was due, not ${JSON.stringify(message.result).slice(0, 300)}`);
  }
}
