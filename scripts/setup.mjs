// Makes a fresh clone ready to build: installs what is missing, and only that. Safe to run at any time.
import { execute, isMain } from "./process.mjs";
import { installCargoTools } from "./setup/cargo-tools.mjs";
import { installPackages } from "./setup/packages.mjs";
import { checkRust } from "./setup/rust.mjs";
import { installWasmTarget } from "./setup/wasm-target.mjs";

/**
 * Checks every tool and installs the missing ones.
 * @returns {Promise<void>}
 */
export async function setUp() {
  await installPackages();
  await checkRust();
  await installWasmTarget();
  await installCargoTools();
}

if (isMain(import.meta.url)) {
  await execute(async () => {
    await setUp();
    console.log("Everything is installed.");
  });
}
