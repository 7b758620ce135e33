import { randomBytes } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { exportJWK, generateKeyPair } from "jose";

const FILE_NAME = "demo-identity-keys.json";
const ALGORITHMS = ["RS256", "ES256"];

/**
 * The signing keys of the demo's identity provider. They are made at the first start and kept in the state
 * folder, so that tokens and cached key sets survive a restart.
 *
 * @param {string} stateDir
 * @returns {Promise<{ jwks: { keys: object[] }, cookieKeys: string[] }>}
 */
export async function loadKeys(stateDir) {
  const path = join(stateDir, FILE_NAME);
  const kept = await readKept(path);
  if (kept) return kept;
  const keys = { jwks: { keys: await Promise.all(ALGORITHMS.map(makeKey)) }, cookieKeys: [randomSecret()] };
  await mkdir(stateDir, { recursive: true });
  // Renamed into place, so that a start that is interrupted never leaves half a file behind.
  const unfinished = `${path}.${process.pid}`;
  await writeFile(unfinished, `${JSON.stringify(keys, null, 2)}\n`, { mode: 0o600 });
  await rename(unfinished, path);
  return keys;
}

async function readKept(path) {
  let text;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if (cause.code === "ENOENT") return undefined;
    throw new Error(`The demo's signing keys in ${path} cannot be read: ${cause.message}`, { cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Error(`${path} is not JSON any more. Delete it; new keys are made at the next start.`, {
      cause,
    });
  }
}

async function makeKey(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true, modulusLength: 2048 });
  return {
    ...(await exportJWK(privateKey)),
    alg,
    use: "sig",
    kid: `demo-${alg.toLowerCase()}-${randomId()}`,
  };
}

const randomId = () => randomBytes(6).toString("base64url");
const randomSecret = () => randomBytes(32).toString("base64url");
