// `npm test`: native tests, then everything that runs in workerd or a browser. `npm test -- FILE...` runs only those
// JavaScript files. The last line says how many tests passed and failed.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "./build.mjs";
import { node, root } from "./paths.mjs";
import { execute, run } from "./process.mjs";
import { installBrowser } from "./setup/browser.mjs";
import { setUp } from "./setup.mjs";

const TEST_FOLDERS = ["tests", "demo", "codemode-sandbox"];
const TEST_TIMEOUT_MS = 180_000;
const ALL_TIMEOUT_MS = 60 * 60_000;

await execute(async () => {
  const files = process.argv.slice(2);
  await setUp();
  await installBrowser();
  const totals = [];
  if (files.length === 0) {
    totals.push(await testNatively());
  }
  await build();
  totals.push(await testInWorkerd(files.length === 0 ? testFiles() : files));
  const passed = totals.reduce((sum, each) => sum + each.passed, 0);
  const failed = totals.reduce((sum, each) => sum + each.failed, 0);
  console.log(`\n${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
});

async function testNatively() {
  console.log("» native tests: cargo test (the first time 1-2 minutes)");
  const { code, output } = await run("cargo", ["test", "--no-fail-fast"], {
    show: true,
    timeoutMs: ALL_TIMEOUT_MS,
  });
  const lines = [...output.matchAll(/^test result: \S+ (\d+) passed; (\d+) failed/gm)];
  const passed = lines.reduce((sum, line) => sum + Number(line[1]), 0);
  const failed = lines.reduce((sum, line) => sum + Number(line[2]), 0);
  // A crate that does not compile has no result line and must not count as no failure.
  return { passed, failed: code === 0 ? failed : Math.max(failed, 1) };
}

async function testInWorkerd(files) {
  if (files.length === 0) {
    return { passed: 0, failed: 0 };
  }
  console.log(`» ${files.length} test files: node --test`);
  const folder = mkdtempSync(join(tmpdir(), "portcullis-test-"));
  try {
    const results = join(folder, "results.tap");
    const flags = [
      "--test",
      "--test-concurrency=1",
      `--test-timeout=${TEST_TIMEOUT_MS}`,
      "--test-reporter=spec",
      "--test-reporter-destination=stdout",
      "--test-reporter=tap",
      `--test-reporter-destination=${results}`,
    ];
    const { code } = await run(node, [...flags, ...files], { show: true, timeoutMs: ALL_TIMEOUT_MS });
    const tap = readFileSync(results, "utf8");
    const count = (name) => Number(new RegExp(`^# ${name} (\\d+)$`, "m").exec(tap)?.[1] ?? 0);
    const failed = count("fail") + count("cancelled");
    return { passed: count("pass"), failed: code === 0 ? failed : Math.max(failed, 1) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function testFiles() {
  return TEST_FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true })
      .filter((file) => file.endsWith(".test.mjs") && !file.includes("node_modules"))
      .sort()
      .map((file) => join(folder, file)),
  );
}
