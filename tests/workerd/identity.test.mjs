// Who a token speaks for, and every way in which one does not hold.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, test } from "node:test";
import { startIssuer } from "../harness/identity.mjs";
import { callTool, modern, openSession, send } from "./support/client.mjs";
import { assertRecorded, auditRows, refuseAll } from "./support/refusals.mjs";
import { issuerEntry, startWorld } from "./support/world.mjs";

const options = { timeout: 60_000 };
const UNAUTHORIZED = { status: 401, code: -32000 };

let world;
let portal;
let issuer;
const others = {};

before(async () => {
  // Each test that disturbs an issuer has its own: cool-downs last longer than tests.
  for (const name of ["access", "flooded", "rotating", "withdrawn", "away", "rsa"]) {
    others[name] = await startIssuer();
  }
  world = await startWorld({
    config: ({ usual }) => {
      const issuers = { ...usual.identity.issuers };
      for (const [name, each] of Object.entries(others)) {
        issuers[name] = issuerEntry(each, name === "access" ? { header: "cf_access" } : {});
      }
      issuers.rsa.algorithms = ["RS256"];
      return { ...usual, identity: { issuers } };
    },
  });
  ({ portal, issuer } = world);
});

after(async () => {
  await world?.stop();
  await Promise.all(Object.values(others).map((each) => each.stop()));
});

const nowS = () => Math.floor(Date.now() / 1_000);
const encode = (value) =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
const callWith = (token, what) => callTool(portal, "notes_echo", { note: "x" }, { token, ...what });
const refusedRow = (name, token, what) => ({
  name,
  act: () => callWith(token, what),
  ...UNAUTHORIZED,
  check: challenges,
});

function challenges(answer) {
  const challenge = answer.headers["www-authenticate"] ?? "";
  const metadata = `${portal.origin}/.well-known/oauth-protected-resource/mcp`;
  assert.match(challenge, /^Bearer /);
  assert.ok(challenge.includes(`resource_metadata="${metadata}"`), `WWW-Authenticate: ${challenge}`);
  assert.doesNotMatch(answer.text, /jwks|kid|signature|expired|audience/i, "the outside is bland");
}

/** A token put together by hand: [header, payload, signature]. */
async function parts(claims, from = issuer) {
  const token = await from.token(claims);
  const [header, payload, signature] = token.split(".");
  const decode = (part) => JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
  return { token, header: decode(header), payload: decode(payload), signature };
}

test("RS256 and ES256 tokens are people", options, async () => {
  for (const alg of ["RS256", "ES256"]) {
    const answer = await callWith(await issuer.token({ email: `${alg}@acme.example` }, { alg }));
    assert.equal(answer.json.result?.content[0].text, '{"note":"x"}', answer.text);
  }
  const sql = "SELECT email, principal FROM audit_events WHERE email LIKE '%256@acme.example'";
  const find = async () => (await portal.d1(sql)).length === 2;
  for (let tries = 0; !(await find()) && tries < 40; tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.equal(await find(), true, "the audit names them");
});

test("no token, and credentials that are none", options, async () => {
  const token = await issuer.token();
  const header = (authorization) => ({ headers: { authorization } });
  const rows = {
    "no header": {},
    "an empty header": header(""),
    "a bare token": header(token),
    Basic: header(`Basic ${Buffer.from("alice:secret").toString("base64")}`),
    "Bearer and nothing": header("Bearer"),
    "Bearer and a space": header("Bearer "),
    "two tokens": header(`Bearer ${token} ${token}`),
    "two headers": header([`Bearer ${token}`, `Bearer ${token}`]),
    "a list": header(`Bearer ${token}, Bearer ${token}`),
    "the set-up token": header(`Bearer ${portal.setupToken}`),
    "in the query": { path: `/mcp?access_token=${token}` },
    "in a cookie": { headers: { cookie: `CF_Authorization=${token}` } },
    "an e-mail header": { headers: { "cf-access-authenticated-user-email": "alice@acme.example" } },
  };
  const table = Object.entries(rows).map(([name, what]) => refusedRow(name, undefined, what));
  await refuseAll(world, table);
  const lower = await callWith(undefined, header(`bearer ${token}`));
  assert.equal(lower.status, 200, "the scheme has no case (RFC 7235)");
});

test("signatures that do not hold", options, async () => {
  const { token, header, payload, signature } = await parts();
  const stranger = await startIssuer();
  const forged = await stranger.token({ iss: issuer.issuer });
  await stranger.stop();
  const { keys } = await (await fetch(issuer.jwksUrl)).json();
  const rsa = keys.find((key) => key.alg === "RS256");
  const hs256 = (key, kid) => {
    const head = encode({ alg: "HS256", kid, typ: "JWT" });
    const mac = createHmac("sha256", key)
      .update(`${head}.${encode(payload)}`)
      .digest("base64url");
    return `${head}.${encode(payload)}.${mac}`;
  };
  const none = (alg, tail) => `${encode({ alg, kid: header.kid, typ: "JWT" })}.${encode(payload)}.${tail}`;
  const es256 = await issuer.token({}, { alg: "ES256" });
  const rows = {
    "alg none": none("none", ""),
    "alg None": none("None", ""),
    "alg none with a signature": none("none", signature),
    "no alg": `${encode({ kid: header.kid })}.${encode(payload)}.${signature}`,
    "HS256 with the modulus": hs256(Buffer.from(rsa.n, "base64url"), rsa.kid),
    "HS256 with the key as JSON": hs256(JSON.stringify(rsa), rsa.kid),
    "HS256 with nothing": hs256("", rsa.kid),
    "alg HS256 over an RS256 signature": none("HS256", signature),
    "alg RS512": none("RS512", signature),
    "alg ES256 with the RSA key": none("ES256", signature),
    "an ES256 token under the RSA kid": `${encode({ alg: "ES256", kid: rsa.kid })}.${es256.split(".").slice(1).join(".")}`,
    "ES256 of zeros": `${es256.split(".").slice(0, 2).join(".")}.${Buffer.alloc(64).toString("base64url")}`,
    "another's key under a known kid": forged,
    "a changed payload": `${encode(header)}.${encode({ ...payload, email: "ceo@acme.example" })}.${signature}`,
    "a changed signature": `${token.slice(0, -8)}AAAAAAAA`,
    "no signature": token.split(".").slice(0, 2).join("."),
    "an empty signature": `${token.split(".").slice(0, 2).join(".")}.`,
    "four parts": `${token}.x`,
    "an embedded key": `${encode({ ...header, jwk: rsa, kid: undefined })}.${encode(payload)}.${signature}`,
    "a critical extension": `${encode({ ...header, crit: ["x"], x: 1 })}.${encode(payload)}.${signature}`,
    garbage: "abc.def.ghi",
    "not base64": "!!!.???.***",
    "one byte": "x",
    "RS256 only, signed by ES256": await others.rsa.token({}, { alg: "ES256" }),
  };
  await refuseAll(
    world,
    Object.entries(rows).map(([name, bad]) => refusedRow(name, bad)),
  );
});

test("claims that do not hold", options, async () => {
  const claims = {
    "another issuer": { iss: "http://127.0.0.1:1" },
    "the issuer with a slash": { iss: `${issuer.issuer}/` },
    "the issuer in capitals": { iss: issuer.issuer.toUpperCase() },
    "no issuer": { iss: undefined },
    "a list of issuers": { iss: [issuer.issuer] },
    "another audience": { aud: "https://elsewhere.example/mcp" },
    "a prefix of the audience": { aud: "portcullis2" },
    "an empty audience": { aud: "" },
    "no audience": { aud: undefined },
    "an empty list of audiences": { aud: [] },
    "the address with a slash": { aud: `${portal.origin}/mcp/` },
    "the origin": { aud: portal.origin },
    "another portal's address": { aud: `${portal.origin}/p/main/mcp` },
    expired: { exp: nowS() - 61 },
    "expired long ago": { exp: 1 },
    "no expiry": { exp: undefined },
    "expiry as a text": { exp: String(nowS() + 300) },
    "expiry null": { exp: null },
    "not yet valid": { nbf: nowS() + 120 },
    "nbf as a text": { nbf: "0" },
    "issued in an hour": { iat: nowS() + 3_600 },
    "no subject": { sub: undefined },
    "an empty subject": { sub: "" },
    "a subject that is a number": { sub: 5 },
    "a subject that is null": { sub: null },
  };
  const rows = [];
  for (const [name, each] of Object.entries(claims)) {
    rows.push(refusedRow(name, await issuer.token(each)));
  }
  for (const bytes of [17_000, 100_000]) {
    const endless = await issuer.token({ padding: "x".repeat(bytes) });
    const tooLong = { status: 431, code: -32600 };
    rows.push({ name: `${bytes} bytes of padding`, act: () => callWith(endless), ...tooLong });
  }
  await refuseAll(world, rows);
  for (const aud of [`${portal.origin}/mcp`, ["https://elsewhere.example", "portcullis"]]) {
    const answer = await callWith(await issuer.token({ aud }));
    assert.equal(answer.status, 200, `${aud}: ${answer.text}`);
  }
});

test("a stranger of a known issuer is known and not admitted", options, async () => {
  const token = await issuer.token({ email: "mallory@evil.example" });
  await refuseAll(world, [{ name: "call", act: () => callWith(token), status: 403, code: -32000 }]);
  for (const email of [
    "x@acme.example.evil.example",
    "x@evilacme.example",
    "acme.example",
    "x@acme.example@evil.example",
  ]) {
    const answer = await callWith(await issuer.token({ email, sub: email }));
    assert.equal(answer.status, 403, `${email}: ${answer.text}`);
  }
  const unverified = await callWith(await issuer.token({ email_verified: false }));
  assert.equal(unverified.status, 403, "an address that the issuer calls unverified is nobody's");
});

test("a flood of unknown key ids asks the issuer once", options, async () => {
  const { flooded } = others;
  assert.equal((await callWith(await flooded.token())).status, 200);
  const before = flooded.requests;
  const tokens = await Promise.all(
    Array.from({ length: 60 }, (_, n) => flooded.token({ n }, { kid: `unknown-${n}` })),
  );
  for (const some of [tokens.slice(0, 30), tokens.slice(30)]) {
    const answers = await Promise.all(some.map((token) => callWith(token)));
    assert.deepEqual(new Set(answers.map((answer) => answer.status)), new Set([401]));
  }
  assert.ok(flooded.requests - before <= 1, `${flooded.requests - before} fetches for 60 unknown key ids`);
  assert.equal((await callWith(await flooded.token({ n: -1 }))).status, 200, "known keys are not disturbed");
});

test("new keys are found, and old ones go on while they are published", options, async () => {
  const { rotating } = others;
  const old = await rotating.token({ email: "old@acme.example" });
  assert.equal((await callWith(await rotating.token())).status, 200);
  await rotating.rotate({ keepOld: true });
  const before = rotating.requests;
  assert.equal((await callWith(await rotating.token({ email: "new@acme.example" }))).status, 200);
  assert.equal(rotating.requests, before + 1);
  assert.equal((await callWith(old)).status, 200);
  assert.equal(rotating.requests, before + 1);
});

test("a key that was withdrawn verifies nothing new", options, async () => {
  const { withdrawn } = others;
  const old = await withdrawn.token({ email: "old@acme.example" });
  assert.equal((await callWith(await withdrawn.token())).status, 200);
  await withdrawn.rotate();
  assert.equal((await callWith(await withdrawn.token({ email: "new@acme.example" }))).status, 200);
  await refuseAll(world, [refusedRow("signed with the old key", old)]);
});

test("an issuer that is away refuses, and is found again", options, async () => {
  const { away } = others;
  away.fail(503);
  const token = await away.token();
  await refuseAll(world, [{ name: "away", act: () => callWith(token), ...UNAUTHORIZED }]);
  const asked = away.requests;
  await Promise.all(Array.from({ length: 20 }, () => callWith(token)));
  assert.ok(away.requests - asked <= 2, `${away.requests - asked} fetches of an issuer that fails`);
  away.fail(undefined);
  const end = Date.now() + 15_000;
  let status;
  while (status !== 200 && Date.now() < end) {
    ({ status } = await callWith(token));
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  assert.equal(status, 200);
});

test("an Access assertion counts in its own header only", options, async () => {
  const token = await others.access.token({ email: "carol@acme.example" });
  const asserted = (value, more) => ({ headers: { "cf-access-jwt-assertion": value }, ...more });
  const answer = await callWith(undefined, asserted(token));
  assert.equal(answer.status, 200, answer.text);
  await refuseAll(world, [
    refusedRow("an Access token as a bearer, after it was remembered", token),
    refusedRow("a bearer token as an assertion", undefined, asserted(await issuer.token())),
    refusedRow("a forged assertion", undefined, asserted(`${token.slice(0, -8)}AAAAAAAA`)),
    refusedRow("a forged assertion beside a good bearer", await issuer.token(), asserted("x.y.z")),
    refusedRow("an empty assertion and no bearer", undefined, asserted("")),
  ]);
});

test("a remembered token ends with its expiry and the clock's leeway", options, async () => {
  const LEEWAY_S = 30;
  const exp = nowS() - LEEWAY_S + 4;
  const token = await issuer.token({ exp, sub: "brief" });
  const short = await openSession(portal, { token });
  let lastGoodMs = 0;
  const end = Date.now() + 12_000;
  let status = 200;
  while (status === 200 && Date.now() < end) {
    const askedMs = Date.now();
    ({ status } = await callWith(token));
    lastGoodMs = status === 200 ? askedMs : lastGoodMs;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.equal(status, 401, "it is still accepted");
  assert.ok(lastGoodMs > 0 && lastGoodMs < (exp + LEEWAY_S) * 1_000, "it was accepted too long");
  assert.equal((await short.ask("ping")).status, 401, "its session is closed to it as well");
});

test("the metadata names exactly the portal's own address", options, async () => {
  const read = async (path, host) => {
    const answer = await send(portal, {
      verb: "GET",
      path: `/.well-known/oauth-protected-resource${path}`,
      host,
    });
    assert.equal(answer.status, 200, answer.text);
    return answer.json;
  };
  const { port } = new URL(portal.origin);
  assert.equal((await read("/mcp")).resource, `${portal.origin}/mcp`);
  assert.equal((await read("/p/main/mcp")).resource, `${portal.origin}/p/main/mcp`);
  assert.equal((await read("/mcp", `127.0.0.1:${port}`)).resource, `http://127.0.0.1:${port}/mcp`);
  const { authorization_servers: servers } = await read("/mcp");
  assert.ok(servers.includes(issuer.issuer));
  assert.ok(
    !servers.includes(others.access.issuer),
    "nobody can bring a token of the Access issuer as a bearer",
  );
  for (const path of ["/p/none/mcp", "/mcp/", "/x", "/p/main", "x"]) {
    const answer = await send(portal, { verb: "GET", path: `/.well-known/oauth-protected-resource${path}` });
    assert.equal(answer.status, 404, path);
  }
  const evil = await send(portal, {
    verb: "GET",
    path: "/.well-known/oauth-protected-resource/mcp",
    host: "evil.example",
  });
  assert.equal(evil.status, 404);
});

test("the audit says who was refused and why, and holds no token", options, async () => {
  const token = await issuer.token({ exp: nowS() - 600 });
  const answer = await modern(portal, "tools/list", {}, { token });
  const [row] = await auditRows(portal, answer.json.error.data.requestId);
  assert.equal(row.kind, "refusal");
  assert.match(row.reason, /^unauthenticated/);
  assert.ok(!JSON.stringify(row).includes(token.split(".")[1]));
});

test("every refusal above has exactly one row in the trail", options, () => assertRecorded(world));
