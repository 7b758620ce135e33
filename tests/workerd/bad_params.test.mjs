// Wrong types everywhere in params, answers to nobody, and batches in the eras that have them and that do not.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { legacy, META, modernHeaders, openSession, send } from "./support/client.mjs";
import { assertRecorded, auditCounts, refuseAll } from "./support/refusals.mjs";
import { startWorld } from "./support/world.mjs";

const options = { timeout: 60_000 };
const PARAMS = -32602;
const INVALID = -32600;
const PARSE = -32700;

let world;
let portal;
let token;

before(async () => {
  world = await startWorld();
  ({ portal, token } = world);
});

after(() => world?.stop());

/** Params that no method takes; JSON that `undefined` leaves out. */
const NOT_TEXT = { number: 5, null: null, array: ["notes_echo"], object: { a: 1 }, true: true };
const NOT_OBJECT = { number: 5, null: null, array: [], text: "{}", true: true };

const calls = (bad) => ({ name: "notes_echo", arguments: {}, ...bad });
const each = (method, key, values, base = {}) =>
  Object.entries(values).map(([name, value]) => [
    `${method} ${key} ${name}`,
    method,
    { ...base, [key]: value },
  ]);

/** [name, method, params] of what is malformed: both eras refuse it, the modern one with HTTP 400. */
const MALFORMED = [
  ["tools/call without a name", "tools/call", { arguments: {} }],
  ["prompts/get without a name", "prompts/get", {}],
  ["resources/read without a uri", "resources/read", {}],
  ["completion without ref", "completion/complete", { argument: { name: "a", value: "b" } }],
  ["completion with an unknown ref", "completion/complete", { ref: { type: "ref/x", name: "a" } }],
  ["completion with a ref without name", "completion/complete", { ref: { type: "ref/prompt" } }],
  ...each("tools/call", "name", NOT_TEXT, { arguments: {} }),
  ...each("tools/call", "arguments", NOT_OBJECT, { name: "notes_echo" }),
  ...each("prompts/get", "name", NOT_TEXT),
  ...each("prompts/get", "arguments", NOT_OBJECT, { name: "notes_x" }),
  ...each("resources/read", "uri", NOT_TEXT),
  ...each("tools/list", "cursor", NOT_TEXT),
  ...each("prompts/list", "cursor", NOT_TEXT),
  ...each("resources/list", "cursor", NOT_TEXT),
  ...each("resources/templates/list", "cursor", NOT_TEXT),
  ...each("completion/complete", "ref", NOT_OBJECT, { argument: { name: "a", value: "b" } }),
  ["a name of 100,000 characters", "tools/call", calls({ name: "n".repeat(100_000) })],
];

/** Of what is well made and names nothing. */
const UNKNOWN = [
  ["a cursor that is nobody's", "tools/list", { cursor: "AAAA" }],
  ["an empty cursor", "tools/list", { cursor: "" }],
  ["a cursor of 100,000 characters", "tools/list", { cursor: "A".repeat(100_000) }],
  ["a tool nobody has", "tools/call", calls({ name: "notes_none" })],
  ["an empty name", "tools/call", calls({ name: "" })],
  ["just the prefix", "tools/call", calls({ name: "notes_" })],
  ["the server's own name for it", "tools/call", calls({ name: "echo" })],
  ["another case", "tools/call", calls({ name: "Notes_echo" })],
  ["a name with a space", "tools/call", calls({ name: "notes_echo " })],
  ["a name with a null character", "tools/call", calls({ name: "notes_echo\u0000" })],
  ["a look-alike name", "tools/call", calls({ name: "notes_\u0435cho" })],
  ["a prompt nobody has", "prompts/get", { name: "notes_none" }],
];

test("wrong params, modern", options, async () => {
  const rows = [...MALFORMED, ...UNKNOWN].map(([name, method, params], index) => ({
    name,
    act: () => {
      const message = { jsonrpc: "2.0", id: "größe-1", method, params: { ...params, _meta: META } };
      const headers = modernHeaders(message);
      const said = headers["mcp-name"];
      if (said !== undefined) {
        // A name of 100,000 characters is in no header.
        headers["mcp-name"] =
          said.length > 8_000 ? "too-long" : `=?base64?${Buffer.from(said).toString("base64")}?=`;
      }
      return send(portal, { token, body: JSON.stringify(message), headers });
    },
    status: index < MALFORMED.length ? 400 : 200,
    code: PARAMS,
    id: "größe-1",
  }));
  const meta = (bad) => ({ jsonrpc: "2.0", id: 3, method: "tools/call", params: calls({ _meta: bad }) });
  const [version, capabilities] = Object.keys(META);
  const metas = {
    "_meta a text": "x",
    "_meta a list": [],
    "_meta null": null,
    "version a number": { ...META, [version]: 20260728 },
    "version null": { ...META, [version]: null },
    "capabilities a list": { ...META, [capabilities]: [] },
    "capabilities null": { ...META, [capabilities]: null },
    "client info a text": { ...META, "io.modelcontextprotocol/clientInfo": "me" },
    "progress token an object": { ...META, progressToken: {} },
    "progress token null": { ...META, progressToken: null },
    "requestState a number": META,
    "inputResponses a list": META,
  };
  for (const [name, bad] of Object.entries(metas)) {
    const message = meta(bad);
    if (name.startsWith("requestState")) {
      message.params.requestState = 5;
    } else if (name.startsWith("inputResponses")) {
      message.params.inputResponses = [];
    }
    const headers = modernHeaders({ ...message, params: calls() });
    const act = () => send(portal, { token, body: JSON.stringify(message), headers });
    rows.push({ name, act, status: 400, code: PARAMS, id: 3 });
  }
  for (const [name, notifications] of Object.entries({ missing: undefined, ...NOT_OBJECT })) {
    const message = {
      jsonrpc: "2.0",
      id: 3,
      method: "subscriptions/listen",
      params: { notifications, _meta: META },
    };
    const act = () => send(portal, { token, body: JSON.stringify(message), headers: modernHeaders(message) });
    rows.push({ name: `listen to ${name}`, act, status: 400, code: PARAMS, id: 3 });
  }
  const forged = { ...meta(META), params: calls({ _meta: META, requestState: "AAAA", inputResponses: {} }) };
  const act = () => send(portal, { token, body: JSON.stringify(forged), headers: modernHeaders(forged) });
  rows.push({ name: "a forged requestState", act, status: 200, code: PARAMS, id: 3 });
  await refuseAll(world, rows);
});

for (const place of ["in a session", "without one"]) {
  test(`wrong params, legacy, ${place}`, options, async () => {
    const session = place === "in a session" ? await openSession(portal, { token }) : undefined;
    const ask = (method, params) =>
      session ? session.ask(method, params) : legacy(portal, method, params, { token });
    const levels = session ? each("logging/setLevel", "level", { ...NOT_TEXT, "nobody's": "banana" }) : [];
    const subscribe = each("resources/subscribe", "uri", NOT_TEXT);
    const broken = [
      ["params an array", "tools/list", []],
      ["params a text", "tools/list", "x"],
      ["params null", "tools/list", null],
    ];
    const table = [...MALFORMED, ...UNKNOWN, ...levels, ...subscribe, ...broken];
    const rows = table.map(([name, method, params]) => ({
      name,
      act: () => ask(method, params),
      status: 200,
      code: PARAMS,
      // The client waits for its own id: any other is no answer.
      check: (answer) => assert.equal(answer.json.id, answer.id, "the error names the request"),
    }));
    await refuseAll(world, rows);
  });
}

test("a call without an id is no call", options, async () => {
  const session = await openSession(portal, { token });
  const before = world.upstream.calls;
  const body = (params) => JSON.stringify({ jsonrpc: "2.0", method: "tools/call", params });
  const name = "notes_write_note";
  const headers = modernHeaders({ method: "tools/call", params: { name } });
  const answers = [
    await session.send(body({ name, arguments: {} })),
    await send(portal, { token, headers, body: body({ name, arguments: {}, _meta: META }) }),
    await send(portal, {
      token,
      headers: { "content-type": "application/json" },
      body: body({ name, arguments: {} }),
    }),
  ];
  assert.ok(answers.every((answer) => [202, 400].includes(answer.status)));
  assert.equal(world.upstream.calls, before);
});

test("answers to a question nobody asked", options, async () => {
  const session = await openSession(portal, { token });
  const bodies = ["result", "error"].map((kind) => {
    const said = kind === "result" ? { result: {} } : { error: { code: 1, message: "x" } };
    return [kind, JSON.stringify({ jsonrpc: "2.0", id: "notes:1", ...said })];
  });
  const rows = bodies.flatMap(([kind, body]) => [
    { name: `session, ${kind}`, act: () => session.send(body), status: 400, code: INVALID },
    {
      name: `modern, ${kind}`,
      act: () => send(portal, { token, body, headers: modernHeaders({}) }),
      status: 400,
    },
    {
      name: `no session, ${kind}`,
      act: () => send(portal, { token, body, headers: { "content-type": "application/json" } }),
      status: 400,
      code: INVALID,
    },
  ]);
  await refuseAll(world, rows);
});

const request = (id, method, params) => ({ jsonrpc: "2.0", id, method, ...(params ? { params } : {}) });
const ECHO = { name: "notes_echo", arguments: { note: "batch" } };

test("batches in 2025-03-26 are answered as one array", options, async () => {
  const session = await openSession(portal, { token, revision: "2025-03-26" });
  const batch = [
    request(1, "ping"),
    request("two", "tools/call", ECHO),
    { jsonrpc: "2.0", method: "notifications/initialized" },
    request(3, "no/such"),
    request(4, "tools/call", { name: "notes_delete_note", arguments: {} }),
    { jsonrpc: "2.0", id: 5, method: 5 },
  ];
  const answer = await session.send(JSON.stringify(batch));
  assert.equal(answer.status, 200, answer.text.slice(0, 300));
  const answers = new Map(answer.json.map((each) => [each.id, each]));
  assert.deepEqual(answers.get(1).result, {});
  assert.equal(answers.get("two").result.content[0].text, '{"note":"batch"}');
  assert.equal(answers.get(3).error.code, -32601);
  assert.equal(answers.get(4).error.code, PARAMS);
  assert.equal(answer.json.length, 5, "a notification is not answered, a broken message is");
  assert.equal(answer.json.filter((each) => each.error?.code === INVALID).length, 1);
  const quiet = await session.send(JSON.stringify([{ jsonrpc: "2.0", method: "notifications/initialized" }]));
  assert.equal(quiet.status, 202);
});

test("each call in a batch is governed and recorded as itself", options, async () => {
  const session = await openSession(portal, { token, revision: "2025-03-26" });
  const before = world.upstream.calls;
  const ids = Array.from({ length: 10 }, (_, index) => index);
  const names = ids.map((id) => (id % 2 ? "notes_echo" : "notes_secret_read"));
  const sent = ids.map((id) => request(id, "tools/call", { name: names[id], arguments: {} }));
  const answer = await session.send(JSON.stringify(sent));
  assert.equal(answer.json.length, 10);
  assert.equal(world.upstream.calls - before, 5);
  const refused = answer.json.find((each) => each.error).error.data.requestId;
  const [rows] = await auditCounts(portal, [refused]);
  assert.equal(rows, 10, "ten calls of one request are ten rows under its id");
});

test("batches that are none", options, async () => {
  const one = JSON.stringify([request(1, "ping")]);
  const old = await openSession(portal, { token, revision: "2025-03-26" });
  const rows = [
    { name: "an empty batch", act: () => old.send("[]"), status: 400, code: INVALID },
    { name: "a batch in a batch", act: () => old.send(`[${one}]`), status: [200, 400] },
    { name: "a batch that is cut short", act: () => old.send(one.slice(0, -1)), status: 400, code: PARSE },
    {
      name: "a key given twice",
      act: () => old.send('[{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}]'),
      status: 400,
    },
    {
      name: "a batch of 5,000",
      act: () =>
        old.send(JSON.stringify(Array.from({ length: 5_000 }, (_, id) => request(id, "tools/call", ECHO)))),
      status: 400,
      code: INVALID,
    },
  ];
  for (const revision of ["2025-06-18", "2025-11-25"]) {
    const session = await openSession(portal, { token, revision });
    rows.push({ name: `${revision}`, act: () => session.send(one), status: 400, code: INVALID });
  }
  const nested = rows.splice(1, 1)[0];
  await refuseAll(world, rows);
  const answer = await nested.act();
  const errors = [answer.json].flat().map((each) => each.error?.code);
  assert.deepEqual(errors, [INVALID], answer.text);
});

test("initialize is no part of a batch", options, async () => {
  const old = await openSession(portal, { token, revision: "2025-03-26" });
  const params = { protocolVersion: "2025-03-26", capabilities: {}, clientInfo: { name: "x", version: "1" } };
  const answer = await old.send(JSON.stringify([request(1, "initialize", params)]));
  const said = [answer.json].flat()[0];
  assert.ok(said.error, `initialize in a batch was answered: ${answer.text.slice(0, 300)}`);
});

test("every refusal above has exactly one row in the trail", options, () => assertRecorded(world));
