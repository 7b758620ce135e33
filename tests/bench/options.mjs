import { parseArgs } from "node:util";
import { GOALS, GROUPS } from "./goals.mjs";

export const USAGE = `npm run bench -- [options]
  --only id,id      only what these goals need: ${GOALS.map(({ id }) => id).join(", ")}
                    or all of a group: ${Object.keys(GROUPS).join(", ")}
  --json FILE       also write [{ id, value, unit, target, met, note }]
  --quick           a short run: 3 rounds of 600 requests
  --rounds N        interleaved rounds (5)
  --requests N      requests in a cell (3000)
  --skip-portal     the rivals alone; goals stay unmeasured
  --limit-s N       the whole run ends after so many seconds (1800)
  --verbose         show what workerd says
  --target URL      measure that MCP endpoint instead; with
    --tool NAME  --arguments JSON  --token TOKEN  --header "Name: value"  --bytes N (size of the text)  --pid N`;

/** The command line as typed options; throws an Error whose message says what to change. */
export function readOptions(args) {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: "string" },
      json: { type: "string" },
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      requests: { type: "string" },
      "skip-portal": { type: "boolean", default: false },
      "limit-s": { type: "string", default: "1800" },
      verbose: { type: "boolean", default: false },
      target: { type: "string" },
      tool: { type: "string", default: "echo_echo" },
      arguments: { type: "string", default: '{"bytes":512}' },
      token: { type: "string" },
      header: { type: "string", multiple: true, default: [] },
      bytes: { type: "string" },
      pid: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  const known = GOALS.map(({ id }) => id);
  const only = values.only
    ?.split(",")
    .map((name) => name.trim())
    .flatMap((name) => GROUPS[name] ?? [name]);
  const strange = only?.filter((id) => !known.includes(id)) ?? [];
  if (strange.length > 0) {
    const names = [...known, ...Object.keys(GROUPS)].join(", ");
    throw new Error(`--only: no goal is called ${strange.join(", ")}; there are ${names}`);
  }
  return {
    help: values.help,
    only,
    wanted: only ?? known,
    json: values.json,
    rounds: whole(values.rounds ?? (values.quick ? "3" : "5"), "--rounds"),
    requests: whole(values.requests ?? (values.quick ? "600" : "3000"), "--requests"),
    portal: !values["skip-portal"],
    limitS: whole(values["limit-s"], "--limit-s"),
    verbose: values.verbose,
    target: values.target,
    tool: values.tool,
    given: JSON.parse(values.arguments),
    token: values.token,
    headers: Object.fromEntries(values.header.map((line) => splitHeader(line))),
    bytes: values.bytes === undefined ? undefined : whole(values.bytes, "--bytes"),
    pid: values.pid === undefined ? undefined : whole(values.pid, "--pid"),
  };
}

function whole(text, name) {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1) {
    throw new Error(`${name} needs a whole number above 0, not ${text}`);
  }
  return number;
}

function splitHeader(line) {
  const colon = line.indexOf(":");
  if (colon < 1) {
    throw new Error(`--header needs "Name: value", not ${line}`);
  }
  return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()];
}
