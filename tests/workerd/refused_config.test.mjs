// What the configuration may not say: addresses in the portal's own network, secrets for other hosts, bindings of the
// portal's own. Every fault is answered with its pointer, and nothing is stored.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { send } from "./support/client.mjs";
import { startWorld } from "./support/world.mjs";

const options = { timeout: 60_000 };
const SECRETS = { UPSTREAM_A: "secret-of-a-5f1c", UPSTREAM_UNTIED: "secret-untied-1d" };

let world;
let portal;
let token;

before(async () => {
  world = await startWorld({
    portal: { secrets: SECRETS, vars: { SECRET_HOSTS: JSON.stringify({ UPSTREAM_A: ["127.0.0.1"] }) } },
  });
  ({ portal, token } = world);
});

after(() => world?.stop());

/** Applies a document and returns the pointers of what is wrong with it. */
async function pointersOf(target, document) {
  const answer = await send(target, {
    path: "/admin/api/config",
    token: target.setupToken,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(document),
  });
  return {
    status: answer.status,
    pointers: answer.json?.errors?.map((error) => error.pointer) ?? [],
    text: answer.text,
  };
}

const LOOPBACK = [
  "127.0.0.1",
  "127.9.9.9",
  "2130706433",
  "0x7f.1",
  "0177.0.0.1",
  "127.1",
  "%31%32%37.0.0.1",
  "localhost",
];
LOOPBACK.push(
  "a.localhost",
  "LOCALHOST",
  "[::1]",
  "[0:0:0:0:0:0:0:1]",
  "127\u30020\u30020\u30021",
  "\uff11\uff12\uff17.0.0.1",
);
const PRIVATE = [
  "0",
  "0.0.0.0",
  "10.0.0.1",
  "10.1",
  "167772161",
  "0xa.0.0.1",
  "012.0.0.1",
  "172.16.0.1",
  "172.31.255.254",
];
PRIVATE.push(
  "192.168.1.1",
  "0xc0a80101",
  "3232235777",
  "169.254.169.254",
  "2852039166",
  "0xa9fea9fe",
  "0251.0376.0251.0376",
);
PRIVATE.push(
  "169.254.43518",
  "100.64.0.1",
  "100.100.100.200",
  "168.63.129.16",
  "198.18.0.1",
  "224.0.0.1",
  "255.255.255.255",
);
PRIVATE.push(
  "[::]",
  "[fc00::1]",
  "[fd00:ec2::254]",
  "[fe80::1]",
  "[::ffff:10.0.0.1]",
  "[::ffff:a9fe:a9fe]",
  "[::127.0.0.1]",
);
PRIVATE.push(
  "[64:ff9b::a9fe:a9fe]",
  "[2002:a9fe:a9fe::1]",
  "[2001::1]",
  "[fec0::1]",
  "[ff02::1]",
  "metadata.google.internal",
);
PRIVATE.push(
  "intranet",
  "printer.local",
  "router.lan",
  "x.home.arpa",
  "localhost.",
  "10.0.0.1.",
  "169\u3002254\u3002169\u3002254",
);
PRIVATE.push(
  "jira.internal.",
  "host.docker.internal",
  "kubernetes.default.svc.cluster.local",
  "[::ffff:0:7f00:1]",
);

test("18: addresses in the portal's own network are refused, in every notation", options, async () => {
  const production = await startWorld({
    config: () => undefined,
    portal: { vars: { LOCAL_DEVELOPMENT: "0" } },
  });
  try {
    const hosts = [...LOOPBACK, ...PRIVATE];
    const servers = Object.fromEntries(hosts.map((host, n) => [`s${n}`, { url: `https://${host}/mcp` }]));
    const issuers = Object.fromEntries(
      hosts
        .slice(0, 20)
        .map((host, n) => [`i${n}`, { issuer: `https://i${n}.example`, jwks_url: `https://${host}/jwks` }]),
    );
    const { status, pointers, text } = await pointersOf(production.portal, {
      servers,
      identity: { issuers },
    });
    assert.equal(status, 422, text.slice(0, 300));
    const missing = hosts.filter((_, n) => !pointers.includes(`/servers/s${n}/url`));
    assert.deepEqual(missing, [], "accepted");
    const keys = hosts.slice(0, 20).filter((_, n) => !pointers.includes(`/identity/issuers/i${n}/jwks_url`));
    assert.deepEqual(keys, [], "accepted as jwks_url");
    assert.equal((await portal.d1("SELECT COUNT(*) AS n FROM config_revisions"))[0].n, 1);
    const odd = [
      "http://jira.example/mcp",
      "ftp://jira.example",
      "https://u:p@jira.example/",
      "https://jira.example/#x",
      "x",
    ];
    for (const url of [
      ...odd,
      "https://",
      "https:///mcp",
      "https://jira.example\\@127.0.0.1/",
      "javascript:alert(1)",
    ]) {
      const answer = await pointersOf(production.portal, { servers: { a: { url } } });
      assert.deepEqual([answer.status, answer.pointers], [422, ["/servers/a/url"]], `${url}: ${answer.text}`);
    }
    const good = await pointersOf(production.portal, { servers: { a: { url: "https://jira.example/mcp" } } });
    assert.equal(good.status, 201, good.text);
  } finally {
    await production.stop();
  }
});

test("on a laptop the same holds, apart from the laptop itself", options, async () => {
  const servers = Object.fromEntries(PRIVATE.map((host, n) => [`s${n}`, { url: `https://${host}/mcp` }]));
  const { pointers } = await pointersOf(portal, { servers });
  assert.deepEqual(
    PRIVATE.filter((_, n) => !pointers.includes(`/servers/s${n}/url`)),
    [],
    "accepted",
  );
});

test(
  "a secret goes only where the worker's variable lets it, whatever the document says",
  options,
  async () => {
    const url = "http://127.0.0.1:1/mcp";
    const bearer = (secret, at = url) => ({ url: at, auth: { kind: "bearer", secret } });
    const table = {
      "another host": [bearer("UPSTREAM_A", "https://evil.example/mcp"), "/servers/a/auth/secret"],
      "another name of the host": [bearer("UPSTREAM_A", "http://localhost:1/mcp"), "/servers/a/auth/secret"],
      "a binding": [
        { binding: "MCP_X", auth: { kind: "bearer", secret: "UPSTREAM_A" } },
        "/servers/a/auth/secret",
      ],
      "a secret tied to nothing": [bearer("UPSTREAM_UNTIED"), "/servers/a/auth/secret"],
      "the set-up token": [bearer("SETUP_TOKEN"), "/servers/a/auth/secret"],
      "the sealing key": [bearer("SEAL_KEY"), "/servers/a/auth/secret"],
      "a secret itself": [bearer(SECRETS.UPSTREAM_A), "/servers/a/auth/secret"],
      "a header": [
        { url: "https://evil.example/", auth: { kind: "headers", headers: { "X-A": "UPSTREAM_A" } } },
        "/servers/a/auth/headers/X-A",
      ],
      "a binding of the portal's own": [{ binding: "DB" }, "/servers/a/binding"],
      "the audit's": [{ binding: "AUDIT" }, "/servers/a/binding"],
    };
    for (const [name, [server, pointer]] of Object.entries(table)) {
      const answer = await pointersOf(portal, { servers: { a: server } });
      assert.deepEqual(
        [answer.status, answer.pointers],
        [422, [pointer]],
        `${name}: ${answer.text.slice(0, 300)}`,
      );
      assert.ok(!answer.text.includes(SECRETS.UPSTREAM_A), `${name}: the answer repeats a secret`);
    }
  },
);

test("only the set-up token applies a configuration", options, async () => {
  for (const each of [undefined, "", "x", token, `${portal.setupToken}x`, portal.setupToken.slice(1)]) {
    const body = JSON.stringify({ portals: {} });
    const headers = { "content-type": "application/json" };
    const answer = await send(portal, { path: "/admin/api/config", token: each, headers, body });
    assert.equal(answer.status, 401, String(each).slice(0, 5));
  }
  assert.equal((await portal.d1("SELECT COUNT(*) AS n FROM config_revisions"))[0].n, 1);
});
