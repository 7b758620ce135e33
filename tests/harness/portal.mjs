// The real portal in workerd, migrated, configured and ready, without wrangler.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Log, LogLevel, Miniflare } from "miniflare";
import { eventually, within } from "./bounded.mjs";
import { applyConfig } from "./config.mjs";
import { portalWorkers, root } from "./worker.mjs";

const START_MS = 60_000;
const READY_MS = 20_000;
const LOG_LINES_KEPT = 5_000;

/**
 * Starts a portal on 127.0.0.1 and waits until it is ready.
 * @param {{
 *   config?: object,
 *   vars?: Record<string, unknown>,
 *   secrets?: Record<string, string>,
 *   services?: Record<string, Function | object>,
 *   outbound?: (request: Request) => Promise<Response>,
 *   workers?: object[],
 *   port?: number,
 *   state?: string,
 *   name?: string,
 * }} [options] `config`: the configuration document as JSON, none leaves the portal not set up; `services`: bindings
 *   such as `MCP_JIRA`, a function or a miniflare binding; `outbound`: answers every fetch of the portal;
 *   `workers`: more miniflare workers that services name; `state`: a folder that outlives the portal
 *   (name your own `SEAL_KEY` then: a random one opens nothing that another portal sealed)
 * @returns {Promise<{
 *   url: string, origin: string, pid: number | undefined, mf: Miniflare, logs: string[], setupToken: string,
 *   d1: (sql: string, ...params: unknown[]) => Promise<object[]>, stop: () => Promise<void>,
 * }>} `origin` is the portal's, `url` its MCP endpoint, `pid` workerd's
 */
export async function startPortal(options = {}) {
  const { config, vars = {}, secrets = {}, services = {}, port = 0, state, name = "portcullis" } = options;
  const logs = [];
  const setupToken = secrets.SETUP_TOKEN ?? randomBytes(24).toString("base64url");
  const before = new Set(workerdProcesses());
  const mf = new Miniflare({
    host: "127.0.0.1",
    port,
    // Facts about the connection are made up; they need not come from the network.
    cf: false,
    log: new Log(LogLevel.ERROR),
    handleStructuredLogs: ({ level, message }) => {
      logs.push(`${level}: ${message}`);
      if (logs.length > LOG_LINES_KEPT) {
        logs.shift();
      }
    },
    ...(state ? { resourcePersistencePath: state } : {}),
    workers: [
      ...portalWorkers({
        name,
        vars: { LOCAL_DEVELOPMENT: "1", ...vars },
        secrets: { SEAL_KEY: randomBytes(32).toString("base64url"), ...secrets, SETUP_TOKEN: setupToken },
        services,
        outbound: options.outbound,
      }),
      ...(options.workers ?? []),
    ],
  });
  const stop = () => within(mf.dispose(), READY_MS, "stopping workerd");
  try {
    const listening = await within(mf.ready, START_MS, "starting workerd");
    const origin = `http://localhost:${listening.port}`;
    const database = await mf.getD1Database("DB", name);
    await migrate(database);
    if (config) {
      await applyConfig(origin, config, setupToken);
      await eventually(() => isReady(origin), { ms: READY_MS, what: "GET /health = 200" });
    } else {
      // Not set up: every answer will do, as long as there is one.
      await eventually(() => fetch(`${origin}/health`), { ms: READY_MS, what: "GET /health" });
    }
    const d1 = async (sql, ...params) => {
      const statement = database.prepare(sql);
      const bound = params.length > 0 ? statement.bind(...params) : statement;
      return (await within(bound.all(), READY_MS, "the query")).results;
    };
    const pid = workerdProcesses().find((each) => !before.has(each));
    return { url: `${origin}/mcp`, origin, pid, mf, logs, setupToken, d1, stop };
  } catch (error) {
    await stop().catch(() => {});
    const said = logs.slice(-20).join("\n");
    throw new Error(`The portal did not start: ${error.message}\n${said}`, { cause: error });
  }
}

/** Applies the migrations that this database has not seen, under the table name that wrangler uses. */
async function migrate(database) {
  const folder = join(root, "migrations");
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith(".sql")) : [];
  const ledger =
    "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, " +
    "applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)";
  await database.prepare(ledger).run();
  const { results } = await database.prepare("SELECT name FROM d1_migrations").all();
  const applied = new Set(results.map((row) => row.name));
  for (const file of files.sort().filter((each) => !applied.has(each))) {
    // `prepare` and not `exec`, which ends a statement at every line.
    await database.prepare(readFileSync(join(folder, file), "utf8")).run();
    await database.prepare("INSERT INTO d1_migrations (name) VALUES (?)").bind(file).run();
  }
}

async function isReady(origin) {
  const response = await fetch(`${origin}/health`, { signal: AbortSignal.timeout(2_000) });
  await response.arrayBuffer();
  return response.status === 200;
}

/** The workerd processes that this process has started: miniflare does not say which one is its own. */
function workerdProcesses() {
  const listed = execFileSync("ps", ["-A", "-o", "pid=,ppid=,comm="], { encoding: "utf8" });
  return listed
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([, parent, command]) => Number(parent) === process.pid && command?.includes("workerd"))
    .map(([pid]) => Number(pid));
}
