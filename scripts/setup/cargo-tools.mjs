// The two cargo tools that turn the crate into a worker, built once into a cache outside the repository.
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cache, root } from "../paths.mjs";
import { Failure, must } from "../process.mjs";
import { checkOpenSsl } from "./rust.mjs";
import { step } from "./step.mjs";

const WORKER_BUILD_VERSION = "0.8.7";

/** Installs worker-build and the wasm-bindgen that fits the crate's. */
export async function installCargoTools() {
  const { wasmBindgen, workerBuild } = cargoTools();
  if (!existsSync(wasmBindgen.binary)) {
    // Not --locked: its lock file names versions that not every registry mirror still carries.
    await install(wasmBindgen, [], "2-4 minutes, once per machine");
  }
  if (!existsSync(workerBuild.binary)) {
    await checkOpenSsl();
    await install(workerBuild, ["--locked"], "3-5 minutes, once per machine");
  }
}

/** Name, version and place of both tools. */
export function cargoTools() {
  return {
    wasmBindgen: tool("wasm-bindgen-cli", wasmBindgenVersion(), "wasm-bindgen"),
    workerBuild: tool("worker-build", WORKER_BUILD_VERSION, "worker-build"),
  };
}

function tool(name, version, binary) {
  const home = join(cache, `${name}-${version}`);
  const file = process.platform === "win32" ? `${binary}.exe` : binary;
  return { name, version, home, binary: join(home, "bin", file) };
}

/** The command line tool must have the very version of the library: what they exchange has no stable format. */
function wasmBindgenVersion() {
  const lock = join(root, "Cargo.lock");
  const locked =
    existsSync(lock) && /name = "wasm-bindgen"\nversion = "([^"]+)"/.exec(readFileSync(lock, "utf8"));
  const pinned = /^wasm-bindgen = "=([^"]+)"/m.exec(readFileSync(join(root, "Cargo.toml"), "utf8"));
  const version = (locked || pinned)?.[1];
  if (!version) {
    throw new Failure("Neither Cargo.lock nor Cargo.toml says which wasm-bindgen the crate uses.");
  }
  return version;
}

async function install({ name, version, home }, flags, usually) {
  const target = join(cache, "tmp", `${name}-${version}`);
  mkdirSync(target, { recursive: true });
  const args = ["install", "--debug", name, "--version", version, "--root", home, "--no-track", ...flags];
  try {
    await step(`${name} ${version}: cargo install into ${home}`, usually, () =>
      must(`Building ${name}`, "cargo", args, {
        // A wrapper configured for the crate's own builds must not reach the tool's.
        env: { CARGO_TARGET_DIR: target },
        cwd: cache,
        mend: "Check that cargo reaches its registry (`cargo search serde`), then run this again.",
      }),
    );
  } finally {
    rmSync(target, { recursive: true, force: true });
  }
}
