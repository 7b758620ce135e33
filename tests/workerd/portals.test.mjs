// Several portals behind one worker: which one a request means, whom each admits, and which tools each lets through.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { callTool, legacyHeaders, modern, openSession, send } from "./support/client.mjs";
import { assertRecorded, refuseAll } from "./support/refusals.mjs";
import { portalEntry, startWorld } from "./support/world.mjs";

const options = { timeout: 60_000 };
const OPEN = [{ action: "allow", include: [{ everyone: true }] }];
const allow = (include, more = {}) => ({ action: "allow", include, ...more });
const block = (include, more = {}) => ({ action: "block", include, ...more });

/** Portals that differ in whom they admit: [id, access, { person: status }]. */
const PEOPLE = {
  alice: { email: "alice@acme.example", groups: ["engineering"], device: { managed: true, level: 3 } },
  bob: { email: "Bob@ACME.example", groups: ["finance"], device: { managed: false } },
  carol: { email: "carol@partner.example", groups: ["engineering", "contractors"] },
  dave: { email: "dave@acme.example", groups: "engineering", device: { managed: "true" } },
  erin: { sub: "erin", email: undefined, groups: [] },
};
const managed = { claim: { name: "device.managed", value: true } };
const ACCESS = [
  ["everyone", OPEN, { alice: 200, bob: 200, carol: 200, dave: 200, erin: 200 }],
  ["domain", [allow([{ email_domain: "acme.example" }])], { alice: 200, bob: 200, dave: 200 }],
  ["email", [allow([{ email: "bob@acme.example" }])], { bob: 200 }],
  ["groupclaim", [allow([{ group: "engineering" }])], { alice: 200, carol: 200, dave: 200 }],
  ["grouplist", [allow([{ group: "board" }])], { bob: 200, carol: 200 }],
  ["claim", [allow([{ everyone: true }], { require: [managed] })], { alice: 200 }],
  ["number", [allow([{ claim: { name: ["device", "level"], value: 3 } }])], { alice: 200 }],
  ["any", [allow([{ email: "bob@acme.example" }, { group: "contractors" }])], { bob: 200, carol: 200 }],
  ["all", [allow([{ everyone: true }], { require: [{ group: "engineering" }, managed] })], { alice: 200 }],
  [
    "exclude",
    [allow([{ group: "engineering" }], { exclude: [{ group: "contractors" }] })],
    { alice: 200, dave: 200 },
  ],
  [
    "blockfirst",
    [block([{ email: "alice@acme.example" }]), ...OPEN],
    { bob: 200, carol: 200, dave: 200, erin: 200 },
  ],
  [
    "allowfirst",
    [allow([{ email: "alice@acme.example" }]), block([{ everyone: true }]), ...OPEN],
    { alice: 200 },
  ],
  ["onlyblock", [block([{ email: "alice@acme.example" }])], {}],
  [
    "blockothers",
    [block([{ everyone: true }], { exclude: [managed] }), ...OPEN],
    // Whoever is excluded from a block is not blocked by it.
    { alice: 200 },
  ],
];

let world;
let portal;
let port;
const tokens = {};

before(async () => {
  world = await startWorld({
    config: ({ usual }) => {
      const portals = {
        main: portalEntry(["notes"], { access: OPEN }),
        finance: portalEntry(["notes"], { access: OPEN, hostnames: ["finance.localhost"] }),
        bypass: portalEntry(["notes"], {
          hostnames: ["bypass.localhost"],
          access: [{ action: "bypass", include: [{ everyone: true }] }],
        }),
        rules: portalEntry(["notes"], {
          hostnames: [],
          access: OPEN,
          tools: { notes: { default: "allow", deny: ["delete_*", "*secret*"] } },
        }),
        closed: portalEntry(["notes"], {
          hostnames: [],
          access: OPEN,
          tools: { notes: { default: "deny", allow: ["echo"] } },
        }),
        readonly: portalEntry(["notes"], { hostnames: [], access: OPEN, tools: { notes: {} } }),
      };
      for (const [id, access] of ACCESS) {
        portals[id] = portalEntry(["notes"], { hostnames: [], access });
      }
      for (const each of Object.values(portals)) {
        each.audience = each.audience ?? [];
      }
      return { ...usual, portals, groups: { board: ["BOB@acme.example", "carol@partner.example"] } };
    },
  });
  ({ portal } = world);
  ({ port } = new URL(portal.origin));
  for (const [id] of [["main"], ["finance"], ["bypass"], ["rules"], ["closed"], ["readonly"], ...ACCESS]) {
    tokens[id] = await tokenFor(id);
  }
});

after(() => world?.stop());

/** Where a portal is by its path, on any host of the company. */
const pathOf = (id) => `/p/${id}/mcp`;
const tokenFor = (id, claims = PEOPLE.alice) =>
  world.issuer.token({ sub: claims.email, aud: `${portal.origin}${pathOf(id)}`, ...claims });
const echoAt = (what) => callTool(portal, "notes_echo", { note: "x" }, what);
const at = (id, what = {}) => ({ path: pathOf(id), token: tokens[id], ...what });

for (const [id, , admitted] of ACCESS) {
  test(`access rules: ${id}`, options, async () => {
    const rows = [];
    for (const [person, claims] of Object.entries(PEOPLE)) {
      const token = await tokenFor(id, { sub: person, ...claims });
      if (admitted[person] === 200) {
        const answer = await echoAt(at(id, { token }));
        assert.equal(answer.status, 200, `${person}: ${answer.text}`);
      } else {
        rows.push({ name: person, act: () => echoAt(at(id, { token })), status: 403, code: -32000 });
      }
    }
    rows.push({ name: "nobody", act: () => echoAt(at(id, { token: undefined })), status: 401, code: -32000 });
    await refuseAll(world, rows);
  });
}

test("a bypass rule admits whoever comes, and not with a token that does not hold", options, async () => {
  const host = `bypass.localhost:${port}`;
  const answer = await echoAt({ host });
  assert.equal(answer.status, 200, answer.text);
  const strange = await world.issuer.token({ aud: "https://elsewhere.example" });
  await refuseAll(world, [
    { name: "bad token", act: () => echoAt({ host, token: "x.y.z" }), status: 401, code: -32000 },
    {
      // Not read, and so not taken for no token either.
      name: "17 KB of token",
      act: () => echoAt({ host, token: "x".repeat(17_000) }),
      status: 431,
      code: -32600,
    },
    { name: "another's token", act: () => echoAt({ host, token: strange }), status: 401, code: -32000 },
    { name: "main without one", act: () => echoAt({}), status: 401, code: -32000 },
  ]);
});

test("bypass for everyone is for laptops only", options, async () => {
  const production = await startWorld({
    config: () => undefined,
    portal: { vars: { LOCAL_DEVELOPMENT: "0" } },
  });
  try {
    const bypass = { action: "bypass", include: [{ everyone: true }] };
    const portals = {
      main: { hostnames: ["localhost"], servers: [], access: [allow([{ everyone: true }]), bypass] },
    };
    const answer = await send(production.portal, {
      path: "/admin/api/config",
      token: production.portal.setupToken,
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ portals }),
    });
    assert.equal(answer.status, 422, answer.text);
    assert.ok(
      answer.json.errors.some((error) => error.pointer.startsWith("/portals/main/access/1")),
      answer.text,
    );
  } finally {
    await production.stop();
  }
});

test(
  "a portal is found by its host name and by its path, and its token fits there only",
  options,
  async () => {
    const financeHost = `finance.localhost:${port}`;
    const byHost = await world.issuer.token({ aud: `http://${financeHost}/mcp` });
    const mainByHost = await world.issuer.token({ aud: `${portal.origin}/mcp` });
    for (const [name, what] of Object.entries({
      "main by host": { token: mainByHost },
      "finance by host": { host: financeHost, token: byHost },
      "finance by path": at("finance"),
      "main by path": at("main"),
    })) {
      const answer = await echoAt(what);
      assert.equal(answer.status, 200, `${name}: ${answer.text}`);
    }
    const refused = { status: 401, code: -32000 };
    await refuseAll(world, [
      { name: "main's at finance", act: () => echoAt({ host: financeHost, token: mainByHost }), ...refused },
      { name: "finance's at main", act: () => echoAt({ token: byHost }), ...refused },
      {
        name: "main's at finance by path",
        act: () => echoAt(at("finance", { token: tokens.main })),
        ...refused,
      },
      {
        name: "finance's at main by path",
        act: () => echoAt(at("main", { token: tokens.finance })),
        ...refused,
      },
      {
        name: "main's by host at finance by path",
        act: () => echoAt(at("finance", { token: mainByHost })),
        ...refused,
      },
      {
        name: "path on a strange host",
        act: () => echoAt(at("finance", { host: "evil.example" })),
        status: 404,
      },
      {
        name: "a listing",
        act: () => modern(portal, "tools/list", {}, at("finance", { token: tokens.main })),
        ...refused,
      },
    ]);
  },
);

test("the challenge and the metadata are the portal's own, for each host and path", options, async () => {
  const host = `finance.localhost:${port}`;
  const places = [
    [{}, "/mcp", `http://localhost:${port}`],
    [{ host }, "/mcp", `http://${host}`],
    [{ path: "/p/finance/mcp" }, "/p/finance/mcp", `http://localhost:${port}`],
    [{ path: "/p/main/mcp", host }, "/p/main/mcp", `http://${host}`],
  ];
  for (const [what, path, origin] of places) {
    const refused = await echoAt(what);
    assert.equal(refused.status, 401);
    const metadata = `${origin}/.well-known/oauth-protected-resource${path}`;
    assert.match(refused.headers["www-authenticate"], new RegExp(`resource_metadata="${metadata}"`));
    const document = await send(portal, { verb: "GET", host: what.host, path: new URL(metadata).pathname });
    assert.equal(document.json.resource, `${origin}${path}`);
    const token = await world.issuer.token({ aud: document.json.resource });
    assert.equal(
      (await echoAt({ ...what, token })).status,
      200,
      "a token for that resource is accepted there",
    );
  }
});

test("a session belongs to one person at one portal", options, async () => {
  const session = await openSession(portal, at("main"));
  const bob = await tokenFor("main", { sub: "bob", ...PEOPLE.bob });
  const headers = legacyHeaders(session.id, session.revision);
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" });
  const as = (verb, what) => () =>
    send(portal, { verb, headers, ...(verb === "POST" ? { body } : {}), ...what });
  const rows = ["POST", "GET", "DELETE"].flatMap((verb) => [
    { name: `${verb} by another`, act: as(verb, at("main", { token: bob })), status: 404, code: -32000 },
    { name: `${verb} at another portal`, act: as(verb, at("finance")), status: 404, code: -32000 },
    { name: `${verb} without a token`, act: as(verb, at("main", { token: undefined })), status: 401 },
  ]);
  await refuseAll(world, rows);
  const still = await session.ask("tools/call", { name: "notes_echo", arguments: { note: "mine" } });
  assert.equal(still.json.result.content[0].text, '{"note":"mine"}', "its owner noticed nothing");
  const again = await tokenFor("main", { ...PEOPLE.alice, jti: "renewed" });
  assert.equal(
    (await session.ask("ping", undefined, { token: again })).status,
    200,
    "a renewed token goes on",
  );
});

test("another's answer to a foreign session equals one to a session that never was", options, async () => {
  const session = await openSession(portal, at("main"));
  const bob = await tokenFor("main", { sub: "bob", ...PEOPLE.bob });
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" });
  const ask = (id) =>
    send(portal, { ...at("main", { token: bob }), headers: legacyHeaders(id, "2025-11-25"), body });
  const [foreign, never] = [await ask(session.id), await ask("0".repeat(32))];
  const bare = (answer) => [answer.status, answer.text.replace(/"requestId":"\w+"/, "")];
  assert.deepEqual(bare(foreign), bare(never));
});

const NAMES = [
  "echo",
  "reflect",
  "fail",
  "reject",
  "write_note",
  "delete_note",
  "unmarked",
  "secret_read",
  "region",
];
const READS = ["echo", "reflect", "fail", "reject", "secret_read", "region"];
const POLICIES = {
  readonly: READS,
  rules: NAMES.filter((name) => !["delete_note", "secret_read"].includes(name)),
  closed: ["echo"],
  main: [...READS.filter((name) => name !== "secret_read"), "write_note"],
};

for (const [id, open] of Object.entries(POLICIES)) {
  test(`tool rules: ${id}`, options, async () => {
    const list = await modern(portal, "tools/list", {}, at(id));
    const listed = list.json.result.tools.map((tool) => tool.name);
    assert.deepEqual(listed.sort(), open.map((name) => `notes_${name}`).sort(), "listed");
    const session = await openSession(portal, at(id));
    const old = (await session.ask("tools/list", {})).json.result.tools.map((tool) => tool.name);
    assert.deepEqual(old.sort(), listed, "listed in the older era");
    const closed = NAMES.filter((name) => !open.includes(name));
    const unknown = { name: "notes_unknown", arguments: {} };
    for (const ask of [
      (params) => modern(portal, "tools/call", params, at(id)),
      (p) => session.ask("tools/call", p),
    ]) {
      const never = await ask(unknown);
      const bare = ({ status, headers, text, id: rpcId }, name) => [
        status,
        Object.keys(headers).sort(),
        text
          .replaceAll(name, "NAME")
          .replace(`"id":${rpcId}`, "")
          .replace(/"requestId":"\w+"/, ""),
      ];
      const rows = closed.map((name) => ({
        name,
        act: () => ask({ name: `notes_${name}`, arguments: {} }),
        status: 200,
        code: -32602,
        check: (answer) => assert.deepEqual(bare(answer, `notes_${name}`), bare(never, unknown.name)),
      }));
      await refuseAll(world, rows);
      for (const name of open.filter((each) => each !== "region")) {
        const before = world.upstream.calls;
        const answer = await ask({ name: `notes_${name}`, arguments: {} });
        assert.equal(world.upstream.calls, before + 1, `${name}: ${answer.text}`);
      }
    }
  });
}

test("every refusal above has exactly one row in the trail", options, () => assertRecorded(world));
