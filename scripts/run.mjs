// `node scripts/run.mjs FILE [args]`: sets up, builds, and runs the file with the packages' own Node.
import { spawn } from "node:child_process";
import { build } from "./build.mjs";
import { environment, node, root } from "./paths.mjs";
import { execute, Failure } from "./process.mjs";
import { setUp } from "./setup.mjs";

await execute(async () => {
  const [file, ...args] = process.argv.slice(2);
  if (!file) {
    throw new Failure("No file was named.", "Usage: node scripts/run.mjs FILE [arguments]");
  }
  await setUp();
  await build();
  const child = spawn(node, [file, ...args], { cwd: root, env: environment(), stdio: "inherit" });
  // The child hears the terminal's Ctrl-C itself; a signal to this process alone is passed on.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  return await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => resolve(code ?? 1));
  });
});
