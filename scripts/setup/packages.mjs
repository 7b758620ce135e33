// The npm packages: exactly what package-lock.json says.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { node, root } from "../paths.mjs";
import { Failure, must, run } from "../process.mjs";
import { step } from "./step.mjs";

const NODE_MAJOR_MIN = 20;

/** Installs the packages when the lock file has changed since the last time. */
export async function installPackages() {
  if (Number(process.versions.node.split(".")[0]) < NODE_MAJOR_MIN) {
    throw new Failure(
      `Node ${process.versions.node} is too old.`,
      `Install Node ${NODE_MAJOR_MIN} or newer: https://nodejs.org`,
    );
  }
  const lock = readFileSync(join(root, "package-lock.json"));
  const digest = createHash("sha256").update(lock).digest("hex");
  const stamp = join(root, "node_modules", ".portcullis-lock");
  const read = (file) => (existsSync(file) ? readFileSync(file, "utf8") : "");
  if (read(stamp) === digest && existsSync(node)) {
    return;
  }
  if (!matches(JSON.parse(lock), read(join(root, "node_modules", ".package-lock.json")))) {
    await step("npm packages: npm ci", "30-60 s", install);
  }
  const { code, stdout, output } = await run(node, ["--version"]);
  if (code !== 0 || Number(stdout.slice(1).split(".")[0]) < 22) {
    const mend =
      "Delete node_modules and run this again; install scripts must be allowed for the package `node`.";
    throw new Failure("The npm package `node` did not install a Node that runs.", mend, output);
  }
  writeFileSync(stamp, digest);
}

async function install() {
  const quiet = ["--no-audit", "--no-fund"];
  const { code, output } = await run("npm", ["ci", ...quiet]);
  if (code === 0) {
    return;
  }
  const mend =
    "Check the network and npm's registry setting (`npm config get registry`), then run this again.";
  if (!output.includes("EUSAGE")) {
    throw new Failure("Installing the npm packages failed: `npm ci`", mend, output);
  }
  // A lock file written against a mirror lacks the packages for other platforms that the mirror lacks, which `npm ci`
  // refuses. This installs the same locked versions, and leaves the file alone.
  await must("Installing the npm packages", "npm", ["install", "--no-save", ...quiet], { mend });
}

/** Whether npm's own record of what is installed already says what the lock file says. */
function matches(lock, installedText) {
  if (!installedText) {
    return false;
  }
  const installed = JSON.parse(installedText).packages ?? {};
  return Object.entries(lock.packages).every(([path, wanted]) => {
    const found = installed[path];
    // Packages for other platforms are optional and absent.
    return path === "" || (found ? found.version === wanted.version : Boolean(wanted.optional));
  });
}
