// One workerd with everything in it, its state on tmpfs so that code is measured and not a disk.

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { Log, LogLevel, Miniflare } from "miniflare";
import { within } from "../harness/bounded.mjs";
import { cpuOf, workerdChildren } from "./cpu.mjs";

const READY_WAIT_MS = 60_000;
const IDLE_WINDOW_MS = 100;
const IDLE_US = 1500;
const SETTLE_LIMIT_MS = 15_000;

/** A new folder for state, on tmpfs where there is one; it goes with this process at the latest. */
export function makeStateFolder() {
  const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "portcullis-bench-"));
  process.once("exit", () => removeStateFolder(folder));
  return folder;
}

/** Removes a state folder and everything in it. */
export function removeStateFolder(folder) {
  rmSync(folder, { recursive: true, force: true });
}

/** Starts the variants in one process. Every addressed worker gets a socket of its own, with no router before it. */
export async function startWorld({ variants, state, verbose = false }) {
  const before = new Set(workerdChildren());
  const startedMs = performance.now();
  const workers = variants.flatMap((variant) =>
    variant.workers.map((worker, index) =>
      index > 0
        ? worker
        : { ...worker, dev: { ...worker.dev, unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }] } },
    ),
  );
  const mf = new Miniflare({
    host: "127.0.0.1",
    port: 0,
    cf: false,
    log: new Log(verbose ? LogLevel.DEBUG : LogLevel.ERROR),
    telemetry: { enabled: false },
    enableDevRegistry: false,
    resourcePersistencePath: state,
    workers,
  });
  try {
    await within(mf.ready, READY_WAIT_MS, "the start of workerd");
  } catch (fault) {
    await mf.dispose();
    throw fault;
  }
  const readyMs = performance.now() - startedMs;
  const pid = workerdChildren().find((each) => !before.has(each));
  if (pid === undefined) {
    throw new Error("the workerd process was not found among this process's children");
  }
  const ports = {};
  for (const { name, workers } of variants) {
    ports[name] = Number((await mf.unsafeGetDirectURL(workers[0].config.name)).port);
  }
  return { mf, pid, ports, readyMs, audited: {}, cpuUs: () => cpuOf(pid), stop: () => mf.dispose() };
}

/** Waits until the process has gone quiet after a variant's own deferred work (batches, alarms) had its time. */
export async function settle(world, settleMs) {
  await sleep(settleMs);
  const endMs = performance.now() + SETTLE_LIMIT_MS;
  for (let quiet = 0; quiet < 2; ) {
    if (performance.now() > endMs) {
      throw new Error(`workerd is still busy ${SETTLE_LIMIT_MS} ms after the last answer`);
    }
    const usedUs = world.cpuUs();
    await sleep(IDLE_WINDOW_MS);
    quiet = world.cpuUs() - usedUs < IDLE_US ? quiet + 1 : 0;
  }
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
