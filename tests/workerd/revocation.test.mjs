// What an administrator takes away is gone within five seconds: for stateless calls, for sessions and for open streams.
// And while the store does not answer, reads go on for a while, writes do not, and no row is lost.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { applyConfig } from "../harness/config.mjs";
import {
  callTool,
  modern,
  modernHeaders,
  modernMessage,
  openSession,
  openStream,
} from "./support/client.mjs";
import { assertRecorded, refuseAll } from "./support/refusals.mjs";
import { startWorld } from "./support/world.mjs";

const options = { timeout: 90_000 };
const REVOKED_MS = 5_000;
const EPOCH_AGE_MS = 3_000;
const RETRY_MS = 12_000;

let world;
let portal;
let token;

before(async () => {
  world = await startWorld();
  ({ portal, token } = world);
});

after(() => world?.stop());

beforeEach(async () => {
  await apply(world.document);
  await eventually(async () => (await write()).json?.result, {
    ms: REVOKED_MS,
    what: "the usual rules hold",
  });
});

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const apply = (document) => applyConfig(portal.origin, document, portal.setupToken);
const read = () => callTool(portal, "notes_echo", {}, { token });
const write = () => callTool(portal, "notes_write_note", {}, { token });

/** The usual document with one portal changed. */
function changed(more) {
  const { main } = world.document.portals;
  return { ...world.document, portals: { main: { ...main, ...more } } };
}

/** Applies a document and demands that every one of these is refused within the promise, and stays so. */
async function revoke(document, asks) {
  for (const [name, ask] of Object.entries(asks)) {
    const answer = await ask();
    assert.equal(answer.status, 200, `${name} before: ${answer.text}`);
  }
  await apply(document);
  const end = Date.now() + REVOKED_MS;
  const isRefused = (answer) => answer.status >= 400 || answer.json?.error !== undefined;
  await Promise.all(
    Object.entries(asks).map(async ([name, ask]) => {
      let answer = await ask();
      while (!isRefused(answer) && Date.now() < end) {
        await sleep(100);
        answer = await ask();
      }
      assert.ok(isRefused(answer), `${name} still works: ${answer.text.slice(0, 200)}`);
    }),
  );
  await sleep(200);
  const before = world.upstream.calls;
  for (const [name, ask] of Object.entries(asks)) {
    assert.ok(isRefused(await ask()), `${name} works again`);
  }
  assert.equal(world.upstream.calls, before);
}

test("a person who may not enter any more: calls, sessions and open streams", options, async () => {
  const session = await openSession(portal, { token });
  const message = modernMessage("subscriptions/listen", { notifications: { toolsListChanged: true } });
  const headers = { "mcp-session-id": session.id, "mcp-protocol-version": session.revision };
  const streams = await Promise.all([
    openStream(portal, { token, headers }),
    openStream(portal, {
      verb: "POST",
      token,
      headers: modernHeaders(message),
      body: JSON.stringify(message),
    }),
  ]);
  const block = { action: "block", include: [{ email: "alice@acme.example" }] };
  await revoke(changed({ access: [block, ...world.document.portals.main.access] }), {
    modern: read,
    session: () => session.ask("tools/call", { name: "notes_echo", arguments: {} }),
    ping: () => session.ask("ping"),
    listing: () => modern(portal, "tools/list", {}, { token }),
  });
  await eventually(() => streams.every((stream) => stream.isEnded), {
    ms: REVOKED_MS,
    what: "both streams end",
  });
});

test("a tool that is denied from now on", options, async () => {
  const session = await openSession(portal, { token });
  const tools = { notes: { default: "read_only", deny: ["echo"] } };
  await revoke(changed({ tools }), {
    modern: read,
    session: () => session.ask("tools/call", { name: "notes_echo", arguments: {} }),
  });
  const listed = (await modern(portal, "tools/list", {}, { token })).json.result.tools.map(
    (tool) => tool.name,
  );
  assert.ok(!listed.includes("notes_echo"));
});

test("a server that is switched off, taken out of the portal, or gone", options, async () => {
  const { notes } = world.document.servers;
  const off = { ...world.document, servers: { notes: { ...notes, enabled: false } } };
  await revoke(off, { modern: read });
  await apply(world.document);
  await eventually(async () => (await read()).json?.result, { ms: REVOKED_MS });
  await revoke(changed({ servers: [] }), { modern: read });
});

test("an issuer that is not believed any more, whose tokens were remembered", options, async () => {
  const session = await openSession(portal, { token });
  await revoke(
    { ...world.document, identity: { issuers: {} } },
    { modern: read, session: () => session.ask("ping") },
  );
});

test("while the epoch cannot be read, reads go on and writes do not", options, async () => {
  await portal.d1("ALTER TABLE epoch RENAME TO epoch_away");
  try {
    await sleep(EPOCH_AGE_MS + 200);
    await eventually(async () => (await write()).json?.error, { ms: REVOKED_MS, what: "writes stop" });
    await refuseAll(world, [{ name: "a write", act: write, status: 503, code: -32000 }]);
    const answer = await read();
    assert.ok(answer.json.result, `a read: ${answer.status} ${answer.text}`);
  } finally {
    await portal.d1("ALTER TABLE epoch_away RENAME TO epoch");
  }
  await eventually(async () => (await write()).json?.result, { ms: REVOKED_MS, what: "writes go on" });
});

test("while D1 takes no rows, calls go on and no row is lost", options, async () => {
  const email = "patient@acme.example";
  const patient = await world.issuer.token({ email });
  await portal.d1("ALTER TABLE audit_events RENAME TO audit_away");
  let answers;
  try {
    const names = Array.from({ length: 20 }, (_, n) => (n % 2 ? "notes_echo" : "notes_write_note"));
    answers = await Promise.all(names.map((name) => callTool(portal, name, {}, { token: patient })));
    assert.ok(answers.every((answer) => answer.json.result));
    await sleep(1_500);
  } finally {
    await portal.d1("ALTER TABLE audit_away RENAME TO audit_events");
  }
  const count = async () =>
    (await portal.d1("SELECT COUNT(*) AS n FROM audit_events WHERE email = ?", email))[0].n;
  await eventually(async () => (await count()) >= 30, { ms: RETRY_MS, everyMs: 200, what: "30 rows" });
  await sleep(1_000);
  assert.equal(await count(), 30);
});

test("every refusal above has exactly one row in the trail", options, () => assertRecorded(world));
