// An identity provider's signing half: keys, a key set on 127.0.0.1, and tokens with any claims a test wants.
import { createServer } from "node:http";
import { exportJWK, generateKeyPair, SignJWT } from "jose";

const LIFETIME_SECONDS = 300;

/**
 * Starts an issuer with one RS256 and one ES256 key.
 * @param {{ audience?: string }} [options] the audience of tokens that name none
 * @returns {Promise<{
 *   issuer: string,
 *   jwksUrl: string,
 *   token: (claims?: object, header?: { kid?: string, alg?: string }) => Promise<string>,
 *   rotate: (options?: { keepOld?: boolean }) => Promise<void>,
 *   requests: number,
 *   fail: (status: number | undefined) => void,
 *   stop: () => Promise<void>,
 * }>} `requests` counts fetches of the key set; `rotate` replaces the keys; `fail(503)` makes the key set answer
 *   that until `fail(undefined)`. A claim given as `undefined` is left out of the token.
 */
export async function startIssuer({ audience = "portcullis" } = {}) {
  let keys = await makeKeys(1);
  let published = keys;
  let generation = 1;
  let failure;
  let requests = 0;

  const server = createServer((request, response) => {
    if (request.url !== "/jwks") {
      response.writeHead(404).end();
      return;
    }
    requests += 1;
    if (failure) {
      response.writeHead(failure).end();
      return;
    }
    const body = JSON.stringify({ keys: published.map((key) => key.jwk) });
    response.writeHead(200, { "content-type": "application/json", "cache-control": "max-age=60" }).end(body);
  });
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const issuer = `http://127.0.0.1:${server.address().port}`;

  return {
    issuer,
    jwksUrl: `${issuer}/jwks`,
    get requests() {
      return requests;
    },
    async token(claims = {}, { kid, alg = "RS256" } = {}) {
      const key = keys.find((each) => (kid ? each.jwk.kid === kid : each.jwk.alg === alg)) ?? keys[0];
      const now = Math.floor(Date.now() / 1000);
      const email = claims.email ?? "alice@acme.example";
      const payload = {
        iss: issuer,
        aud: audience,
        sub: email,
        email,
        iat: now,
        exp: now + LIFETIME_SECONDS,
        ...claims,
      };
      // A kid that no key has is written all the same: that is how a test forges one.
      const header = { alg: key.jwk.alg, kid: kid ?? key.jwk.kid, typ: "JWT" };
      return await new SignJWT(payload).setProtectedHeader(header).sign(key.privateKey);
    },
    async rotate({ keepOld = false } = {}) {
      generation += 1;
      const old = keys;
      keys = await makeKeys(generation);
      published = keepOld ? [...keys, ...old] : keys;
    },
    fail(status) {
      failure = status;
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function makeKeys(generation) {
  return await Promise.all(
    ["RS256", "ES256"].map(async (alg) => {
      const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
      const kid = `${alg.toLowerCase()}-${generation}`;
      return { privateKey, jwk: { ...(await exportJWK(publicKey)), alg, kid, use: "sig" } };
    }),
  );
}
