// `npm run portal -- <verb>`: the command line, compiled for this machine.
import { spawn } from "node:child_process";
import { environment, root } from "./paths.mjs";
import { execute } from "./process.mjs";
import { checkRust } from "./setup/rust.mjs";

await execute(async () => {
  await checkRust();
  const args = ["run", "--quiet", "--bin", "portal", "--", ...process.argv.slice(2)];
  const child = spawn("cargo", args, { cwd: root, env: environment(), stdio: "inherit" });
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  return await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => resolve(code ?? 1));
  });
});
