import { formatTable } from "./table.mjs";

/**
 * A scenario in a pairing, directly and through the portal.
 * @typedef {{
 *   requirements: string, pairing: string, scenario: string, column: string, note: string,
 *   direct: "pass" | "fail", through: "pass" | "fail",
 *   exclusion?: import("./pairings.mjs").Exclusion,
 * }} Row
 */

/**
 * What `--json` writes of a row.
 * @param {Row} row
 */
export function publicRow({ requirements, pairing, scenario, direct, through, note, exclusion }) {
  const why = exclusion && `excluded: ${exclusion.reason} (${exclusion.citation})`;
  return { requirements, pairing, scenario, direct, through, note: [why, note].filter(Boolean).join("; ") };
}

/**
 * One line per scenario, one column per way to run it.
 * @param {Row[]} rows
 * @param {{ direct: boolean }} options
 * @returns {string}
 */
export function layOut(rows, options) {
  const columns = [...new Set(rows.map((row) => row.column))];
  const lines = new Map();
  for (const row of rows) {
    const key = `${row.requirements} ${row.scenario}`;
    const line = lines.get(key) ?? { row, cells: new Map() };
    line.cells.set(row.column, options.direct ? "-" : cellOf(row));
    lines.set(key, line);
  }
  const table = [...lines.values()].map(({ row, cells }) => [
    row.requirements,
    row.scenario,
    row.direct,
    ...columns.map((column) => cells.get(column) ?? ""),
  ]);
  return formatTable(["requirements", "scenario", "direct", ...columns], table);
}

function cellOf({ through, exclusion }) {
  return through === "fail" && exclusion !== undefined ? "excluded" : through;
}

/**
 * How each pairing did, and why which scenario is excluded.
 * @param {Row[]} rows
 * @param {{ direct: boolean }} options
 * @returns {string[]}
 */
export function summarize(rows, options) {
  const lines = [];
  const nameOf = (row) => `${row.requirements} ${row.pairing}`;
  for (const name of new Set(rows.map(nameOf))) {
    const group = rows.filter((row) => nameOf(row) === name);
    const must = group.filter(({ exclusion }) => exclusion === undefined);
    const count = (key) => must.filter((row) => row[key] === "pass").length;
    const through = options.direct ? "" : `, ${count("through")} through`;
    const excluded = group.length === must.length ? "" : `; ${group.length - must.length} are excluded`;
    lines.push(
      `${name}: of ${must.length} that must pass ${count("direct")} do directly${through}${excluded}`,
    );
    const reasons = new Map();
    for (const { scenario, exclusion } of group.filter((row) => row.exclusion !== undefined)) {
      const reason = `${exclusion.reason} (${exclusion.citation})`;
      reasons.set(reason, [...(reasons.get(reason) ?? []), scenario]);
    }
    for (const [reason, scenarios] of reasons) lines.push(`  excluded: ${scenarios.join(", ")}: ${reason}`);
  }
  return lines;
}

/**
 * What is not as `pairings/` has it, also an exclusion that is not needed any more.
 * @param {Row[]} rows
 * @param {{ direct: boolean }} options
 * @returns {string[]}
 */
export function judgeRows(rows, options) {
  return rows.flatMap((row) => {
    const fault = faultOf(row, options);
    return fault === undefined ? [] : [`${row.requirements} ${row.pairing} ${row.scenario}: ${fault}`];
  });
}

function faultOf({ direct, through, note, exclusion }, options) {
  if (exclusion === undefined) {
    if (direct === "fail") return `fails directly: ${note}`;
    return options.direct || through === "pass" ? undefined : note;
  }
  if (exclusion.fails === "through" && options.direct) return undefined;
  const now = exclusion.fails === "directly" ? direct : through;
  return now === "pass" ? "passes, so its exclusion has to go" : undefined;
}
