// `npm start`: everything from a fresh clone to a portal on this machine, with the demo company behind it.
// Environment: PORT, PORTCULLIS_CONFIG (a TOML file), PORTCULLIS_STATE (a folder), PORTCULLIS_DEMO=0 (no demo).
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { readDemoConfig } from "../demo/config.mjs";
import { build } from "./build.mjs";
import { root } from "./paths.mjs";
import { execute, Failure } from "./process.mjs";
import { setUp } from "./setup.mjs";
import { applyConfiguration } from "./start/configuration.mjs";
import { migrateDatabase } from "./start/database.mjs";
import { startDemo } from "./start/demo.mjs";
import { nextSteps } from "./start/next-steps.mjs";
import { requireFreePort } from "./start/port.mjs";
import { startPortal } from "./start/portal.mjs";
import { localSecrets } from "./start/secrets.mjs";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];
const PARENT_EVERY_MS = 250;

/** Background processes, in the order they were started. */
const running = [];

const interrupted = new Promise((resolveSignal) => {
  for (const signal of SIGNALS) {
    process.on(signal, () => resolveSignal(signal));
  }
  // npm passes a signal on to its shell only, which ends without us.
  const parent = process.ppid;
  if (process.env.npm_lifecycle_event) {
    setInterval(() => process.ppid !== parent && resolveSignal("npm ended"), PARENT_EVERY_MS).unref();
  }
});

await execute(async () => {
  try {
    const started = start(readSettings());
    // After an interrupt, what was still starting fails, and nobody waits for it any more.
    started.catch(() => {});
    await Promise.race([interrupted, started.then(() => Promise.race(running.map(unexpectedEnd)))]);
  } finally {
    for (const child of [...running].reverse()) {
      await child.stop();
    }
  }
});
// An interrupted step may still run; it ends with this process.
process.exit();

function readSettings() {
  const port = Number(process.env.PORT || 8787);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new Failure(`PORT=${process.env.PORT} is not a port.`, "Use a number from 1 to 65535.");
  }
  const config = resolve(process.env.PORTCULLIS_CONFIG || join(root, "demo", "config.toml"));
  if (!existsSync(config)) {
    throw new Failure(`There is no configuration file ${config}.`, "Set PORTCULLIS_CONFIG to a TOML file.");
  }
  const state = resolve(root, process.env.PORTCULLIS_STATE || ".portcullis");
  mkdirSync(state, { recursive: true });
  const moved = process.env.DEMO_PORT_BASE && !process.env.PORTCULLIS_CONFIG;
  return {
    port,
    config: moved ? movedConfig(state) : config,
    state,
    demo: process.env.PORTCULLIS_DEMO !== "0",
  };
}

async function start({ port, config, state, demo }) {
  await requireFreePort(port);
  await setUp();
  await build();
  const keep = (child) => running.push(child);
  const ready = demo ? await startDemo({ state, keep }) : undefined;
  const secrets = localSecrets(state);
  await migrateDatabase(state);
  const origin = `http://localhost:${port}`;
  await startPortal({ port, state, origin, secrets, keep });
  await applyConfiguration({ origin, config, state, token: secrets.values.SETUP_TOKEN });
  console.log(nextSteps({ origin, demo: ready, secretsFile: secrets.file }));
}

async function unexpectedEnd(child) {
  const code = await child.exited;
  throw new Failure(`${child.name} ended by itself (exit code ${code}).`, "What it said last is above.");
}

/** The demo's configuration for demo servers on other ports than it names. */
function movedConfig(state) {
  const file = join(state, "demo-config.toml");
  writeFileSync(file, readDemoConfig(process.env.DEMO_PORT_BASE));
  return file;
}
