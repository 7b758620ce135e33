import { readFile } from "node:fs/promises";

/**
 * The scenarios that may fail through the portal, each with the passage of the specification that
 * allows it. An entry without `pairing` holds for every pairing.
 * @typedef {{
 *   requirements: string, scenario: string, pairing?: string, reason: string, citation: string,
 * }} Exclusion
 */

/** @returns {Promise<Exclusion[]>} */
export async function readExclusions() {
  const list = JSON.parse(await readFile(new URL("exclusions.json", import.meta.url), "utf8"));
  for (const [index, entry] of list.entries()) {
    for (const key of ["requirements", "scenario", "reason", "citation"]) {
      if (typeof entry[key] === "string" && entry[key] !== "") continue;
      throw new Error(`exclusions.json: entry ${index} needs "${key}"`);
    }
  }
  return list;
}

/**
 * @param {Exclusion[]} exclusions
 * @param {{ requirements: string, scenario: string, pairing: string }} row
 * @returns {Exclusion | undefined}
 */
export function findExclusion(exclusions, { requirements, scenario, pairing }) {
  return exclusions.find(
    (entry) =>
      entry.requirements === requirements &&
      entry.scenario === scenario &&
      (entry.pairing ?? pairing) === pairing,
  );
}
