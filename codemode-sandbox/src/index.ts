import { WorkerEntrypoint } from "cloudflare:workers";
import { Capability, type LentCall } from "./capability";
import harness from "./harness.js" with { type: "text" };
import * as limits from "./limits";

interface Env {
  LOADER: WorkerLoader;
}

interface Program extends Rpc.WorkerEntrypointBranded {
  run(capability: Capability, bounds: Bounds): Promise<string>;
}

type Bounds = Record<"deadlineMs" | "outcomeChars" | "logLines" | "logChars" | "stackChars", number>;

/** Reached by the portal's service binding only. */
export class Sandbox extends WorkerEntrypoint<Env> {
  /**
   * Runs one program, an ES module whose default export is a function of `{ call }` (or simply its result), in an
   * isolate of its own. Always answers with one JSON text: `{ result | error: { name, message, stack? }, logs }`.
   * It was written inside the isolate: treat it as the program's own words.
   */
  async run(program: string, call: LentCall, deadlineMs: number = limits.DEADLINE_MS): Promise<string> {
    if (program.length > limits.PROGRAM_CHARS) {
      return failure("ProgramTooLarge", `a program may have at most ${limits.PROGRAM_CHARS} characters`);
    }
    const wait = Math.min(Math.max(1, deadlineMs), limits.DEADLINE_MS);
    const capability = new Capability(call);
    const isolate = this.env.LOADER.load(workerCode(program));
    const entrypoint = isolate.getEntrypoint<Program>();
    const deadline = startDeadline(wait + limits.DEADLINE_GRACE_MS);
    try {
      const outcome = await Promise.race([entrypoint.run(capability, bounds(wait)), deadline.outcome]);
      return checked(outcome);
    } catch (thrown) {
      const message = thrown instanceof Error ? thrown.message : String(thrown);
      return failure(
        message.startsWith("Failed to start Worker") ? "ProgramInvalid" : "IsolateFailed",
        message,
      );
    } finally {
      deadline.clear();
      capability.close();
      dispose(entrypoint);
      dispose(isolate);
    }
  }
}

export default {
  fetch(): Response {
    return new Response("Not found\n", { status: 404 });
  },
} satisfies ExportedHandler<Env>;

/** `load` and never `get`: an isolate found again by name would show one caller's module state to the next. */
function workerCode(program: string): WorkerLoaderWorkerCode {
  return {
    compatibilityDate: "2026-11-01",
    mainModule: "harness.js",
    modules: { "harness.js": harness, "program.js": { js: program } },
    globalOutbound: null,
    limits: { cpuMs: limits.CPU_MS, subRequests: limits.SUBREQUESTS },
    env: {},
  };
}

function bounds(deadlineMs: number): Bounds {
  return {
    deadlineMs,
    outcomeChars: limits.OUTCOME_CHARS,
    logLines: limits.LOG_LINES,
    logChars: limits.LOG_CHARS,
    stackChars: limits.STACK_CHARS,
  };
}

function startDeadline(ms: number): { outcome: Promise<string>; clear: () => void } {
  const { promise, resolve } = Promise.withResolvers<string>();
  const timer = setTimeout(() => {
    resolve(
      failure("DeadlineExceeded", "the program did not finish in time and could not be asked for its logs"),
    );
  }, ms);
  return { outcome: promise, clear: () => clearTimeout(timer) };
}

/** The harness bounds what it writes, but the program can replace the harness's answer. */
function checked(outcome: unknown): string {
  if (typeof outcome !== "string" || outcome.length > limits.OUTCOME_CHARS + 2 * limits.LOG_CHARS) {
    return failure("OutcomeInvalid", "the isolate did not answer with one JSON text of an allowed size");
  }
  return outcome;
}

function failure(name: string, message: string): string {
  return JSON.stringify({ error: { name, message }, logs: [] });
}

/** Some stubs are not disposable in every runtime version; what is left over ends with the request. */
function dispose(stub: unknown): void {
  (stub as Partial<Disposable>)[Symbol.dispose]?.();
}
