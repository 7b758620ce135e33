/** Everything a run may use up, with the unit last. */
export const PROGRAM_CHARS = 256 * 1024;
export const OUTCOME_CHARS = 1024 * 1024;
export const LOG_LINES = 200;
export const LOG_CHARS = 32 * 1024;
export const STACK_CHARS = 4 * 1024;
export const DEADLINE_MS = 60_000;
/** The isolate gets to report its own deadline, with its logs, before it is given up on. */
export const DEADLINE_GRACE_MS = 500;
/** Enforced by Cloudflare's network only; a local workerd has no such limit. */
export const CPU_MS = 10_000;
export const SUBREQUESTS = 200;
