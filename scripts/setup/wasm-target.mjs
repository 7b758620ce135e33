// The standard library for wasm32-unknown-unknown: from rustup's server, or built from the distribution's source.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Failure, must, run } from "../process.mjs";
import { buildFromDistribution } from "./distribution.mjs";
import { step } from "./step.mjs";

export const WASM_TARGET = "wasm32-unknown-unknown";

/** Installs the target unless its standard library is there. */
export async function installWasmTarget() {
  const sysroot = await must("Asking rustc for its folder", "rustc", ["--print", "sysroot"]);
  if (hasWasmTarget(sysroot)) {
    return;
  }
  const added = await step(`Rust's ${WASM_TARGET} target: rustup target add`, "10 s", () =>
    run("rustup", ["target", "add", WASM_TARGET], { timeoutMs: 5 * 60_000 }),
  );
  if (added.code === 0 && hasWasmTarget(sysroot)) {
    return;
  }
  console.log("  rustup could not add it; building it from the distribution's Rust source instead");
  try {
    await buildFromDistribution({ sysroot, target: WASM_TARGET });
  } catch (error) {
    if (!(error instanceof Failure)) {
      throw error;
    }
    const mend =
      `Either way helps: run \`rustup target add ${WASM_TARGET}\` where rustup's server can be reached, ` +
      `or copy lib/rustlib/${WASM_TARGET} of the same Rust version into ${join(sysroot, "lib", "rustlib")}.`;
    throw new Failure(
      `Rust's ${WASM_TARGET} target could not be installed.\n${error.message}`,
      mend,
      added.output,
    );
  }
  if (!hasWasmTarget(sysroot)) {
    throw new Failure(`Rust's ${WASM_TARGET} target was built, but ${sysroot} does not have it.`);
  }
}

/**
 * @param {string} sysroot
 * @returns {boolean} whether this toolchain can compile for wasm
 */
export function hasWasmTarget(sysroot) {
  const libraries = join(sysroot, "lib", "rustlib", WASM_TARGET, "lib");
  return existsSync(libraries) && readdirSync(libraries).some((file) => /^libstd-.*\.rlib$/.test(file));
}
