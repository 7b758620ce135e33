// Builds the portal's Rust into build/ (JavaScript glue and wasm), unless nothing it is made from has changed.
// `--dev` builds faster and unoptimised; `--force` builds in any case; `--names` keeps function names for profiles.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { binaries, root } from "./paths.mjs";
import { execute, Failure, isMain, run } from "./process.mjs";
import { cargoTools } from "./setup/cargo-tools.mjs";
import { step } from "./setup/step.mjs";
import { setUp } from "./setup.mjs";
import { withoutNames } from "./wasm-names.mjs";

const OUTPUT = join(root, "build");
const STAMP = join(OUTPUT, ".portcullis-stamp");
/** Not part of the worker, or bundled by wrangler and not by worker-build. */
const NOT_COMPILED = [/^src\/bin\//, /^src\/edge\/entry\.js$/, /\/tests(\.rs$|\/)/];

/**
 * Builds the portal worker.
 * @param {{ dev?: boolean, force?: boolean, names?: boolean }} [options] `names` keeps the functions' names, which
 *   a profile needs and a worker does not: they are a tenth of what an isolate loads
 * @returns {Promise<boolean>} whether anything had to be built
 */
export async function build({ dev = false, force = false, names = false } = {}) {
  const { wasmBindgen, workerBuild } = cargoTools();
  const profile = dev ? "--dev" : "--release";
  const digest = digestOf([profile, String(names), workerBuild.version, wasmBindgen.version]);
  if (!force && isBuilt() && readFileSync(STAMP, "utf8") === digest) {
    return false;
  }
  const usually = dev ? "10-40 s" : "10-20 s, the first time 2-3 minutes";
  await step(`the portal worker: worker-build ${profile}`, usually, async () => {
    const result = await run(workerBuild.binary, [profile], {
      show: Boolean(process.stdout.isTTY),
      env: {
        // Given these, worker-build downloads nothing.
        WASM_BINDGEN_BIN: wasmBindgen.binary,
        WASM_OPT_BIN: join(binaries, "wasm-opt"),
        ESBUILD_BIN: join(binaries, "esbuild"),
        // Its own stack says nothing about the crate's errors.
        RUST_BACKTRACE: "0",
        // Without a terminal its progress bar is noise.
        NO_COLOR: process.stdout.isTTY ? "" : "1",
      },
    });
    if (result.code !== 0) {
      const output = process.stdout.isTTY ? "" : result.output;
      throw new Failure("Building the portal worker failed.", "Mend what the compiler says above.", output);
    }
  });
  mkdirSync(OUTPUT, { recursive: true });
  if (!dev && !names) {
    const wasm = join(OUTPUT, "index_bg.wasm");
    writeFileSync(wasm, withoutNames(readFileSync(wasm)));
  }
  // What was read before the build: a file changed while it ran is built again next time.
  writeFileSync(STAMP, digest);
  return true;
}

function isBuilt() {
  return ["index.js", "index_bg.wasm", ".portcullis-stamp"].every((file) => existsSync(join(OUTPUT, file)));
}

/** Contents and not times: switching branches and back builds nothing. */
function digestOf(settings) {
  const hash = createHash("sha256").update(settings.join("\n"));
  const sources = readdirSync(join(root, "src"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll("\\", "/"))
    .filter((path) => !NOT_COMPILED.some((pattern) => pattern.test(path)));
  for (const path of ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", ...sources.sort()]) {
    const file = join(root, path);
    if (existsSync(file)) {
      hash.update(`\n${path}\n`).update(readFileSync(file));
    }
  }
  return hash.digest("hex");
}

if (isMain(import.meta.url)) {
  await execute(async () => {
    const flags = process.argv.slice(2);
    await setUp();
    const has = (flag) => flags.includes(flag);
    const built = await build({ dev: has("--dev"), force: has("--force"), names: has("--names") });
    console.log(built ? "Built into build/." : "build/ is up to date.");
  });
}
