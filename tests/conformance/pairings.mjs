import { readFile } from "node:fs/promises";
import { requiredScenarios } from "./suite.mjs";

const NAMES = ["legacy-legacy", "modern-modern", "modern-legacy", "legacy-modern"];
const ERAS = { "2025-11-25": "legacy", "2026-07-28": "modern" };
const LEGS = ["server", "client"];

/**
 * What one leg of a pairing must pass. `server`: the suite drives the portal before the fixture, at the
 * revision of the pairing's client. `client`: an SDK client drives the portal before the suite's own
 * server, at the revision of the pairing's server.
 * @typedef {{
 *   pairing: string, leg: "server" | "client", client: string, server: string, requirements: string,
 *   required: string[], extra: string[], exclusions: Map<string, Exclusion>,
 * }} Leg
 */

/**
 * Why a scenario need not pass: `fails` says whether it passes without the portal.
 * @typedef {{ reason: string, citation: string, fails: "directly" | "through" }} Exclusion
 */

/**
 * Reads which scenarios must pass in which pairing, and holds that against the suite's lists: a required
 * scenario is either to pass or excluded for a reason.
 * @returns {Promise<Leg[]>}
 */
export async function readPairings() {
  const legs = [];
  for (const pairing of NAMES) {
    const text = await readFile(new URL(`pairings/${pairing}.json`, import.meta.url), "utf8");
    const document = JSON.parse(text);
    for (const leg of LEGS) legs.push(await readLeg(pairing, leg, document[leg]));
  }
  return legs;
}

async function readLeg(pairing, leg, { requirements, required, extra, excluded }) {
  const where = `pairings/${pairing}.json: ${leg}`;
  const [client, server] = pairing.split("-");
  const spoken = leg === "server" ? client : server;
  if (ERAS[requirements] !== spoken) {
    throw new Error(`${where}: "${requirements}" is no revision of the ${spoken} era`);
  }
  const exclusions = readExclusions(where, excluded);
  const named = [...required, ...extra, ...exclusions.keys()];
  const twice = named.find((name, index) => named.indexOf(name) !== index);
  if (twice !== undefined) throw new Error(`${where}: "${twice}" is named twice`);
  // Scenarios of authorization need a person at a browser or an authorization server, and are tested
  // where the portal has these.
  const listed = (await requiredScenarios(requirements, leg)).filter((name) => !name.startsWith("auth/"));
  const unnamed = listed.find((name) => !required.includes(name) && !exclusions.has(name));
  if (unnamed !== undefined) throw new Error(`${where}: "${unnamed}" must be required or excluded`);
  const foreign = required.find((name) => !listed.includes(name));
  if (foreign !== undefined)
    throw new Error(`${where}: the suite does not require "${foreign}"; is it extra?`);
  return { pairing, leg, client, server, requirements, required, extra, exclusions };
}

function readExclusions(where, excluded) {
  const exclusions = new Map();
  for (const { scenarios, reason, citation, fails = "through" } of excluded) {
    if (!reason || !citation) {
      throw new Error(`${where}: the exclusion of ${scenarios} needs a reason and a citation`);
    }
    for (const name of scenarios) exclusions.set(name, { reason, citation, fails });
  }
  return exclusions;
}
