// The portal and the sandbox in one local workerd, by `wrangler dev`.
import { stripVTControlCharacters } from "node:util";
import { background, Failure } from "../process.mjs";
import { wrangler } from "./wrangler.mjs";

const ANSWER_MS = 90_000;
const ASK_EVERY_MS = 100;
const NOTICE_LINES_MAX = 8;
/** As wrangler.toml says; a local workerd does not do it by itself. */
const SCHEDULED_EVERY_MS = 10 * 60_000;

/**
 * Starts both workers and waits until the portal answers anything at all; it may still want its configuration.
 * @param {{ port: number, state: string, origin: string, secrets: { file: string }, keep: (child: object) => void }} options
 */
export async function startPortal({ port, state, origin, secrets, keep }) {
  const { command, args, env } = wrangler(
    state,
    "dev",
    ...["-c", "wrangler.toml", "-c", "codemode-sandbox/wrangler.toml"],
    ...["--ip", "127.0.0.1", "--port", String(port), "--inspector-port", "0"],
    ...["--persist-to", state, "--env-file", secrets.file],
    ...["--var", "LOCAL_DEVELOPMENT:1", "--show-interactive-dev-session=false", "--log-level", "warn"],
  );
  const child = background("The portal", command, args, {
    env,
    onLine: withoutNotice((line) => console.log(line)),
  });
  keep(child);
  let ended = false;
  child.exited.then(() => {
    ended = true;
  });
  const end = Date.now() + ANSWER_MS;
  while ((await healthOf(origin)) === undefined) {
    if (ended) {
      throw new Failure("The portal did not start.", "What wrangler said about it is above.");
    }
    if (Date.now() > end) {
      throw new Failure(`The portal did not answer within ${ANSWER_MS / 1000} s.`);
    }
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
  }
  setInterval(() => runScheduled(origin), SCHEDULED_EVERY_MS).unref();
}

async function runScheduled(origin) {
  try {
    await fetch(`${origin}/cdn-cgi/local/scheduled`, { signal: AbortSignal.timeout(60_000) });
  } catch (error) {
    console.log(`The scheduled work could not be started: ${error.message}`);
  }
}

/** Leaves out colours, which wrangler prints even to a file, and its notice that nobody runs scheduled work. */
function withoutNotice(print) {
  let skip = 0;
  return (coloured) => {
    const line = stripVTControlCharacters(coloured);
    if (line.includes("Scheduled Workers are not automatically triggered")) {
      skip = NOTICE_LINES_MAX;
    }
    if (skip === 0 && line.trim()) {
      print(line);
    }
    skip = line.includes("For more details") ? 0 : Math.max(0, skip - 1);
  };
}

/**
 * @param {string} origin
 * @returns {Promise<number | undefined>} the status of the portal's health, none when it does not answer
 */
export async function healthOf(origin) {
  try {
    const response = await fetch(`${origin}/health`, { signal: AbortSignal.timeout(5_000) });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return undefined;
  }
}
