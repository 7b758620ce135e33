// Where things are. Imported before any package is installed: Node's own modules only.
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The root of the repository. */
export const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Commands of the installed npm packages, the current Node among them. */
export const binaries = join(root, "node_modules", ".bin");

/** The Node that comes with the packages; the one on the PATH may be too old for the tools. */
export const node = join(binaries, process.platform === "win32" ? "node.cmd" : "node");

/** Built tools are shared by all checkouts of this machine and outlive `cargo clean`. */
export const cache =
  process.env.PORTCULLIS_CACHE || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "portcullis");

/** Environment for a child process: installed commands first on the PATH. */
export function environment(extra = {}) {
  const separator = process.platform === "win32" ? ";" : ":";
  return { ...process.env, PATH: `${binaries}${separator}${process.env.PATH ?? ""}`, ...extra };
}
