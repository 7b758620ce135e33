import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

// A worker of workers-rs 0.8.7 with serde_json and one service fetch, opt-level "s", LTO: measured once.
const BARE_GZ_BYTES = 78_864;

/** Size of everything wasm in the build folder, gzipped as the platform counts it. */
export function sizePhase(folder) {
  const files = existsSync(folder) ? readdirSync(folder).filter((each) => each.endsWith(".wasm")) : [];
  if (files.length === 0) {
    return { wasm_gz_vs_bare: { note: "there is no build; run `npm run build`" } };
  }
  let raw = 0;
  let gz = 0;
  for (const file of files) {
    const bytes = readFileSync(join(folder, file));
    raw += bytes.length;
    gz += gzipSync(bytes, { level: 9 }).length;
  }
  const kb = (bytes) => `${(bytes / 1000).toFixed(0)} KB`;
  return { wasm_gz_vs_bare: { value: gz / BARE_GZ_BYTES, note: `${kb(raw)} raw, ${kb(gz)} gzipped` } };
}
