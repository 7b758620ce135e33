// What is sent to which variant, and what must come back.

import { answerCheck, callHeaders, callMessage, httpRequest, refusalCheck } from "./calls.mjs";
import { HOST } from "./document.mjs";

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
    audited: false,
    make: () => call("echo_nothing", { bytes: 512, note: "of the bench" }, undefined),
    check: refusalCheck({ statuses: [401] }),
  };
}

function call(name, given, token, path = "/mcp") {
  const message = callMessage(name, given);
  const request = httpRequest(HOST, path, callHeaders(message, token), JSON.stringify(message));
  return { request, id: message.id };
}
