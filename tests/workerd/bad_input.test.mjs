// Bytes, headers, addresses and messages that no portal should act on. Judged from outside: the answer is a precise
// protocol error, the upstream hears nothing, the audit has one row.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  callTool,
  legacy,
  META,
  MODERN,
  modern,
  modernHeaders,
  modernMessage,
  openSession,
  send,
} from "./support/client.mjs";
import { assertRecorded, refuseAll } from "./support/refusals.mjs";
import { startWorld } from "./support/world.mjs";

const BODY_BYTES_MAX = 4 * 1024 * 1024;
const TEST_MS = 60_000;
const PARSE = -32700;
const INVALID = -32600;
const NO_METHOD = -32601;
const PARAMS = -32602;
const MISMATCH = -32020;
const VERSION = -32022;
const options = { timeout: TEST_MS };

let world;
let portal;
let token;

before(async () => {
  world = await startWorld();
  ({ portal, token } = world);
  assert.equal((await callTool(portal, "notes_echo", { note: "x" }, { token })).status, 200);
});

after(() => world?.stop());

/** A call whose body is given as bytes, under headers that fit a good call. */
function raw(body, headers = {}, more = {}) {
  const usual = modernHeaders(modernMessage("tools/call", { name: "notes_echo" }));
  return () => send(portal, { token, body, ...more, headers: { ...usual, ...headers } });
}

const text = (members) => JSON.stringify({ jsonrpc: "2.0", id: 7, method: "tools/call", ...members });
const call = (members = {}) => ({ name: "notes_echo", arguments: {}, _meta: META, ...members });
/** A good call in which one piece of text is replaced. */
const spelled = (from, to) => text({ params: call() }).replace(from, to);

test("bodies that are no JSON", options, async () => {
  const good = text({ params: call() });
  const nested = `{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
  const invalidUtf8 = Buffer.concat([Buffer.from(good.slice(0, -1)), Buffer.from([0xff, 0x7d])]);
  const badText = Buffer.from(good.replace("notes_echo", "notes_echo\u0001"), "latin1");
  badText[badText.indexOf(1)] = 0xc3;
  const bodies = {
    empty: "",
    blank: " \n ",
    "an open brace": "{",
    "cut short": good.slice(0, -2),
    "something behind it": `${good}x`,
    "two messages": `${good}${good}`,
    "a trailing comma": good.replace(/}$/, ",}"),
    "a comment": `/* hi */${good}`,
    "single quotes": good.replaceAll('"', "'"),
    NaN: spelled('"id":7', '"id":NaN'),
    "a leading zero": spelled('"id":7', '"id":07'),
    "a raw control character": spelled("notes_echo", "notes_\u0001echo"),
    "a bad escape": spelled("notes_echo", "notes\\xecho"),
    "bytes that are not UTF-8": invalidUtf8,
    "a name that is not UTF-8": badText,
    "a byte order mark": `\ufeff${good}`,
    "UTF-16": Buffer.from(good, "utf16le"),
    "UTF-16 with its mark": Buffer.from(`\ufeff${good}`, "utf16le"),
    "100,000 arrays": "[".repeat(100_000),
    "100,000 arrays that close": nested,
    "100,000 objects": '{"a":'.repeat(100_000),
    "arguments nested 500 deep": spelled(
      '"arguments":{}',
      `"arguments":${'{"a":'.repeat(500)}1${"}".repeat(500)}`,
    ),
  };
  await refuseAll(
    world,
    Object.entries(bodies).map(([name, body]) => ({
      name,
      act: raw(body),
      status: 400,
      code: PARSE,
      id: null,
    })),
  );
});

test("bodies that are too large, announced or not", options, async () => {
  const padded = (bytes) => {
    const bare = text({ params: call({ arguments: { note: "" } }) });
    return bare.replace('"note":""', `"note":"${"x".repeat(bytes - bare.length)}"`);
  };
  const tooLarge = padded(BODY_BYTES_MAX + 1);
  assert.equal(Buffer.byteLength(tooLarge), BODY_BYTES_MAX + 1);
  await refuseAll(world, [
    {
      // What announces itself as too large is refused before it is sent.
      name: "announced",
      act: raw(tooLarge.slice(0, 1_000), {}, { announcedBytes: BODY_BYTES_MAX + 1 }),
      status: 413,
      code: INVALID,
    },
    { name: "chunked", act: raw(tooLarge, {}, { chunked: true }), status: 413, code: INVALID },
    {
      name: "spaces",
      act: raw(" ".repeat(BODY_BYTES_MAX + 1), {}, { chunked: true }),
      status: 413,
      code: INVALID,
    },
  ]);
  for (const chunked of [false, true]) {
    const largest = await raw(padded(BODY_BYTES_MAX), {}, { chunked })();
    assert.equal(
      largest.json?.result?.content?.[0].type,
      "text",
      `${largest.status} ${largest.text.slice(0, 200)}`,
    );
  }
});

test("nesting within reason passes", options, async () => {
  const deep = JSON.parse(`${'{"a":'.repeat(50)}1${"}".repeat(50)}`);
  const answer = await callTool(portal, "notes_echo", deep, { token });
  assert.deepEqual(JSON.parse(answer.json.result.content[0].text), deep);
});

/** What is no message and still says which request it would be. */
const READABLE = {
  "no jsonrpc": 7,
  "jsonrpc 1.0": 7,
  "jsonrpc as a number": 7,
  "a method and a result": 7,
  "id fraction": 1.5,
};

test("JSON that is no message", options, async () => {
  const bodies = {
    null: "null",
    "a number": "1",
    "a string": '"tools/call"',
    "an empty object": "{}",
    "an empty batch": "[]",
    "a batch": `[${text({ params: call() })}]`,
    "no jsonrpc": spelled('"jsonrpc":"2.0",', ""),
    "jsonrpc 1.0": spelled('"2.0"', '"1.0"'),
    "jsonrpc as a number": spelled('"2.0"', "2.0"),
    "no method": text({ method: undefined, params: call() }),
    "a method that is a number": text({ method: 5, params: call() }),
    "a method that is null": text({ method: null, params: call() }),
    "id null": text({ id: null, params: call() }),
    "id true": text({ id: true, params: call() }),
    "id object": text({ id: {}, params: call() }),
    "id array": text({ id: [7], params: call() }),
    "id fraction": text({ id: 1.5, params: call() }),
    "id of 100,000 characters": text({ id: "x".repeat(100_000), params: call() }),
    "a method and a result": text({ params: call(), result: {} }),
    "a result and an error": text({ method: undefined, result: {}, error: { code: 1, message: "x" } }),
    "a response to nobody": JSON.stringify({ jsonrpc: "2.0", id: 7, result: {} }),
    "an error to nobody": JSON.stringify({ jsonrpc: "2.0", id: 7, error: { code: 1, message: "x" } }),
  };
  await refuseAll(
    world,
    Object.entries(bodies).map(([name, body]) => ({
      name,
      act: raw(body),
      status: 400,
      code: INVALID,
      // Its sender waits for that id, wherever it can be read and somebody waits at all.
      id: READABLE[name] ?? null,
    })),
  );
});

test("keys given twice, at every depth and in every spelling", options, async () => {
  const bodies = {
    jsonrpc: spelled('"jsonrpc":"2.0"', '"jsonrpc":"2.0","jsonrpc":"2.0"'),
    id: spelled('"id":7', '"id":7,"id":8'),
    method: spelled('"method":"tools/call"', '"method":"tools/list","method":"tools/call"'),
    params: spelled('"params":', '"params":{"name":"notes_write_note"},"params":'),
    name: spelled('"name":"notes_echo"', '"name":"notes_echo","name":"notes_secret_read"'),
    "name, escaped": spelled('"name":"notes_echo"', '"name":"notes_echo","\\u006eame":"notes_secret_read"'),
    _meta: spelled('"_meta":', '"_meta":{},"_meta":'),
    "within _meta": spelled('"_meta":{', '"_meta":{"x":1,"x":2,'),
    "within arguments": spelled('"arguments":{}', '"arguments":{"a":1,"a":2}'),
    "deep in arguments": spelled('"arguments":{}', '"arguments":{"a":[{"b":1,"b":2}]}'),
    "deep in arguments, escaped": spelled('"arguments":{}', '"arguments":{"a":[{"b":1,"\\u0062":2}]}'),
  };
  const rows = Object.entries(bodies).map(([name, body]) => ({
    name,
    act: raw(body),
    status: 400,
    code: [PARSE, INVALID],
  }));
  await refuseAll(world, rows);
});

test("content types and Accept", options, async () => {
  const good = text({ params: call() });
  const types = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"];
  const rows = [...types, "application/json-patch+json", "application/jsonp", "text/json", undefined].map(
    (type) => ({
      name: `content-type ${type}`,
      act: raw(good, { "content-type": type }),
      status: 415,
      code: INVALID,
    }),
  );
  for (const accept of ["text/html", "application/xml", "application/json-seq", "image/*"]) {
    rows.push({ name: `accept ${accept}`, act: raw(good, { accept }), status: 406, code: INVALID });
  }
  await refuseAll(world, rows);
  for (const type of ["application/json; charset=utf-8", "Application/JSON"]) {
    assert.equal((await raw(good, { "content-type": type })()).status, 200, type);
  }
});

test("unknown methods: 404 in the modern era, 200 in the older one", options, async () => {
  const modernMethods = [
    "no/such",
    "",
    "tools/callx",
    "TOOLS/CALL",
    "ping",
    "logging/setLevel",
    "initialize",
  ];
  modernMethods.push("resources/subscribe", "notifications/initialized", "rpc.discover", "x".repeat(5_000));
  const session = await openSession(portal, { token });
  const legacyMethods = ["no/such", "", "subscriptions/listen", "tools/callx", "notifications/initialized"];
  await refuseAll(world, [
    ...modernMethods.map((method) => ({
      name: `modern ${method.slice(0, 30)}`,
      act: () => {
        const body = JSON.stringify({ jsonrpc: "2.0", id: 9, method, params: { _meta: META } });
        return send(portal, { token, body, headers: modernHeaders({ method }) });
      },
      // A header cannot be that long everywhere; then it is refused as the header it is.
      status: 404,
      code: NO_METHOD,
      id: 9,
    })),
    ...legacyMethods.flatMap((method) => [
      { name: `session ${method}`, act: () => session.ask(method, {}), status: 200, code: NO_METHOD },
      {
        name: `no session ${method}`,
        act: () => legacy(portal, method, {}, { token }),
        status: 200,
        code: NO_METHOD,
      },
    ]),
  ]);
});

test("headers that disagree with the body, each", options, async () => {
  const good = text({ params: call() });
  const rows = {
    "no version": { "mcp-protocol-version": undefined },
    "another version": { "mcp-protocol-version": "2025-11-25" },
    "a later version": { "mcp-protocol-version": "2099-01-01" },
    "no method": { "mcp-method": undefined },
    "another method": { "mcp-method": "tools/list" },
    "a method in capitals": { "mcp-method": "TOOLS/CALL" },
    "two methods": { "mcp-method": ["tools/call", "tools/list"] },
    "no name": { "mcp-name": undefined },
    "another name": { "mcp-name": "notes_reflect" },
    "two names": { "mcp-name": ["notes_echo", "notes_reflect"] },
    "a name in bad base64": { "mcp-name": "=?base64?!!?=" },
    "a name in base64 that is another": {
      "mcp-name": `=?base64?${Buffer.from("notes_x").toString("base64")}?=`,
    },
  };
  const table = Object.entries(rows).map(([name, headers]) => ({
    name,
    act: raw(good, headers),
    status: 400,
    code: MISMATCH,
    id: 7,
  }));
  const region = (headers) => () => callTool(portal, "notes_region", { region: "eu" }, { token, headers });
  table.push({ name: "no Mcp-Param", act: region({}), status: 400, code: MISMATCH });
  table.push({
    name: "another Mcp-Param",
    act: region({ "mcp-param-region": "us" }),
    status: 400,
    code: MISMATCH,
  });
  await refuseAll(world, table);
  assert.equal((await region({ "mcp-param-region": "eu" })()).status, 200);
  const encoded = `=?base64?${Buffer.from("notes_echo").toString("base64")}?=`;
  assert.equal((await raw(good, { "mcp-name": encoded })()).status, 200);
});

test("missing _meta fields and versions that are not spoken", options, async () => {
  const [version, capabilities] = Object.keys(META);
  const without = (meta) => raw(text({ params: call({ _meta: meta }) }));
  const rows = [
    { name: "no _meta", act: without(undefined), status: 400, code: PARAMS, id: 7 },
    { name: "empty _meta", act: without({}), status: 400, code: PARAMS, id: 7 },
    { name: "no version", act: without({ [capabilities]: {} }), status: 400, code: PARAMS, id: 7 },
    { name: "no capabilities", act: without({ [version]: MODERN }), status: 400, code: PARAMS, id: 7 },
    { name: "no params", act: raw(text({ params: undefined })), status: 400, code: PARAMS, id: 7 },
  ];
  for (const requested of ["2099-01-01", "2026-07-29", "2025-11-25", "banana", ""]) {
    rows.push({
      name: `version ${requested}`,
      act: () => modern(portal, "tools/list", { _meta: { [version]: requested } }, { token }),
      status: 400,
      code: VERSION,
      check: ({ json }) => {
        assert.ok(json.error.data.supported.includes(MODERN), "data.supported names 2026-07-28");
        assert.equal(json.error.data.requested, requested);
      },
    });
  }
  const session = await openSession(portal, { token });
  for (const header of ["1999-01-01", "banana"]) {
    const headers = { "mcp-protocol-version": header };
    const inSession = () => session.ask("tools/list", {}, { headers });
    const alone = () => legacy(portal, "tools/list", {}, { token, headers });
    rows.push({ name: `session with header ${header}`, act: inSession, status: 400, code: VERSION });
    rows.push({ name: `no session with header ${header}`, act: alone, status: 400, code: VERSION });
  }
  await refuseAll(world, rows);
});

test("every refusal above has exactly one row in the trail", options, () => assertRecorded(world));
