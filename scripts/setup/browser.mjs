// A Chromium for the browser tests: the machine's own, or the distribution's package where it may be installed.
import { existsSync } from "node:fs";
import { Failure, run } from "../process.mjs";
import { step } from "./step.mjs";

const INSTALL_MS = 15 * 60_000;
const PLACES = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/usr/bin/google-chrome-stable",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
];
const MEND =
  "Install Chromium or Chrome (Debian: sudo apt-get install -y chromium), or set CHROMIUM_PATH to its program.";

/**
 * CHROMIUM_PATH, or else wherever a system has one.
 * @returns {string | undefined}
 */
export function findBrowser() {
  const chosen = process.env.CHROMIUM_PATH;
  if (chosen && !existsSync(chosen)) {
    throw new Failure(`CHROMIUM_PATH=${chosen} does not exist.`, MEND);
  }
  return chosen || PLACES.find((path) => existsSync(path));
}

/** Installs one where there is none and the package manager may be used. */
export async function installBrowser() {
  if (findBrowser()) {
    return;
  }
  const isAllowed = process.getuid?.() === 0 && (await run("apt-get", ["--version"])).code === 0;
  if (!isAllowed) {
    throw new Failure("There is no Chromium for the browser tests.", MEND);
  }
  await step("Chromium for the browser tests: apt-get install", "1-2 minutes", async () => {
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    const options = { env, timeoutMs: INSTALL_MS };
    await run("apt-get", ["update"], options);
    const packages = ["install", "-y", "--no-install-recommends", "chromium"];
    const { code, output } = await run("apt-get", packages, options);
    if (code !== 0 || !findBrowser()) {
      throw new Failure("Installing Chromium failed.", MEND, output);
    }
  });
}
