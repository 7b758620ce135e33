import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const PACKAGE = fileURLToPath(
  new URL("../../node_modules/@modelcontextprotocol/conformance/", import.meta.url),
);
const OUTPUT_CHARS_MAX = 20_000;

/**
 * The scenarios that a revision of the specification requires, from the suite's own frozen list.
 * @param {string} revision such as "2026-07-28"
 * @param {"server" | "client"} leg
 * @returns {Promise<string[]>}
 */
export async function requiredScenarios(revision, leg) {
  const text = await readFile(join(PACKAGE, "requirements", `${revision}.yaml`), "utf8");
  const lines = text.split("\n");
  const start = lines.indexOf(`${leg}:`);
  if (start < 0) throw new Error(`The suite's list for ${revision} has no section "${leg}"`);
  const scenarios = [];
  for (const line of lines.slice(start + 1)) {
    const item = /^ {2}- (\S+)$/.exec(line);
    if (item !== null) scenarios.push(item[1]);
    else if (/^\S/.test(line)) break;
  }
  if (scenarios.length === 0) throw new Error(`The suite's list for ${revision} names no ${leg} scenario`);
  return scenarios;
}

/**
 * Runs one server scenario of the official suite.
 * @param {object} options
 * @param {string} options.url the MCP endpoint under test
 * @param {string} options.revision the wire version to run it at
 * @param {string} options.scenario
 * @param {number} options.timeoutMs
 * @returns {Promise<Verdict>}
 */
export function runServerScenario({ url, revision, scenario, timeoutMs }) {
  const options = ["server", "--url", url, "--scenario", scenario, "--spec-version", revision];
  // Without --force the suite skips the scenarios of extensions, which belong to no revision.
  return runSuite([...options, "--force"], timeoutMs, {});
}

/**
 * Runs one client scenario of the official suite.
 * @param {object} options
 * @param {string} options.command starts the client under test; the suite appends a server's URL
 * @param {string} options.revision
 * @param {string} options.scenario
 * @param {number} options.timeoutMs
 * @returns {Promise<Verdict>}
 */
export function runClientScenario({ command, revision, scenario, timeoutMs }) {
  // The suite's own bound comes first, so that it can still say what it saw until then.
  const bound = String(timeoutMs - 5_000);
  const options = ["client", "--command", command, "--scenario", scenario, "--spec-version", revision];
  return runSuite([...options, "--timeout", bound], timeoutMs, { mayExit: true });
}

/**
 * @typedef {{ status: "pass" | "fail", note: string, checks: object[], output: string }} Verdict
 */

async function runSuite(options, timeoutMs, { mayExit = false }) {
  const folder = await mkdtemp(join(tmpdir(), "conformance-"));
  try {
    const cli = join(PACKAGE, "dist", "index.js");
    const run = await runNode([cli, ...options, "-o", folder], timeoutMs);
    const checks = await readChecks(folder);
    return { ...judge(run, checks, { timeoutMs, mayExit }), checks, output: run.output };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function judge({ code, timedOut, output }, checks, { timeoutMs, mayExit }) {
  const failed = checks.filter((check) => check.status === "FAILURE");
  const warned = checks.filter((check) => check.status === "WARNING");
  const problems = failed.map(describe);
  if (timedOut) problems.unshift(`no verdict within ${timeoutMs} ms`);
  else if (checks.length === 0) problems.unshift(`the suite reported no check: ${lastLine(output)}`);
  else if (!checks.some((check) => check.status === "SUCCESS")) problems.push("no check succeeded");
  if (mayExit && code !== 0) problems.unshift(...clientEnding(output));
  const remarks = warned.map((check) => `warning: ${describe(check)}`);
  return {
    status: problems.length === 0 ? "pass" : "fail",
    note: [...problems, ...remarks].join("; "),
  };
}

/** What the suite's output says of a client that failed by itself or hung. */
function clientEnding(output) {
  const ending = /^Client (?:exited with code|timed out after) .*$/m.exec(output);
  const error = /^\w*Error\b.*$/m.exec(output);
  return [ending, ending && error].filter(Boolean).map(([line]) => line);
}

function describe({ id, errorMessage, details, description }) {
  return `${id}: ${errorMessage ?? details?.message ?? description}`;
}

function lastLine(output) {
  return output.trim().split("\n").at(-1) ?? "";
}

async function readChecks(folder) {
  for (const entry of await readdir(folder)) {
    const text = await readFile(join(folder, entry, "checks.json"), "utf8").catch(() => undefined);
    if (text !== undefined) return JSON.parse(text);
  }
  return [];
}

function runNode(options, timeoutMs) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, options, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let timedOut = false;
    const keep = (chunk) => {
      output = (output + chunk).slice(-OUTPUT_CHARS_MAX);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
    }, timeoutMs);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, timedOut, output });
    });
  });
}
