import { MAX_EVENT_CHARS, MAX_RESULT_BYTES } from "./limits.mjs";
import { Refusal } from "./refusal.mjs";

const decoder = new TextDecoder();
const upstreamFault = (why) => new Refusal(502, -32603, `The upstream server ${why}`);

/** What a JSON-RPC response says about the call; `undefined` for a notification or another request's answer. */
function judge(message, id) {
  if (message.id !== id) {
    return undefined;
  }
  if (message.error !== undefined) {
    return { status: "error", reason: String(message.error.code) };
  }
  const { resultType = "complete", isError } = message.result;
  if (resultType === "input_required") {
    throw upstreamFault("asks for input, which this portal does not pass on");
  }
  return { status: isError === true ? "tool_error" : "ok" };
}

/**
 * A JSON answer. It is read whole, because an `input_required` must be known before a byte goes out;
 * the bytes that came are the bytes that go, so nothing is encoded again. Reading whole is also the cheapest
 * way to look inside that JavaScript has: at 64 KB, tee() cost 1.04 times as much and a loop over chunks 2.9 times.
 */
export async function judgeJson(response, id) {
  if (Number(response.headers.get("content-length")) > MAX_RESULT_BYTES) {
    throw upstreamFault("sent too much");
  }
  const bytes = await response.arrayBuffer();
  if (bytes.byteLength > MAX_RESULT_BYTES) {
    throw upstreamFault("sent too much");
  }
  let outcome;
  try {
    outcome = judge(JSON.parse(decoder.decode(bytes)), id);
  } catch (fault) {
    throw fault instanceof Refusal ? fault : upstreamFault("sent no JSON");
  }
  if (outcome === undefined) {
    throw upstreamFault("answered another request");
  }
  outcome.bytes = bytes.byteLength;
  return { body: bytes, outcome };
}

/** An event stream: each event goes on as soon as it is whole and judged. `done` gets the outcome at the end. */
export function judgeEvents(response, id, done) {
  let held = "";
  const outcome = { status: "cut", bytes: 0 };
  const through = new TransformStream({
    transform(chunk, controller) {
      held += chunk;
      if (held.length > MAX_EVENT_CHARS) {
        throw new Error("one event is too large");
      }
      let end = held.search(/\r?\n\r?\n/);
      while (end !== -1) {
        const [blank] = /^\r?\n\r?\n/.exec(held.slice(end, end + 4));
        const event = held.slice(0, end + blank.length);
        held = held.slice(event.length);
        const data = event.match(/^data: ?(.*)$/gm)?.map((line) => line.replace(/^data: ?/, ""));
        if (data !== undefined) {
          Object.assign(outcome, judge(JSON.parse(data.join("\n")), id));
        }
        outcome.bytes += event.length;
        controller.enqueue(event);
        end = held.search(/\r?\n\r?\n/);
      }
    },
    flush() {
      done(outcome);
    },
  });
  return response.body
    .pipeThrough(new TextDecoderStream())
    .pipeThrough(through)
    .pipeThrough(new TextEncoderStream());
}
