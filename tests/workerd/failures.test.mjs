// What an upstream does wrong is said as such: never silence, never an empty list, never its own bytes as an answer.
// The numbers are those of our list of other gateways' faults.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { callTool, legacy, modern, openSession } from "./support/client.mjs";
import { auditRows } from "./support/refusals.mjs";
import { respond } from "./support/upstream.mjs";
import { portalEntry, startWorld } from "./support/world.mjs";

const options = { timeout: 60_000 };

let world;
let portal;
let token;
let frail;

before(async () => {
  world = await startWorld({
    config: ({ usual, upstream }) => {
      const tools = { default: "read_only", allow: ["write_*"] };
      const servers = { frail: { url: upstream.url, era: "modern", tools, timeout_ms: 2_000 } };
      return { ...usual, servers, portals: { main: portalEntry(["frail"], { audience: ["portcullis"] }) } };
    },
  });
  ({ portal, token, upstream: frail } = world);
});

after(() => world?.stop());

const textOf = (answer) => answer.json?.result?.content?.[0]?.text;

const FAILURES = {
  500: (_, response) => response.writeHead(500).end("oops"),
  "HTML instead of JSON": (_, response) =>
    response.writeHead(200, { "content-type": "text/html" }).end("<p>hi"),
  "broken JSON": (_, response) =>
    response.writeHead(200, { "content-type": "application/json" }).end('{"jsonrpc'),
  "an empty body": (_, response) => response.writeHead(200, { "content-type": "application/json" }).end(),
  "a closed connection": (_, response) => response.destroy(),
  "an answer to another id": (_, response) =>
    respond(response, 200, { jsonrpc: "2.0", id: "other", result: {} }),
  "a result that is a text": (seen, response) =>
    respond(response, 200, { jsonrpc: "2.0", id: seen.message?.id, result: "x" }),
  "JSON that is no message": (_, response) => respond(response, 200, { error: "invalid_request" }),
  "a list of messages": (seen, response) =>
    respond(response, 200, [{ jsonrpc: "2.0", id: seen.message?.id, result: {} }]),
  "an answer without a version": (seen, response) =>
    respond(response, 200, { id: seen.message?.id, result: {} }),
  "neither result nor error": (seen, response) =>
    respond(response, 200, { jsonrpc: "2.0", id: seen.message?.id }),
  "both result and error": (seen, response) =>
    respond(response, 200, {
      jsonrpc: "2.0",
      id: seen.message?.id,
      result: {},
      error: { code: 1, message: "x" },
    }),
  "an error that is a text": (seen, response) =>
    respond(response, 200, { jsonrpc: "2.0", id: seen.message?.id, error: "x" }),
  "a stream that ends early": (_, response) =>
    response.writeHead(200, { "content-type": "text/event-stream" }).end(":\n\n"),
  silence: () => {},
};

for (const [name, fail] of Object.entries(FAILURES)) {
  test(`11: an upstream that fails (${name}) is an explicit error in a call`, options, async () => {
    assert.equal(
      textOf(await callTool(portal, "frail_echo", { note: "well" }, { token })),
      '{"note":"well"}',
    );
    frail.intercept = (seen, response) => {
      fail(seen, response);
      return true;
    };
    try {
      for (const tool of ["frail_echo", "frail_write_note"]) {
        const answer = await callTool(portal, tool, {}, { token });
        assert.equal(answer.json?.id, answer.id, `${tool}: ${answer.status} ${answer.text.slice(0, 200)}`);
        assert.equal(answer.json.error?.code, -32000, answer.text.slice(0, 200));
        assert.match(answer.json.error.message, /frail/, "it says which server");
        const rows = await auditRows(portal, answer.json.error.data.requestId, tool === "frail_echo" ? 1 : 2);
        const status = rows.map((row) => [row.kind, row.status]);
        const outcome = ["outcome", "upstream_failed"];
        assert.deepEqual(status, tool === "frail_echo" ? [outcome] : [["intent", "pending"], outcome]);
      }
    } finally {
      frail.intercept = undefined;
    }
  });
}

test("11: a listing that lacks a server says so, and no server at all is an error", options, async () => {
  const broken = await startWorld({
    config: ({ usual }) => {
      const dead = { url: "http://127.0.0.1:1/mcp", era: "modern" };
      const portals = {
        main: portalEntry(["notes", "dead"], { audience: ["portcullis"] }),
        alone: portalEntry(["dead"], { audience: ["portcullis"], hostnames: [] }),
      };
      return { ...usual, servers: { ...usual.servers, dead }, portals };
    },
  });
  try {
    const session = await openSession(broken.portal, { token: broken.token });
    const alone = { token: broken.token, path: "/p/alone/mcp" };
    for (const method of ["tools/list", "resources/list", "prompts/list", "resources/templates/list"]) {
      for (const ask of [
        (what) => modern(broken.portal, method, {}, what),
        (what) => session.ask(method, {}, what),
      ]) {
        const some = await ask({ token: broken.token });
        assert.match(
          JSON.stringify(some.json.result?._meta ?? {}),
          /dead/,
          `${method}: ${some.text.slice(0, 300)}`,
        );
      }
      const none = await modern(broken.portal, method, {}, alone);
      assert.ok(none.json.error, `${method} of nobody: ${none.text.slice(0, 300)}`);
      assert.match(none.json.error.message, /dead/);
      const older = await legacy(broken.portal, method, {}, alone);
      assert.ok(older.json.error, `legacy ${method} of nobody: ${older.text.slice(0, 300)}`);
    }
  } finally {
    await broken.stop();
  }
});

test("17: an upstream's 401 is told as such, whatever its body looks like", options, async () => {
  const refusal = (id) => JSON.stringify({ jsonrpc: "2.0", id, error: { code: -32001, message: "no" } });
  const bodies = {
    none: () => "",
    html: () => "<p>",
    json: () => '{"error":"invalid_token"}',
    "an error of no request": () => refusal(null),
    "an error of the request": (id) => refusal(id),
  };
  const faults = [];
  for (const status of [401, 403]) {
    for (const [kind, body] of Object.entries(bodies)) {
      frail.intercept = (seen, response) => {
        const type = kind === "html" ? "text/html" : "application/json";
        const challenge = { "content-type": type, "www-authenticate": 'Bearer realm="frail"' };
        response.writeHead(status, challenge).end(body(seen.message?.id));
        return true;
      };
      const answer = await callTool(portal, "frail_echo", {}, { token });
      frail.intercept = undefined;
      try {
        assert.equal(answer.status, 200, "the client's own sign-in is not in question");
        assert.equal(answer.headers["www-authenticate"], undefined);
        assert.equal(answer.json?.id, answer.id);
        // The server's own words will do where it spoke the protocol.
        if (!kind.startsWith("an error")) {
          assert.match(answer.json.error.message, /frail.*credential/);
        }
        assert.ok(answer.json.error);
      } catch (error) {
        faults.push(`${status} ${kind}: ${answer.text.slice(0, 200)} (${error.message.split("\n")[0]})`);
      }
    }
  }
  assert.deepEqual(faults, []);
});
