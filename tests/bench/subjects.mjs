// What is sent to which variant, and what must come back.

import { answerCheck, callHeaders, callMessage, httpRequest, refusalCheck } from "./calls.mjs";
import { legacyDialogue, modernDialogue, openPair } from "./dialogue.mjs";
import { HOST } from "./document.mjs";
import { sessionRequest } from "./session.mjs";

/** An allowed call with a result of so many bytes. */
export function allowedCall({ key, variant, bytes, concurrency, count, token }) {
  return {
    key,
    variant,
    concurrency,
    count,
    warm: Math.ceil(count / 2),
    make: () => call(variant.tool, { bytes, note: "of the bench" }, token),
    check: answerCheck(bytes),
  };
}

/**
 * A call of a tool that does not exist. `takeToken` gives the token of each request, undefined for none;
 * `path` names the portal.
 */
export function unknownCall({
  key,
  variant,
  concurrency,
  count,
  takeToken,
  path,
  warm = Math.ceil(count / 2),
}) {
  return {
    key,
    variant,
    concurrency,
    count,
    warm,
    make: () => call("echo_nothing", { bytes: 512, note: "of the bench" }, takeToken(), path),
    check: refusalCheck({ code: -32602 }),
  };
}

/** A call without a token: the least that can be refused. Whether it is logged is left open: it has no caller. */
export function namelessCall({ key, variant, concurrency, count }) {
  return {
    key,
    variant,
    concurrency,
    count,
    warm: Math.ceil(count / 2),
    events: 0,
    make: () => call("echo_nothing", { bytes: 512, note: "of the bench" }, undefined),
    check: refusalCheck({ statuses: [401] }),
  };
}

/** An allowed call by a client of the current protocol, or where there are sessions, of the one before it. */
export function pairCall({ bytes, capabilities, sessions, tool, token, ...subject }) {
  const given = { bytes, note: "of the bench" };
  const make = sessions
    ? (at) => sessionRequest(sessions[at], "tools/call", { name: tool, arguments: given })
    : () => call(tool, given, token, "/mcp", capabilities);
  return { ...subject, make, check: answerCheck(bytes) };
}

/** A call in which the server asks once. */
export function pairDialogue({ sessions, tool, token, ...subject }) {
  return sessions
    ? { ...subject, open: openPair, exchange: legacyDialogue({ tool, sessions }) }
    : { ...subject, exchange: modernDialogue({ tool, token }) };
}

function call(name, given, token, path = "/mcp", capabilities = {}) {
  const message = callMessage(name, given, { capabilities });
  const request = httpRequest(HOST, path, callHeaders(message, token), JSON.stringify(message));
  return { request, id: message.id };
}
