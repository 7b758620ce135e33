// The portal's credentials at its upstreams: each goes to its own server and nowhere else, the client's goes nowhere,
// and nothing leads the portal to an address that the configuration did not name. (18 in our list of others' faults.)
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startIssuer } from "../harness/identity.mjs";
import { callTool, legacy, modern, openSession } from "./support/client.mjs";
import { startUpstream } from "./support/upstream.mjs";
import { issuerEntry, portalEntry, startWorld } from "./support/world.mjs";

const options = { timeout: 60_000 };
const SECRETS = {
  UPSTREAM_A: "secret-of-a-5f1c",
  UPSTREAM_KEY: "secret-key-77aa",
  UPSTREAM_UNTIED: "secret-untied-1d",
};

let world;
let portal;
let token;
let keyed;
let plain;
let lurer;
let lured;
let oldLurer;

before(async () => {
  [keyed, plain, lurer, lured] = await Promise.all([1, 2, 3, 4].map(() => startUpstream()));
  oldLurer = await startUpstream({ era: "legacy" });
  world = await startWorld({
    config: ({ usual, upstream }) => {
      const bearer = { kind: "bearer", secret: "UPSTREAM_A" };
      const tools = { default: "read_only", allow: ["write_*"] };
      const servers = {
        notes: { url: upstream.url, era: "modern", tools, auth: bearer },
        keyed: {
          url: keyed.url,
          era: "modern",
          tools,
          auth: { kind: "headers", headers: { "X-Api-Key": "UPSTREAM_KEY" } },
        },
        plain: { url: plain.url, era: "modern", tools },
        lurer: { url: lurer.url, era: "modern", tools, auth: bearer },
        oldlurer: { url: oldLurer.url, era: "legacy", tools, auth: bearer },
      };
      return {
        ...usual,
        servers,
        portals: { main: portalEntry(Object.keys(servers), { audience: ["portcullis"] }) },
      };
    },
    portal: {
      secrets: SECRETS,
      vars: { SECRET_HOSTS: JSON.stringify({ UPSTREAM_A: ["127.0.0.1"], UPSTREAM_KEY: ["127.0.0.1"] }) },
    },
  });
  ({ portal, token } = world);
});

after(async () => {
  await world?.stop();
  await Promise.all([keyed, plain, lurer, lured, oldLurer].map((each) => each?.stop()));
});

/** Everything a server was sent, as one text. */
const allOf = (upstream) =>
  JSON.stringify(upstream.seen.map(({ path, headers, text }) => [path, headers, text]));

test("each credential goes to its own server, with every request to it", options, async () => {
  const session = await openSession(portal, { token });
  for (const name of ["notes_echo", "keyed_echo", "plain_echo", "notes_write_note"]) {
    assert.equal((await callTool(portal, name, {}, { token })).json.error, undefined, name);
    assert.equal((await session.ask("tools/call", { name, arguments: {} })).json.error, undefined, name);
  }
  const { upstream } = world;
  assert.ok(upstream.seen.length >= 4 && keyed.seen.length >= 3 && plain.seen.length >= 3);
  for (const seen of upstream.seen) {
    assert.equal(seen.headers.authorization, `Bearer ${SECRETS.UPSTREAM_A}`, seen.message?.method);
  }
  for (const seen of keyed.seen) {
    assert.equal(seen.headers["x-api-key"], SECRETS.UPSTREAM_KEY, seen.message?.method);
    assert.equal(seen.headers.authorization, undefined);
  }
  assert.ok(!allOf(upstream).includes(SECRETS.UPSTREAM_KEY));
  assert.ok(!allOf(keyed).includes(SECRETS.UPSTREAM_A));
  for (const secret of [...Object.values(SECRETS), portal.setupToken]) {
    assert.ok(!allOf(plain).includes(secret), "a server without a credential was sent one");
  }
});

test("nothing of the client's own request goes along", options, async () => {
  const marks = {
    cookie: "mark-cookie=1",
    "cf-access-jwt-assertion": "",
    "x-forwarded-for": "mark-forwarded",
    "x-api-key": "mark-key",
    "proxy-authorization": "mark-proxy",
    referer: "http://localhost/mark-referer",
    "user-agent": "mark-agent",
    "mcp-param-region": "mark-region",
    "x-mark": "mark-own",
  };
  const { "mcp-param-region": _, ...legacyMarks } = marks;
  await callTool(portal, "plain_reflect", {}, { token, headers: marks });
  await callTool(portal, "keyed_reflect", {}, { token, headers: marks });
  await legacy(
    portal,
    "tools/call",
    { name: "plain_reflect", arguments: {} },
    { token, headers: legacyMarks },
  );
  const session = await openSession(portal, { token });
  await session.ask("tools/call", { name: "oldlurer_echo", arguments: {} }, { headers: legacyMarks });
  for (const upstream of [world.upstream, keyed, plain, oldLurer]) {
    const all = allOf(upstream);
    assert.ok(!all.includes(token) && !all.includes(token.split(".")[2]), "the client's token was passed on");
    assert.doesNotMatch(all, /mark-/);
    assert.ok(!all.includes(session.id), "the client's session id was passed on");
  }
});

test("the results hold no credential, nor does the audit", options, async () => {
  await callTool(portal, "notes_echo", {}, { token });
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  const rows = JSON.stringify(await portal.d1("SELECT * FROM audit_events"));
  const stored = JSON.stringify(await portal.d1("SELECT * FROM config_revisions"));
  for (const secret of [...Object.values(SECRETS), token]) {
    assert.ok(!rows.includes(secret) && !stored.includes(secret));
    assert.ok(!portal.logs.join("\n").includes(secret), "a credential is in the log");
  }
});

test("18: redirects are not followed, and the other place sees nothing", options, async () => {
  const faults = [];
  const session = await openSession(portal, { token });
  const calls = {
    modern: (name) => callTool(portal, `lurer_${name}`, {}, { token }),
    legacy: (name) => session.ask("tools/call", { name: `oldlurer_${name}`, arguments: {} }),
  };
  for (const [era, call] of Object.entries(calls)) {
    assert.ok((await call("echo")).json.result, era);
    for (const status of [301, 302, 303, 307, 308]) {
      const bodies = {
        none: () => "",
        message: (id) => JSON.stringify({ jsonrpc: "2.0", id, result: { content: [] } }),
      };
      for (const [kind, body] of Object.entries(bodies)) {
        const server = era === "modern" ? lurer : oldLurer;
        server.intercept = (seen, response) => {
          response.writeHead(status, { location: lured.url, "content-type": "application/json" });
          response.end(body(seen.message?.id));
          return true;
        };
        for (const name of ["echo", "write_note"]) {
          const answer = await call(name);
          if (answer.json?.id !== answer.id || !/redirect/.test(answer.json?.error?.message)) {
            faults.push(`${era} ${status}, body ${kind}, ${name}: ${answer.text.slice(0, 200)}`);
          }
        }
        server.intercept = undefined;
      }
    }
  }
  assert.equal(lured.seen.length, 0, `the other place saw ${allOf(lured).slice(0, 300)}`);
  assert.deepEqual(faults, []);
});

test(
  "18: nor are they while the portal finds out what a server offers, or reads an issuer's keys",
  options,
  async () => {
    const luring = await startUpstream();
    const issuer = await startIssuer();
    luring.intercept = (_, response) => {
      response.writeHead(307, { location: lured.url }).end();
      return true;
    };
    const other = await startWorld({
      config: ({ usual }) => {
        const company = issuerEntry({ issuer: issuer.issuer, jwksUrl: luring.url });
        const servers = { ...usual.servers };
        for (const era of ["auto", "modern", "legacy"]) {
          servers[era] = { url: luring.url, era, auth: { kind: "bearer", secret: "UPSTREAM_A" } };
        }
        const issuers = { ...usual.identity.issuers, lured: company };
        const portals = { main: portalEntry(Object.keys(servers), { audience: ["portcullis"] }) };
        return { servers, portals, identity: { issuers } };
      },
      portal: { secrets: SECRETS, vars: { SECRET_HOSTS: JSON.stringify({ UPSTREAM_A: ["127.0.0.1"] }) } },
    });
    try {
      const listed = await modern(other.portal, "tools/list", {}, { token: other.token });
      for (const era of ["auto", "modern", "legacy"]) {
        assert.match(
          JSON.stringify(listed.json.result._meta),
          new RegExp(`"${era}"`),
          "the listing says what is missing",
        );
      }
      const answer = await callTool(other.portal, "notes_echo", {}, { token: await issuer.token() });
      assert.equal(answer.status, 401);
      assert.ok(luring.seen.length >= 4);
      assert.equal(lured.seen.length, 0, `the other place saw ${allOf(lured).slice(0, 300)}`);
    } finally {
      await other.stop();
      await Promise.all([luring.stop(), issuer.stop()]);
    }
  },
);
