// Child processes: run to the end, or kept in the background and ended with everything they started.
import { spawn } from "node:child_process";
import { realpathSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { environment, root } from "./paths.mjs";

const OUTPUT_KEPT_CHARS = 256 * 1024;
const OUTPUT_SHOWN_LINES = 40;
const STOP_GRACE_MS = 8_000;

/** Commands that run right now; they end with this process, however it ends. */
const foreground = new Set();
process.on("exit", () => {
  for (const child of foreground) {
    child.kill("SIGTERM");
  }
});

/** A failure whose message is all a person needs: no stack is printed for it. */
export class Failure extends Error {
  /** @param {string} what what failed  @param {string} [mend] what to do about it  @param {string} [output] */
  constructor(what, mend = "", output = "") {
    const tail = output.trimEnd().split("\n").slice(-OUTPUT_SHOWN_LINES).join("\n");
    super([what, tail && `\n${tail}\n`, mend].filter(Boolean).join("\n"));
    this.name = "Failure";
  }
}

/**
 * Runs a command and collects what it prints.
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd?: string, env?: object, show?: boolean, timeoutMs?: number }} [options] `show` passes output through
 * @returns {Promise<{ code: number | null, output: string, stdout: string, missing: boolean }>}
 */
export function run(command, args, options = {}) {
  const { cwd = root, env = {}, show = false, timeoutMs = 30 * 60_000 } = options;
  return new Promise((resolve) => {
    const kept = { all: "", out: "" };
    const child = spawn(command, args, { cwd, env: environment(env), stdio: ["ignore", "pipe", "pipe"] });
    foreground.add(child);
    const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
    const keep = (stream, to) => (chunk) => {
      const text = chunk.toString();
      kept.all = (kept.all + text).slice(-OUTPUT_KEPT_CHARS);
      if (to) {
        kept.out += text;
      }
      if (show) {
        stream.write(chunk);
      }
    };
    child.stdout.on("data", keep(process.stdout, true));
    child.stderr.on("data", keep(process.stderr, false));
    child.on("error", (error) => {
      clearTimeout(timer);
      foreground.delete(child);
      const missing = error.code === "ENOENT";
      resolve({ code: null, output: String(error.message), stdout: "", missing });
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      foreground.delete(child);
      resolve({ code, output: kept.all, stdout: kept.out, missing: false });
    });
  });
}

/**
 * Runs a command that must succeed.
 * @param {string} what what fails when it fails
 * @param {string} command
 * @param {string[]} args
 * @param {Parameters<typeof run>[2] & { mend?: string }} [options]
 * @returns {Promise<string>} its standard output
 */
export async function must(what, command, args, options = {}) {
  const { code, output, stdout } = await run(command, args, options);
  if (code !== 0) {
    throw new Failure(
      `${what} failed: \`${command} ${args.join(" ")}\``,
      options.mend,
      options.show ? "" : output,
    );
  }
  return stdout.trim();
}

/**
 * Starts a process in a group of its own, so that ending it ends its children as well.
 * @param {string} name for messages
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd?: string, env?: object, onLine?: (line: string) => void }} [options]
 * @returns {{ name: string, exited: Promise<number | null>, stop: () => Promise<void> }}
 */
export function background(name, command, args, options = {}) {
  const { cwd = root, env = {}, onLine = () => {} } = options;
  const child = spawn(command, args, {
    cwd,
    env: environment(env),
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  // What it says about being ended is of no use.
  let stopping = false;
  const hear = (line) => stopping || onLine(line);
  eachLine(child.stdout, hear);
  eachLine(child.stderr, hear);
  const exited = new Promise((resolve) => {
    child.on("error", () => resolve(null));
    child.on("exit", (code) => resolve(code));
  });
  const stop = async () => {
    stopping = true;
    signalGroup(child.pid, "SIGTERM");
    let timer;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, STOP_GRACE_MS);
    });
    await Promise.race([exited, late]);
    clearTimeout(timer);
    signalGroup(child.pid, "SIGKILL");
  };
  return { name, exited, stop };
}

function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
  } catch {
    // Already gone, which is what was wanted.
  }
}

function eachLine(stream, onLine) {
  let rest = "";
  stream.on("data", (chunk) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      onLine(line);
    }
  });
  stream.on("end", () => rest && onLine(rest));
}

/**
 * Runs a script's main function and ends the process with its verdict.
 * @param {() => Promise<number | void>} main
 */
export async function execute(main) {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    const expected = error instanceof Failure;
    console.error(`\n${expected ? error.message : (error?.stack ?? error)}\n`);
    process.exitCode = 1;
  }
}

/**
 * Whether this module is the one Node was started with.
 * @param {string} url the module's `import.meta.url`
 */
export function isMain(url) {
  return Boolean(process.argv[1]) && url === pathToFileURL(realpathSync(process.argv[1])).href;
}
