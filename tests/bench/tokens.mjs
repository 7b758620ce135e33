// The bench's own identity provider: one key, its JWKS on a loopback port, and tokens signed here.

import { createServer } from "node:http";
import { exportJWK, generateKeyPair, SignJWT } from "jose";

/** Starts the key server; returns `{ issuer, jwksUrl, sign, close }`. */
export async function startIssuer() {
  const { privateKey, publicKey } = await generateKeyPair("RS256", { modulusLength: 2048 });
  const kid = "bench-1";
  const jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid, alg: "RS256", use: "sig" }] });
  let reads = 0;
  const server = createServer((_request, response) => {
    reads++;
    response.writeHead(200, { "content-type": "application/json" }).end(jwks);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const issuer = `http://127.0.0.1:${server.address().port}`;
  let made = 0;
  return {
    issuer,
    jwksUrl: `${issuer}/jwks`,
    reads: () => reads,
    /** A token for an employee of the demo company; `changes` replace claims, undefined removes one. */
    sign(changes = {}, header = {}) {
      const nowS = Math.floor(Date.now() / 1000);
      const claims = {
        iss: issuer,
        aud: "http://localhost:8787/mcp",
        sub: "u-alice",
        email: "alice@acme.example",
        groups: ["staff"],
        client_id: "bench-client",
        jti: `t-${made++}`,
        iat: nowS,
        nbf: nowS - 5,
        exp: nowS + 3600,
        ...changes,
      };
      return new SignJWT(claims)
        .setProtectedHeader({ alg: "RS256", kid, typ: "at+jwt", ...header })
        .sign(privateKey);
    },
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}
