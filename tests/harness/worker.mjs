// The workers as plain miniflare options: the same modules, bindings and flags that wrangler.toml names, without wrangler.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

/** The root of the repository. */
export const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

const COMPATIBILITY_DATE = "2026-11-01";
const COMPATIBILITY_FLAGS = ["global_fetch_strictly_public", "enable_request_signal"];
const SANDBOX_NAME = "portcullis-codemode-sandbox";
/** Binding name and class of every Durable Object of the portal, as in wrangler.toml. */
const DURABLE_OBJECTS = { AUDIT: "AuditObject", SESSIONS: "SessionObject", GRANTS: "GrantObject" };

/**
 * The built portal and the sandbox worker, portal first.
 * @param {{
 *   name?: string,
 *   vars?: Record<string, unknown>,
 *   secrets?: Record<string, string>,
 *   services?: Record<string, ((request: Request) => Promise<Response>) | object>,
 *   outbound?: (request: Request) => Promise<Response>,
 * }} [options] `services`: a function that answers, or a miniflare binding such as `{ type: "worker", worker }`;
 *   `outbound`: answers every fetch of the portal instead of the network
 * @returns {object[]} miniflare worker options
 */
export function portalWorkers(options = {}) {
  const { name = "portcullis", vars = {}, secrets = {}, services = {}, outbound } = options;
  const env = {
    DB: { type: "d1", id: `${name}-db` },
    SANDBOX: { type: "worker", worker: SANDBOX_NAME, exportName: "Sandbox" },
  };
  const exports = {};
  for (const [binding, exportName] of Object.entries(DURABLE_OBJECTS)) {
    env[binding] = { type: "durable-object", worker: name, exportName };
    exports[exportName] = { type: "durable-object", storage: "sqlite" };
  }
  for (const [variable, value] of Object.entries({ ...vars, ...secrets })) {
    env[variable] = typeof value === "string" ? { type: "text", value } : { type: "json", value };
  }
  for (const [binding, service] of Object.entries(services)) {
    env[binding] = typeof service === "function" ? { type: "fetcher", handler: service } : service;
  }
  const portal = {
    config: {
      name,
      compatibilityDate: COMPATIBILITY_DATE,
      compatibilityFlags: COMPATIBILITY_FLAGS,
      manifest: portalManifest(),
      env,
      exports,
      triggers: [{ type: "scheduled", schedule: "*/10 * * * *" }],
    },
  };
  if (outbound) {
    portal.dev = { outboundService: { type: "fetcher", handler: outbound } };
  }
  return [portal, sandboxWorker()];
}

/** The worker that runs model-written programs, bundled from its TypeScript. */
export function sandboxWorker() {
  const bundled = buildSync({
    entryPoints: [join(root, "codemode-sandbox/src/index.ts")],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2024",
    external: ["cloudflare:*"],
  });
  return {
    config: {
      name: SANDBOX_NAME,
      compatibilityDate: COMPATIBILITY_DATE,
      manifest: {
        mainModule: "index.js",
        modules: { "index.js": { type: "esm", contents: bundled.outputFiles[0].text } },
      },
      env: { LOADER: { type: "worker-loader" } },
    },
  };
}

/** Modules under their paths in the repository, so that relative imports mean what they mean on disk. */
function portalManifest() {
  const built = join(root, "build");
  if (!existsSync(join(built, "index.js"))) {
    throw new Error("The portal is not built: there is no build/index.js. Run `npm run build`.");
  }
  const modules = {};
  for (const file of readdirSync(join(root, "src/edge")).filter((each) => each.endsWith(".js"))) {
    modules[`src/edge/${file}`] = {
      type: "esm",
      contents: readFileSync(join(root, "src/edge", file), "utf8"),
    };
  }
  modules["build/index.js"] = { type: "esm", contents: readFileSync(join(built, "index.js"), "utf8") };
  for (const file of readdirSync(built).filter((each) => each.endsWith(".wasm"))) {
    // A copy of its own: a small file's Buffer is a view on a pool that miniflare's schema does not accept.
    modules[`build/${file}`] = { type: "wasm", contents: Uint8Array.from(readFileSync(join(built, file))) };
  }
  return { mainModule: "src/edge/entry.js", modules };
}
