// Faults that other gateways had, each as a test with its number in our list of them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  callTool,
  legacy,
  modern,
  modernHeaders,
  modernMessage,
  openSession,
  send,
} from "./support/client.mjs";
import { assertRecorded, refuseAll } from "./support/refusals.mjs";
import { startUpstream } from "./support/upstream.mjs";
import { portalEntry, startWorld } from "./support/world.mjs";

const options = { timeout: 60_000 };

let world;
let portal;
let token;
let old;
let spare;

before(async () => {
  old = await startUpstream({ era: "legacy" });
  spare = await startUpstream({ era: "legacy" });
  world = await startWorld({
    config: ({ usual }) => {
      const tools = { default: "read_only", allow: ["write_*"] };
      const servers = {
        ...usual.servers,
        old: { url: old.url, tools },
        spare: { url: spare.url, era: "legacy", tools },
      };
      const audience = ["portcullis"];
      const portals = {
        main: portalEntry(["notes", "old", "spare"], { audience }),
        other: portalEntry(["notes"], { audience, hostnames: [] }),
        norule: portalEntry(["notes"], { audience, hostnames: [], access: [] }),
      };
      return { ...usual, servers, portals };
    },
  });
  ({ portal, token } = world);
  world.upstreams.push(old, spare);
});

after(async () => {
  await world?.stop();
  await Promise.all([old, spare].map((each) => each?.stop()));
});

const textOf = (answer) => answer.json?.result?.content?.[0]?.text;

test(
  "1: the body decides and never a header; a wrong one is a clear 400 for that request only",
  options,
  async () => {
    const discover = (headers) => () => modern(portal, "server/discover", {}, { token, headers });
    await refuseAll(world, [
      {
        name: "discover, wrong method",
        act: discover({ "mcp-method": "tools/call" }),
        status: 400,
        code: -32020,
      },
      {
        name: "discover, wrong version",
        act: discover({ "mcp-protocol-version": "2025-11-25" }),
        status: 400,
        code: -32020,
      },
    ]);
    const good = await discover({})();
    assert.ok(good.json.result.supportedVersions.includes("2026-07-28"), good.text);
    const session = await openSession(portal, { token });
    const headers = { "mcp-name": "notes_secret_read", "mcp-method": "tools/list" };
    const answer = await session.ask(
      "tools/call",
      { name: "notes_echo", arguments: { note: "body" } },
      { headers },
    );
    assert.equal(
      textOf(answer),
      '{"note":"body"}',
      "a legacy client has no such headers, so they say nothing",
    );
  },
);

test("2: a call sent to a well-known path is refused", options, async () => {
  const places = ["oauth-protected-resource", "oauth-protected-resource/mcp", "oauth-authorization-server"];
  places.push(
    "oauth-authorization-server/mcp",
    "openid-configuration",
    "mcp",
    "mcp.json",
    "anything/mcp",
    "../mcp/x",
  );
  const rows = places.flatMap((place) =>
    [token, undefined].map((each) => ({
      name: `${place} ${each ? "with" : "without"} a token`,
      act: () => callTool(portal, "notes_echo", {}, { token: each, path: `/.well-known/${place}` }),
      status: [404, 405],
      audit: false,
    })),
  );
  await refuseAll(world, rows);
});

test(
  "6: an upstream session that expired is renewed, for that server only and without the client",
  options,
  async () => {
    const session = await openSession(portal, { token });
    const clients = { modern: (name) => callTool(portal, name, { note: "n" }, { token }) };
    clients.legacy = (name) => session.ask("tools/call", { name, arguments: { note: "n" } });
    for (const [era, call] of Object.entries(clients)) {
      for (const name of ["old_echo", "spare_echo"]) {
        assert.equal(textOf(await call(name)), '{"note":"n"}', `${era} ${name}`);
      }
      const before = [old.initialized, spare.initialized];
      old.sessions.clear();
      assert.equal(textOf(await call("old_echo")), '{"note":"n"}', `${era}, after the session was lost`);
      assert.equal(textOf(await call("spare_echo")), '{"note":"n"}');
      assert.deepEqual([old.initialized, spare.initialized], [before[0] + 1, before[1]], era);
      old.sessions.clear();
      const writes = () => old.governed().filter((each) => each.message.params.name === "write_note");
      const answered = writes().length;
      assert.equal(textOf(await call("old_write_note")), '{"note":"n"}', `${era}, a write`);
      assert.equal(writes().length, answered + 2, "once refused without effect, once done");
    }
  },
);

test("7: a client without a session is never asked for one", options, async () => {
  const clients = {
    modern: (method, params) => modern(portal, method, params, { token }),
    "legacy without a session": (method, params) => legacy(portal, method, params, { token }),
    "2025-03-26 without a session": (method, params) =>
      legacy(portal, method, params, { token, revision: "2025-03-26" }),
  };
  for (const [name, ask] of Object.entries(clients)) {
    const listed = await ask("tools/list", {});
    assert.ok(listed.json.result?.tools.length > 10, `${name}: ${listed.text.slice(0, 200)}`);
    for (const tool of ["notes_echo", "old_echo"]) {
      const answer = await ask("tools/call", { name: tool, arguments: { note: name } });
      assert.equal(textOf(answer), JSON.stringify({ note: name }), `${name}: ${answer.text.slice(0, 200)}`);
      assert.equal(answer.headers["mcp-session-id"], undefined);
    }
  }
});

test(
  "8: two sessionless clients share nothing: equal ids at the same moment get their own answers",
  options,
  async () => {
    const bob = await world.issuer.token({ email: "bob@acme.example" });
    const ask = async (who, note, name) => {
      const message = { ...modernMessage("tools/call", { name, arguments: { note } }), id: 1 };
      return await send(portal, {
        token: who,
        body: JSON.stringify(message),
        headers: modernHeaders(message),
      });
    };
    const jobs = Array.from({ length: 40 }, (_, n) => [
      n % 2 ? token : bob,
      `note-${n}`,
      n % 3 ? "notes_echo" : "old_echo",
    ]);
    const answers = await Promise.all(jobs.map((job) => ask(...job)));
    answers.forEach((answer, n) => {
      assert.equal(answer.json.id, 1);
      assert.equal(textOf(answer), JSON.stringify({ note: `note-${n}` }), answer.text.slice(0, 200));
    });
    const sessions = old
      .governed()
      .map((each) => [each.headers["mcp-session-id"], each.message.params.arguments.note]);
    const of = (parity) =>
      new Set(
        sessions.filter(([, note]) => /^note-/.test(note) && note.slice(5) % 2 === parity).map(([id]) => id),
      );
    assert.ok(
      [...of(0)].every((id) => !of(1).has(id)),
      "two people shared one upstream session",
    );
  },
);

test("16: a portal without an access rule admits nobody", options, async () => {
  const path = "/p/norule/mcp";
  await refuseAll(world, [
    {
      name: "an employee",
      act: () => callTool(portal, "notes_echo", {}, { token, path }),
      status: 403,
      code: -32000,
    },
    {
      name: "a listing",
      act: () => modern(portal, "tools/list", {}, { token, path }),
      status: 403,
      code: -32000,
    },
    {
      name: "legacy",
      act: () => legacy(portal, "tools/list", {}, { token, path }),
      status: 403,
      code: -32000,
    },
    { name: "nobody", act: () => callTool(portal, "notes_echo", {}, { path }), status: 401, code: -32000 },
  ]);
});

test("every refusal above has exactly one row in the trail", options, () => assertRecorded(world));
