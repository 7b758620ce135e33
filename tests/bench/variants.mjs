// The workers under test. All run in one workerd and share one upstream.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { benchDocument, pairDocument } from "./document.mjs";
import { migrate } from "./tables.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const COMPATIBILITY_DATE = "2026-11-01";
const UPSTREAM = { MCP_ECHO: { type: "worker", worker: "echo" } };
const OLDER_UPSTREAM = { MCP_LEGACY: { type: "worker", worker: "legacy" } };

/** Steps of the rival in the order in which its price is built up; the first needs none of the switches. */
export const LADDER = [
  { name: "js-parse", adds: "edge checks, parse, header rules, new request", steps: "" },
  { name: "js-identity", adds: "token from the cache, epoch", steps: "identity" },
  { name: "js-rules", adds: "portal rules, catalog, tool rules", steps: "identity,rules" },
  { name: "js-outcome", adds: "result read and judged", steps: "identity,rules,outcome" },
  { name: "js-portal", adds: "audit event, batched", steps: "identity,rules,outcome,audit" },
];

/**
 * Variants by name. Each has `workers` (miniflare options, the addressed one first), `tool` (what the upstream's
 * `echo` is called there), `settleMs` (how long after the last answer its own deferred work may begin) and
 * `prepare(world)`, which brings tables and configuration.
 */
export function makeVariant(name, issuer) {
  if (name === "echo" || name === "legacy") {
    const worker = plainWorker(name, `${name}.mjs`, {}, ["texts.mjs"]);
    return { name, tool: "echo", settleMs: 0, workers: [worker] };
  }
  if (name === "js-pass") {
    return { name, tool: "echo", settleMs: 0, workers: [plainWorker(name, "js-pass.mjs", UPSTREAM)] };
  }
  const rung = LADDER.find((each) => each.name === name);
  if (rung !== undefined) {
    return rivalVariant(rung, issuer);
  }
  throw new Error(`there is no variant called ${name}`);
}

/** The portal itself, from the same harness that the tests use. */
export async function makePortal(issuer) {
  const { makePortalVariant } = await import("./portal.mjs");
  return makePortalVariant(benchDocument(issuer), UPSTREAM);
}

/** The portal in front of a server of each era. */
export async function makePairPortal(issuer) {
  const { makePortalVariant } = await import("./portal.mjs");
  return makePortalVariant(pairDocument(issuer), { ...UPSTREAM, ...OLDER_UPSTREAM });
}

function rivalVariant({ name, steps }, issuer) {
  return {
    name,
    tool: "echo_echo",
    settleMs: 900,
    workers: [
      {
        config: {
          name,
          compatibilityDate: COMPATIBILITY_DATE,
          compatibilityFlags: ["enable_request_signal"],
          manifest: manifestOf(join(here, "workers", "js-portal"), "index.mjs"),
          env: {
            ...UPSTREAM,
            DB: { type: "d1", id: `${name}-db` },
            AUDIT: { type: "durable-object", worker: name, exportName: "AuditObject" },
            STEPS: { type: "text", value: steps },
          },
          exports: { AuditObject: { type: "durable-object", storage: "sqlite" } },
        },
      },
    ],
    async prepare(world) {
      const db = await world.mf.getD1Database("DB", name);
      await migrate(db);
      const document = JSON.stringify(benchDocument(issuer));
      await db.batch([
        db.prepare("INSERT INTO config_revisions VALUES (1, ?1, 'bench', ?2)").bind(document, Date.now()),
        db.prepare("UPDATE epoch SET revision = 1, generation = 1 WHERE id = 1"),
      ]);
    },
  };
}

function plainWorker(name, file, env, imported = []) {
  return {
    config: {
      name,
      compatibilityDate: COMPATIBILITY_DATE,
      manifest: manifestOf(join(here, "workers"), file, [file, ...imported]),
      env,
    },
  };
}

function manifestOf(folder, mainModule, files = readdirSync(folder)) {
  const modules = {};
  for (const file of files) {
    modules[file] = { type: "esm", contents: readFileSync(join(folder, file), "utf8") };
  }
  return { mainModule, modules };
}
