// The demo company: an identity provider and upstream servers, in a process of their own.
import { join } from "node:path";
import { node, root } from "../paths.mjs";
import { background, Failure } from "../process.mjs";

const READY_MS = 30_000;

/**
 * Starts the demo and waits for the line in which it says that it is ready.
 * @param {{ state: string, keep: (child: object) => void }} options
 * @returns {Promise<Record<string, unknown>>} what that line says: addresses of what it runs
 */
export async function startDemo({ state, keep }) {
  let tell;
  const ready = new Promise((resolve) => {
    tell = resolve;
  });
  const onLine = (line) => {
    const message = parse(line);
    if (message?.ready === true) {
      tell(message);
    } else if (!message) {
      console.log(`[demo] ${line}`);
    }
  };
  const child = background("The demo", node, [join(root, "demo", "run.mjs"), "--state", state], { onLine });
  keep(child);
  const ended = child.exited.then((code) => {
    const mend = "What it said is above. PORTCULLIS_DEMO=0 starts without it.";
    throw new Failure(`The demo did not start (exit code ${code}).`, mend);
  });
  // Once ready, its end is somebody else's concern.
  ended.catch(() => {});
  let timer;
  const late = new Promise((_, reject) => {
    const error = new Failure(`The demo was not ready after ${READY_MS / 1000} s.`, "What it said is above.");
    timer = setTimeout(() => reject(error), READY_MS);
  });
  try {
    return await Promise.race([ready, ended, late]);
  } finally {
    clearTimeout(timer);
  }
}

function parse(line) {
  try {
    return line.startsWith("{") ? JSON.parse(line) : undefined;
  } catch {
    return undefined;
  }
}
