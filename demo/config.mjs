import { readFileSync } from "node:fs";

const DOCUMENTED_BASE = 9100;
const PORTS_IN_A_ROW = 5;

/**
 * The example configuration, with the demo's addresses moved where this demo really runs. The file itself
 * names the default ports, so that it reads as what it is: a plain configuration.
 *
 * @param {string | number} [base] the value of DEMO_PORT_BASE
 * @returns {string} TOML
 */
export function readDemoConfig(base = process.env.DEMO_PORT_BASE || DOCUMENTED_BASE) {
  const text = readFileSync(new URL("./config.toml", import.meta.url), "utf8");
  return text.replaceAll(/(http:\/\/(?:localhost|127\.0\.0\.1):)(\d+)/g, (address, start, port) => {
    const place = Number(port) - DOCUMENTED_BASE;
    return place >= 0 && place < PORTS_IN_A_ROW ? `${start}${Number(base) + place}` : address;
  });
}
