import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { createRemoteJWKSet, jwtVerify } from "jose";
import { readDemoConfig } from "../config.mjs";
import { startDemo } from "../run.mjs";
import { demo, FREE, LIMIT, stateDir } from "./company.mjs";

async function requestToken(form) {
  const response = await fetch(`${demo.issuer}/token`, {
    method: "POST",
    body: new URLSearchParams({ client_id: "portcullis-cli", ...form }),
  });
  return { status: response.status, ...(await response.json()) };
}

const signIn = (login, resource, more = {}) =>
  requestToken({ grant_type: "urn:portcullis:demo-sign-in", login, resource, ...more });

async function discover() {
  const metadata = await (await fetch(`${demo.issuer}/.well-known/openid-configuration`)).json();
  return { metadata, keys: createRemoteJWKSet(new URL(metadata.jwks_uri)) };
}

test("the demo sign-in signs the employee's facts for one portal", LIMIT, async () => {
  const { metadata, keys } = await discover();
  assert.equal(metadata.issuer, demo.issuer);
  const resource = "http://localhost:8787/p/engineering/mcp";
  for (const alg of ["RS256", "ES256"]) {
    const { access_token } = await signIn("erin@acme.example", resource, { alg });
    const { payload, protectedHeader } = await jwtVerify(access_token, keys, {
      issuer: demo.issuer,
      audience: resource,
      algorithms: [alg],
      typ: "at+jwt",
    });
    assert.equal(protectedHeader.alg, alg);
    assert.equal(payload.exp - payload.iat, 3600);
    assert.deepEqual(
      [payload.email, payload.groups, payload.device.managed, payload.amr],
      ["erin@acme.example", ["engineering"], false, ["pwd"]],
    );
  }
});

test("the demo sign-in refuses strangers and other receivers, and says why", LIMIT, async () => {
  const stranger = await signIn("zoe@acme.example", "http://localhost:8787/mcp");
  assert.equal(stranger.status, 400);
  assert.match(stranger.error_description, /unknown user zoe@acme.example; users are alice@acme.example/);
  for (const resource of [
    "https://portal.acme.example/mcp",
    "http://localhost:8787/",
    "http://localhost:8787/p/a/b/mcp",
    "http://localhost:8787/mcp?x=1",
    "http://localhost.evil.example:8787/mcp",
    "http://alice@localhost:8787/mcp",
  ]) {
    const refused = await signIn("alice@acme.example", resource);
    assert.deepEqual([refused.status, refused.error], [400, "invalid_target"], resource);
  }
  const other = await signIn("alice@acme.example", "http://localhost:8787/mcp", {
    client_id: "mcp-inspector",
  });
  assert.equal(other.status, 400);
});

test("a client that registers itself signs in with a browser, PKCE and one click", LIMIT, async () => {
  const { metadata, keys } = await discover();
  const redirect_uri = "http://127.0.0.1:5123/callback";
  const registered = await fetch(metadata.registration_endpoint, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      client_name: "<b>Test</b>",
      redirect_uris: [redirect_uri],
      token_endpoint_auth_method: "none",
    }),
  });
  const { client_id } = await registered.json();
  const resource = "http://localhost:8787/mcp";
  const code_verifier = randomBytes(32).toString("base64url");
  const authorize = new URL(metadata.authorization_endpoint);
  authorize.search = new URLSearchParams({
    client_id,
    redirect_uri,
    response_type: "code",
    scope: "openid email mcp",
    resource,
    state: "s1",
    code_challenge: createHash("sha256").update(code_verifier).digest("base64url"),
    code_challenge_method: "S256",
  });
  const browse = createBrowser();
  const page = await browse(authorize);
  const html = await page.text();
  assert.equal(page.status, 200, html);
  assert.ok(html.includes("&#60;b&#62;Test") && !html.includes("<b>Test"), "names are escaped");
  const action = /action="([^"]+)"/.exec(html)[1];
  const end = await browse(new URL(action, demo.issuer), { login: "bob@acme.example" }, redirect_uri);
  assert.equal(end.searchParams.get("state"), "s1");
  assert.equal(end.searchParams.get("iss"), demo.issuer);

  const tokens = await requestToken({
    grant_type: "authorization_code",
    client_id,
    redirect_uri,
    code: end.searchParams.get("code"),
    code_verifier,
    resource,
  });
  assert.equal(tokens.status, 200, tokens.error_description);
  const access = await jwtVerify(tokens.access_token, keys, { issuer: demo.issuer, audience: resource });
  const identity = await jwtVerify(tokens.id_token, keys, { issuer: demo.issuer, audience: client_id });
  assert.equal(access.payload.email, "bob@acme.example");
  assert.equal(access.payload.scope, "mcp");
  assert.equal(identity.payload.email, "bob@acme.example");
});

// Follows redirects with cookies, as far as the client's own address.
function createBrowser() {
  const cookies = new Map();
  return async function browse(target, form, stopAt) {
    let url = target;
    let body = form && new URLSearchParams(form);
    for (let hops = 0; hops < 6; hops += 1) {
      const response = await fetch(url, {
        method: body ? "POST" : "GET",
        body,
        redirect: "manual",
        headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; ") },
      });
      for (const line of response.headers.getSetCookie()) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
        cookies.set(name, value);
      }
      const location = response.headers.get("location");
      if (!location) return response;
      url = new URL(location, url);
      body = undefined;
      if (stopAt && url.href.startsWith(stopAt)) return url;
    }
    throw new Error("The sign-in redirects for ever.");
  };
}

test("a restart keeps the keys, and a port in use is named with its remedy", LIMIT, async () => {
  const { access_token } = await signIn("alice@acme.example", "http://localhost:8787/mcp");
  const second = await startDemo({ stateDir, ports: FREE });
  const keys = createRemoteJWKSet(new URL(`${second.issuer}/jwks`));
  await jwtVerify(access_token, keys, { issuer: demo.issuer });
  await second.stop();
  const taken = Number(new URL(demo.servers.wiki.url).port);
  await assert.rejects(
    startDemo({ stateDir, ports: { ...FREE, wiki: taken } }),
    new RegExp(`Port ${taken} for the demo's wiki server is in use.*DEMO_PORT_BASE`),
  );
});

test("both names of this machine work, others do not", LIMIT, async () => {
  const port = new URL(demo.issuer).port;
  for (const host of ["127.0.0.1", "localhost"]) {
    assert.equal((await fetch(`http://${host}:${port}/jwks`)).status, 200);
  }
  const foreign = await fetch(demo.servers.wiki.url, {
    method: "POST",
    headers: { origin: "https://evil.example" },
  });
  assert.equal(foreign.status, 403);
});

test("the example configuration follows the demo to other ports", LIMIT, async () => {
  const text = readDemoConfig(19_200);
  const addresses = [...text.matchAll(/"(http:\/\/[^"]+)"/g)].map(([, address]) => address);
  assert.deepEqual(addresses, [
    "http://127.0.0.1:19201/mcp",
    "http://127.0.0.1:19202/mcp",
    "http://127.0.0.1:19203/mcp",
    "http://127.0.0.1:19204/mcp",
    "http://localhost:19200",
    "http://localhost:19200/jwks",
  ]);
  assert.ok(text.includes("http://localhost:8787/p/finance/mcp"), "the portal's own address stays");
});
