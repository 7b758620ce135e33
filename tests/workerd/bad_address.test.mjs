// The wrong host, site, path, HTTP method or session: refused before anything is read from the message.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { callTool, legacy, legacyHeaders, modern, openSession, send } from "./support/client.mjs";
import { assertRecorded, refuseAll } from "./support/refusals.mjs";
import { startWorld } from "./support/world.mjs";

const options = { timeout: 60_000 };
const INVALID = -32600;
const NO_SESSION = "0".repeat(32);
const PING = JSON.stringify({ jsonrpc: "2.0", id: 5, method: "ping" });

let world;
let portal;
let token;
let port;

before(async () => {
  world = await startWorld();
  ({ portal, token } = world);
  port = new URL(portal.origin).port;
});

after(() => world?.stop());

const callAt = (what) => () => callTool(portal, "notes_echo", {}, { token, ...what });

test("host names that are nobody's", options, async () => {
  const hosts = [
    "evil.example",
    `evil.example:${port}`,
    "localhost.evil.example",
    `localhost.evil.example:${port}`,
    "evillocalhost",
    "127.0.0.1.evil.example",
    "127.0.0.2",
    "[::1]",
    "xn--lcalhost-54a",
  ];
  await refuseAll(
    world,
    hosts.map((host) => ({ name: host, act: callAt({ host }), status: 404, code: INVALID, id: null })),
  );
});

test("host headers that are no host names never reach a portal", options, async () => {
  const before = world.upstream.calls;
  for (const host of [
    "localhost:1.evil.example",
    "localhost@evil.example",
    "localhost/evil",
    "a b",
    "localhost#",
  ]) {
    const answer = await callAt({ host })().catch((error) => {
      // A closed connection is a refusal too; an answer that never comes is not.
      assert.ok(error.code, error.message);
      return { status: 400, text: error.message };
    });
    // Whatever is no URL is answered by the platform in front of the worker, with a status of its own.
    assert.ok(answer.status >= 400, `${host}: ${answer.status} ${answer.text.slice(0, 200)}`);
  }
  assert.equal(world.upstream.calls, before);
});

test("a host name is a host name in any case and on any port", options, async () => {
  for (const host of [`LocalHost:${port}`, `localhost:${port}`, `127.0.0.1:${port}`]) {
    const answer = await callAt({ host })();
    assert.equal(answer.status, 200, `${host}: ${answer.text.slice(0, 200)}`);
  }
});

test("sites a browser may not come from", options, async () => {
  const origins = [
    "http://evil.example",
    "https://localhost.evil.example",
    "http://localhost:1.evil.example",
    `http://localhost:${port}.evil.example`,
    `http://localhost:${port}@evil.example`,
    "http://127.0.0.1.evil.example",
    "http://evillocalhost",
    "http://evil.example/localhost",
    `http://evil.example?${"x"}=http://localhost:${port}`,
    "http://evil.example#localhost",
    "http://evil.example\\@localhost",
    "null",
    "localhost",
    "file://",
    "file://localhost",
    "data:text/html,localhost",
    "javascript://localhost/%0aalert(1)",
    "*",
    `http://evil.example/${"x".repeat(8_000)}`,
    [`http://localhost:${port}`, "http://evil.example"],
  ];
  await refuseAll(
    world,
    origins.map((origin) => ({
      name: `origin ${String(origin).slice(0, 60)}`,
      act: callAt({ headers: { origin } }),
      status: 403,
      code: INVALID,
    })),
  );
  // Nobody reads a header that long, so it is not taken for a site that may come either.
  const endless = { origin: `http://localhost:${port}/${"x".repeat(17_000)}` };
  await refuseAll(world, [
    { name: "17 KB of origin", act: callAt({ headers: endless }), status: 431, code: INVALID },
  ]);
  for (const origin of [`http://localhost:${port}`, `http://127.0.0.1:${port}`]) {
    const answer = await callAt({ headers: { origin } })();
    assert.equal(answer.status, 200, `${origin}: ${answer.text.slice(0, 200)}`);
  }
});

test(
  "a foreign site is refused before its token is looked at, and on GET and DELETE too",
  options,
  async () => {
    const headers = { origin: "http://evil.example" };
    await refuseAll(world, [
      { name: "no token", act: callAt({ token: undefined, headers }), status: 403, code: INVALID },
      { name: "GET", act: () => send(portal, { verb: "GET", token, headers }), status: 403, code: INVALID },
      {
        name: "DELETE",
        act: () => send(portal, { verb: "DELETE", token, headers }),
        status: 403,
        code: INVALID,
      },
    ]);
  },
);

test("paths that only look like the endpoint", options, async () => {
  const paths = [
    "/mcp/",
    "//mcp",
    "/MCP",
    "/mcp%2f",
    "/%6dcp",
    "/mcp;x",
    "/mcp.json",
    "/x/mcp",
    "/mcp/mcp",
    "/sse",
  ];
  paths.push(
    "/p/main/mcp/",
    "/p//main/mcp",
    "/p/main%2Fmcp",
    "/p/main/MCP",
    "/p/main/x/mcp",
    "/p/mcp/",
    "/mcp%00",
  );
  await refuseAll(
    world,
    paths.map((path) => ({ name: path, act: callAt({ path }), status: [404, 405], audit: false })),
  );
  const named = [
    "/p//mcp",
    "/p/none/mcp",
    "/p/%6dain/mcp",
    "/p/MAIN/mcp",
    "/p/main%00/mcp",
    `/p/${"x".repeat(3_000)}/mcp`,
  ];
  named.push("/p/..%2f..%2fmcp/mcp", "/p/main'--/mcp", "/p/__proto__/mcp");
  await refuseAll(
    world,
    named.map((path) => ({ name: path.slice(0, 40), act: callAt({ path }), status: 404, code: INVALID })),
  );
  assert.equal((await callAt({ path: "/mcp?x=1" })()).status, 200, "a query changes nothing");
});

test("HTTP methods", options, async () => {
  const allowed = (answer) =>
    assert.match(answer.headers.allow ?? "", /POST/, "the answer says what is allowed");
  const verbs = ["GET", "DELETE", "PUT", "PATCH", "OPTIONS"];
  const rows = verbs.map((verb) => ({
    name: `${verb} without a session`,
    act: () => send(portal, { verb, token }),
    status: 405,
    code: INVALID,
    check: allowed,
  }));
  for (const verb of ["GET", "DELETE"]) {
    const headers = { accept: "text/event-stream", "mcp-protocol-version": "2026-07-28" };
    rows.push({
      name: `modern ${verb}`,
      act: () => send(portal, { verb, token, headers }),
      status: 405,
      code: INVALID,
    });
  }
  await refuseAll(world, rows);
  const head = await send(portal, { verb: "HEAD", token });
  assert.equal(head.status, 405);
});

test("sessions that do not exist", options, async () => {
  const ids = [
    NO_SESSION,
    "x",
    "Z".repeat(32),
    "0".repeat(31),
    "0".repeat(33),
    "0".repeat(10_000),
    "../main",
    "0 0",
    "'",
  ];
  const as = (id) => (verb, body) => () =>
    send(portal, { verb, token, headers: legacyHeaders(id, "2025-11-25"), body });
  const rows = ids.flatMap((id) => {
    const at = as(id);
    const name = id.slice(0, 33);
    return [
      { name: `POST ${name}`, act: at("POST", PING), status: 404, code: -32000 },
      { name: `POST notification ${name}`, act: at("POST", PING.replace('"id":5,', "")), status: 404 },
      { name: `POST garbage ${name}`, act: at("POST", "{"), status: [400, 404] },
      { name: `GET ${name}`, act: at("GET"), status: 404, code: -32000 },
      { name: `DELETE ${name}`, act: at("DELETE"), status: 404, code: -32000 },
    ];
  });
  // A header that nobody reads is no reason to go on without a session.
  const endless = as("0".repeat(17_000));
  for (const [verb, body] of [["POST", PING], ["GET"], ["DELETE"]]) {
    rows.push({ name: `${verb}, 17 KB of id`, act: endless(verb, body), status: 431, code: INVALID });
  }
  await refuseAll(world, rows);
});

test("a session that has ended is unknown", options, async () => {
  const session = await openSession(portal, { token });
  assert.equal((await session.ask("ping")).status, 200);
  const end = () =>
    send(portal, { verb: "DELETE", token, headers: legacyHeaders(session.id, session.revision) });
  assert.ok([200, 204].includes((await end()).status));
  await refuseAll(world, [
    { name: "POST", act: () => session.ask("tools/list", {}), status: 404, code: -32000 },
    { name: "DELETE", act: end, status: 404, code: -32000 },
    {
      name: "call",
      act: () => session.ask("tools/call", { name: "notes_echo", arguments: {} }),
      status: 404,
    },
  ]);
});

test("initialize: what is missing or has the wrong type", options, async () => {
  const good = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "t", version: "1" } };
  const bad = {
    "no version": { ...good, protocolVersion: undefined },
    "a version that is a number": { ...good, protocolVersion: 20251125 },
    "capabilities that are a list": { ...good, capabilities: [] },
    "client info that is a text": { ...good, clientInfo: "me" },
    "no params": undefined,
  };
  const rows = Object.entries(bad).map(([name, params]) => ({
    name,
    act: () => legacy(portal, "initialize", params, { token, revision: undefined }),
    status: 200,
    code: -32602,
    check: (answer) => {
      assert.equal(answer.json.id, answer.id, "the error names the request");
      assert.equal(answer.headers["mcp-session-id"], undefined, "no session was opened");
    },
  }));
  await refuseAll(world, rows);
  const session = await openSession(portal, { token });
  const again = await session.ask("initialize", good);
  assert.notEqual(again.headers["mcp-session-id"], session.id, "a session is not initialized twice");
});

test("a modern request ignores a session id, even one that does not exist", options, async () => {
  const headers = { "mcp-session-id": NO_SESSION };
  const answer = await modern(portal, "tools/list", {}, { token, headers });
  assert.equal(answer.status, 200);
  assert.ok(answer.json.result.tools.length > 0);
  assert.equal(answer.headers["mcp-session-id"], undefined);
});

test("every refusal above has exactly one row in the trail", options, () => assertRecorded(world));
