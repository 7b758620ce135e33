// The trail: a write's intent before the upstream hears of it, its outcome before the client does, one row for anything
// else, and nothing lost when the worker dies in between.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { startPortal } from "../harness/portal.mjs";
import {
  callTool,
  legacy,
  modern,
  modernHeaders,
  modernMessage,
  openSession,
  send,
} from "./support/client.mjs";
import { event, gate } from "./support/upstream.mjs";
import { startWorld } from "./support/world.mjs";

const options = { timeout: 90_000 };
const ROWS_MS = 10_000;
/** Longer than any batch is on its way, so that a row too many would be there. */
const REST_MS = 1_500;

let world;
let portal;
let token;

before(async () => {
  world = await startWorld();
  ({ portal, token } = world);
});

after(() => world?.stop());

const rest = () => new Promise((resolve) => setTimeout(resolve, REST_MS));
const kinds = (rows) => rows.map((row) => `${row.kind} ${row.status}`);

/** The rows of a person, oldest first: each test has one of its own. */
function rowsOf(email, from = portal) {
  return from.d1("SELECT * FROM audit_events WHERE email = ? ORDER BY id", email);
}

async function person(name) {
  const email = `${name}@acme.example`;
  return { email, token: await world.issuer.token({ email }) };
}

/** Waits for so many rows, then sees that there are not more. */
async function settledRows(email, count, from = portal) {
  await eventually(async () => (await rowsOf(email, from)).length >= count, {
    ms: ROWS_MS,
    what: `${count} rows of ${email}`,
  }).catch(() => {});
  await rest();
  return await rowsOf(email, from);
}

const CLIENTS = {
  modern: async (who) => (name, what) => callTool(portal, name, { note: "n" }, { token: who.token, ...what }),
  legacy: async (who) => (name) =>
    legacy(portal, "tools/call", { name, arguments: { note: "n" } }, { token: who.token }),
  session: async (who) => {
    const session = await openSession(portal, { token: who.token });
    return (name) => session.ask("tools/call", { name, arguments: { note: "n" } });
  },
};

for (const [client, open] of Object.entries(CLIENTS)) {
  test(`a write's intent is durable before the upstream hears of it (${client})`, options, async () => {
    const who = await person(`writer-${client}`);
    const call = await open(who);
    const { opened, open: letGo } = gate();
    let heardMs = 0;
    world.upstream.intercept = async (seen) => {
      if (seen.message?.params?.name === "write_note") {
        heardMs = Date.now();
        await opened;
      }
      return false;
    };
    try {
      const answering = call("notes_write_note");
      await eventually(() => heardMs > 0, { what: "the upstream hears of the call" });
      // The upstream holds the call: whatever is in the trail now was written before.
      const held = await eventually(async () => {
        const rows = await rowsOf(who.email);
        return rows.length > 0 && rows;
      });
      assert.deepEqual(kinds(held), ["intent pending"]);
      assert.ok(held[0].at_ms <= heardMs, "the intent is younger than the call");
      letGo();
      const answer = await answering;
      const repliedMs = Date.now();
      assert.ok(answer.json.result, answer.text);
      const rows = await settledRows(who.email, 2);
      assert.deepEqual(kinds(rows), ["intent pending", "outcome ok"]);
      const [intent, outcome] = rows;
      assert.equal(intent.request_id, outcome.request_id);
      assert.ok(
        intent.id < outcome.id && outcome.at_ms <= repliedMs,
        "the outcome is younger than the reply",
      );
      for (const row of rows) {
        assert.deepEqual(
          [row.method, row.server, row.target, row.is_write, row.portal, row.era],
          ["tools/call", "notes", "write_note", 1, "main", client === "modern" ? "modern" : "legacy"],
        );
      }
    } finally {
      letGo();
      world.upstream.intercept = undefined;
    }
  });

  test(`a read is one row, and so is whatever fails (${client})`, options, async () => {
    const who = await person(`reader-${client}`);
    const call = await open(who);
    const wanted = {
      notes_echo: "outcome ok",
      notes_fail: "outcome tool_error",
      notes_reject: "outcome rpc_error",
      notes_none: "refusal refused",
      notes_secret_read: "refusal refused",
    };
    for (const name of Object.keys(wanted)) {
      await call(name);
    }
    const rows = await settledRows(who.email, 5);
    assert.deepEqual(kinds(rows), Object.values(wanted));
    assert.equal(new Set(rows.map((row) => row.request_id)).size, 5);
    assert.ok(rows.every((row) => row.duration_ms >= 0 && row.revision > 0 && row.request_bytes > 0));
  });
}

test("a streamed result is one row, written when the stream has ended", options, async () => {
  const who = await person("streamed");
  const { opened, open: letGo } = gate();
  world.upstream.intercept = async (seen, response) => {
    if (seen.message?.method !== "tools/call") {
      return false;
    }
    const { id } = seen.message;
    response.writeHead(200, { "content-type": "text/event-stream" });
    const progress = { progressToken: 1, progress: 1 };
    response.write(event({ jsonrpc: "2.0", method: "notifications/progress", params: progress }));
    await opened;
    response.end(event({ jsonrpc: "2.0", id, result: { resultType: "complete", content: [] } }));
    return true;
  };
  try {
    const answering = callTool(portal, "notes_write_note", {}, { token: who.token });
    await rest();
    assert.deepEqual(kinds(await rowsOf(who.email)), ["intent pending"]);
    letGo();
    assert.ok((await answering).json.result);
    assert.deepEqual(kinds(await settledRows(who.email, 2)), ["intent pending", "outcome ok"]);
  } finally {
    letGo();
    world.upstream.intercept = undefined;
  }
});

for (const name of ["notes_echo", "notes_write_note"]) {
  test(`a client that goes away leaves its rows all the same (${name})`, options, async () => {
    const who = await person(`gone-${name}`);
    const { opened, open: letGo } = gate();
    const before = world.upstream.calls;
    world.upstream.intercept = async (seen) => {
      if (seen.message?.method === "tools/call") {
        await opened;
      }
      return false;
    };
    try {
      const gone = new AbortController();
      const answering = callTool(portal, name, {}, { token: who.token, signal: gone.signal });
      answering.catch(() => {});
      await eventually(() => world.upstream.calls > before, { what: "the upstream hears of the call" });
      gone.abort();
      await assert.rejects(answering);
      letGo();
      const count = name === "notes_echo" ? 1 : 2;
      const rows = await settledRows(who.email, count);
      assert.equal(rows.length, count, kinds(rows).join(", "));
      assert.equal(rows.at(-1).kind, "outcome");
    } finally {
      letGo();
      world.upstream.intercept = undefined;
    }
  });
}

test("200 mixed calls at once leave exactly the rows they owe", options, async () => {
  const who = await person("crowd");
  const before = world.upstream.calls;
  const session = await openSession(portal, { token: who.token });
  const spoil = (name) => {
    const message = modernMessage("tools/call", { name, arguments: {} });
    const headers = { ...modernHeaders(message), "mcp-name": "other" };
    return send(portal, { token: who.token, headers, body: JSON.stringify(message) });
  };
  // [call, rows it owes, calls the upstream hears]
  const deeds = [
    [() => callTool(portal, "notes_echo", {}, { token: who.token }), 1, 1],
    [() => callTool(portal, "notes_write_note", {}, { token: who.token }), 2, 1],
    [() => callTool(portal, "notes_delete_note", {}, { token: who.token }), 1, 0],
    [() => session.ask("tools/call", { name: "notes_echo", arguments: {} }), 1, 1],
    [() => session.ask("tools/call", { name: "notes_write_note", arguments: {} }), 2, 1],
    [() => legacy(portal, "tools/call", { name: "notes_none", arguments: {} }, { token: who.token }), 1, 0],
    [() => modern(portal, "no/such", {}, { token: who.token }), 1, 0],
    [() => spoil("notes_echo"), 1, 0],
    [() => modern(portal, "tools/list", {}, { token: who.token }), 1, 0],
    [() => callTool(portal, "notes_fail", {}, { token: who.token }), 1, 1],
  ];
  const jobs = Array.from({ length: 200 }, (_, n) => deeds[n % deeds.length]);
  const answers = await Promise.all(jobs.map(([act]) => act()));
  assert.deepEqual([...new Set(answers.map((answer) => answer.status))].sort(), [200, 400, 404]);
  const owed = jobs.reduce((sum, [, rows]) => sum + rows, 0);
  const heard = jobs.reduce((sum, [, , calls]) => sum + calls, 0);
  assert.equal(world.upstream.calls - before, heard);
  const rows = await settledRows(who.email, owed);
  assert.equal(rows.length, owed);
  assert.equal(rows.filter((row) => row.kind === "intent").length, 40);
  assert.equal(rows.filter((row) => row.kind === "refusal").length, 80);
  assert.equal(new Set(rows.map((row) => row.id)).size, owed);
});

test("rows hold names and numbers, never arguments or results", options, async () => {
  const who = await person("discreet");
  await callTool(portal, "notes_echo", { note: "mark-argument" }, { token: who.token });
  await callTool(portal, "notes_write_note", { note: "mark-argument" }, { token: who.token });
  const rows = await settledRows(who.email, 3);
  assert.equal(rows.length, 3);
  assert.ok(!JSON.stringify(rows).includes("mark-argument"));
});

test("names that would break a row do not", options, async () => {
  const who = await person("quoted");
  const names = ["'); DROP TABLE audit_events;--", '"\\', "\u0000x", "\ud83d\ude00", "x".repeat(1_500)];
  for (const name of names) {
    const headers = { "mcp-name": `=?base64?${Buffer.from(name).toString("base64")}?=` };
    const answer = await callTool(portal, name, {}, { token: who.token, headers });
    assert.equal(answer.json.error.code, -32602, answer.text);
  }
  const rows = await settledRows(who.email, names.length);
  assert.deepEqual(
    rows.map((row) => row.target),
    names,
  );
});

test("rows outlive the worker: killed in mid-call, and right after a reply", options, async () => {
  const state = mkdtempSync(join(tmpdir(), "portcullis-audit-"));
  const secrets = { SEAL_KEY: randomBytes(32).toString("base64url") };
  const start = () => startPortal({ config: world.document, state, secrets });
  const [killed, replied] = [await person("killed"), await person("replied")];
  const { opened, open: letGo } = gate();
  const before = world.upstream.calls;
  let first;
  let second;
  try {
    first = await start();
    const reply = await callTool(first, "notes_write_note", {}, { token: replied.token });
    assert.ok(reply.json.result, reply.text);
    world.upstream.intercept = async (seen) => {
      if (seen.message?.method === "tools/call") {
        await opened;
      }
      return false;
    };
    const answering = callTool(first, "notes_write_note", {}, { token: killed.token });
    answering.catch(() => {});
    await eventually(() => world.upstream.calls === before + 2, {
      what: "the upstream holds the second call",
    });
    process.kill(first.pid, "SIGKILL");
    await assert.rejects(answering);
    await first.stop().catch(() => {});
    letGo();
    world.upstream.intercept = undefined;
    second = await start();
    // One more event of anybody's: a ledger wakes up when it is written to, at the latest.
    for (let n = 0; n < 8; n += 1) {
      await callTool(second, "notes_echo", {}, { token });
    }
    assert.deepEqual(kinds(await settledRows(killed.email, 1, second)), ["intent pending"]);
    assert.deepEqual(kinds(await settledRows(replied.email, 2, second)), ["intent pending", "outcome ok"]);
  } finally {
    letGo();
    world.upstream.intercept = undefined;
    await second?.stop();
    rmSync(state, { recursive: true, force: true });
  }
});
