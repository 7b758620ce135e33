// `npm run check`: everything that can be said about the code without running it. All findings at once.

import { join } from "node:path";
import { binaries, root } from "./paths.mjs";
import { execute, run } from "./process.mjs";
import { WASM_TARGET } from "./setup/wasm-target.mjs";
import { setUp } from "./setup.mjs";

const CHECKS = [
  ["Rust format", "cargo", ["fmt", "--check"]],
  ["clippy, native", "cargo", ["clippy", "--all-targets", "--", "-D", "warnings"]],
  // A second time for the platform: `mod edge` exists only there.
  ["clippy, wasm", "cargo", ["clippy", "--lib", "--target", WASM_TARGET, "--", "-D", "warnings"]],
  ["TypeScript types", join(binaries, "tsc"), ["--noEmit", "-p", "codemode-sandbox/tsconfig.json"]],
  ["JavaScript format and lint", join(binaries, "biome"), ["check", "--error-on-warnings", "."]],
];

await execute(async () => {
  await setUp();
  const failed = [];
  for (const [name, command, args] of CHECKS) {
    console.log(`» ${name}`);
    const { code } = await run(command, args, { cwd: root, show: true });
    if (code !== 0) {
      failed.push(name);
    }
  }
  console.log(failed.length === 0 ? "\nAll checks passed." : `\nFailed: ${failed.join("; ")}`);
  return failed.length === 0 ? 0 : 1;
});
