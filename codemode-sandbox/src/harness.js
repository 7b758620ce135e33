// Main module of every isolate. The program runs in this same realm, so nothing here is a security boundary: the
// boundaries are the isolate, its missing network and the worker outside, which checks what comes back.
import { WorkerEntrypoint } from "cloudflare:workers";

// Kept before the program can replace them, so that an honest program that patches a global still gets an answer.
const { parse, stringify } = JSON;
const { setTimeout, clearTimeout } = globalThis;

// Capabilities of the runtime that no program needs.
for (const name of ["caches", "WebSocket", "WebSocketPair", "EventSource"]) {
  delete globalThis[name];
}

export default class extends WorkerEntrypoint {
  /** Runs the program and answers with one JSON string, whatever happens. */
  async run(capability, limits) {
    const logs = recordConsole(limits);
    let timer;
    const deadline = new Promise((_, reject) => {
      timer = setTimeout(() => {
        reject(named("DeadlineExceeded", `the program did not finish within ${limits.deadlineMs} ms`));
      }, limits.deadlineMs);
    });
    try {
      const result = await Promise.race([start(capability), deadline]);
      return bounded({ result: result === undefined ? null : result }, logs, limits);
    } catch (thrown) {
      return bounded({ error: describe(thrown, limits) }, logs, limits);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Imported here and not at the top: what its module body throws, and its syntax errors, are then data as well. */
async function start(capability) {
  const program = (await import("./program.js")).default;
  if (typeof program !== "function") {
    return program;
  }
  const call = async (name, args) => {
    const answer = await capability.call(String(name), stringify(args === undefined ? {} : args));
    return answer === "" ? undefined : parse(answer);
  };
  return await program({ call });
}

function bounded(outcome, logs, limits) {
  let text;
  try {
    text = stringify({ ...outcome, logs });
  } catch (thrown) {
    const why = describe(thrown, limits).message;
    return stringify({ error: { name: "ResultNotJson", message: `the result is not JSON: ${why}` }, logs });
  }
  if (text.length > limits.outcomeChars) {
    const message =
      `the result is ${text.length} characters of JSON; at most ${limits.outcomeChars} are allowed. ` +
      "Return less: select fields, filter, or summarise in the program.";
    return stringify({ error: { name: "ResultTooLarge", message }, logs });
  }
  return text;
}

function describe(thrown, limits) {
  if (!(thrown instanceof Error)) {
    return { name: "Thrown", message: clip(show(thrown), limits.stackChars) };
  }
  return {
    name: clip(String(thrown.name), 128),
    message: clip(String(thrown.message), limits.stackChars),
    stack: clip(String(thrown.stack ?? ""), limits.stackChars),
  };
}

function recordConsole(limits) {
  const logs = [];
  let chars = 0;
  const record =
    (level) =>
    (...values) => {
      if (logs.length >= limits.logLines || chars >= limits.logChars) {
        return;
      }
      const text = clip(values.map(show).join(" "), limits.logChars - chars);
      chars += text.length;
      logs.push({ level, text });
    };
  for (const level of ["debug", "log", "info", "warn", "error"]) {
    console[level] = record(level);
  }
  return logs;
}

function show(value) {
  if (typeof value === "string") {
    return value;
  }
  if (value instanceof Error) {
    return `${value.name}: ${value.message}`;
  }
  try {
    return stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}

function clip(text, chars) {
  return text.length <= chars ? text : `${text.slice(0, chars)}…`;
}

function named(name, message) {
  const error = new Error(message);
  error.name = name;
  return error;
}
