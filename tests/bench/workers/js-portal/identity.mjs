import {
  CLOCK_SKEW_S,
  JWKS_FRESH_MS,
  JWKS_RETRY_MS,
  MAX_TOKEN_CHARS,
  MAX_VERIFIED_TOKENS,
} from "./limits.mjs";
import { Refusal } from "./refusal.mjs";

const ALGORITHMS = {
  RS256: [{ name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }, { name: "RSASSA-PKCS1-v1_5" }],
  ES256: [
    { name: "ECDSA", namedCurve: "P-256" },
    { name: "ECDSA", hash: "SHA-256" },
  ],
};

// Keyed by the whole token, so that nothing but the very bytes that were verified can hit.
const verified = new Map();
// Key sets by issuer: a Map of keys and the time it was read.
const keySets = new Map();
const encoder = new TextEncoder();
let generation;

/** Forgets every verified token when the revocation generation has moved. */
export function revokeTokens(current) {
  if (generation !== current) {
    verified.clear();
  }
  generation = current;
}

/** The verified caller of this request; throws a 401 refusal for anyone else. */
export function identify(request, url, issuers) {
  const header = request.headers.get("authorization");
  const token = header !== null && /^bearer /i.test(header) ? header.slice(7) : "";
  const known = verified.get(token);
  const nowS = Date.now() / 1000;
  if (known !== undefined) {
    if (known.exp + CLOCK_SKEW_S > nowS && known.origin === url.origin && issuers.has(known.issuer)) {
      return known;
    }
    verified.delete(token);
  }
  return verify(token, url, issuers, nowS);
}

async function verify(token, url, issuers, nowS) {
  const refuse = (why) =>
    new Refusal(401, -32600, `Unauthorized: ${why}`, {
      "www-authenticate": `Bearer resource_metadata="${url.origin}/.well-known/oauth-protected-resource/mcp"`,
    });
  if (token === "") {
    throw refuse("a bearer token is needed");
  }
  const parts = token.split(".");
  if (parts.length !== 3 || token.length > MAX_TOKEN_CHARS) {
    throw refuse("the token is not a JWT");
  }
  let header;
  let claims;
  let signature;
  try {
    header = JSON.parse(atobUrl(parts[0]));
    claims = JSON.parse(new TextDecoder().decode(bytesOf(parts[1])));
    signature = bytesOf(parts[2]);
  } catch {
    throw refuse("the token is not a JWT");
  }
  const issuer = issuers.get(claims?.iss);
  if (issuer === undefined) {
    throw refuse("the issuer is not trusted");
  }
  const algorithm = issuer.algorithms.includes(header.alg) ? ALGORITHMS[header.alg] : undefined;
  if (algorithm === undefined) {
    throw refuse("the token's algorithm is not allowed");
  }
  const key = await keyFor(header, algorithm, issuer);
  if (key === undefined) {
    throw refuse("the token's key is not known");
  }
  const signed = encoder.encode(token.slice(0, parts[0].length + 1 + parts[1].length));
  if (!(await crypto.subtle.verify(algorithm[1], key, signature, signed))) {
    throw refuse("the signature is wrong");
  }
  const audience = `${url.origin}/mcp`;
  if (claims.aud !== audience && !(Array.isArray(claims.aud) && claims.aud.includes(audience))) {
    throw refuse("the audience is wrong");
  }
  if (!(claims.exp + CLOCK_SKEW_S > nowS)) {
    throw refuse("the token has expired");
  }
  if (claims.nbf !== undefined && !(claims.nbf - CLOCK_SKEW_S <= nowS)) {
    throw refuse("the token is not valid yet");
  }
  if (typeof claims.email !== "string") {
    throw refuse("the token names no e-mail");
  }
  return remember(token, {
    subject: claims.sub,
    email: claims.email.toLowerCase(),
    domain: claims.email.slice(claims.email.lastIndexOf("@") + 1).toLowerCase(),
    groups: Array.isArray(claims[issuer.groups_claim]) ? claims[issuer.groups_claim] : [],
    agent: claims.client_id ?? claims.azp ?? "",
    exp: claims.exp,
    origin: url.origin,
    issuer: issuer.issuer,
    portals: new WeakMap(),
  });
}

function remember(token, principal) {
  if (verified.size >= MAX_VERIFIED_TOKENS) {
    verified.delete(verified.keys().next().value);
  }
  verified.set(token, principal);
  return principal;
}

async function keyFor(header, algorithm, issuer) {
  const wanted = `${header.alg} ${header.kid ?? ""}`;
  let set = keySets.get(issuer.jwks_url);
  const ageMs = Date.now() - (set?.readAtMs ?? 0);
  if (ageMs > JWKS_FRESH_MS || (!set.keys.has(wanted) && ageMs > JWKS_RETRY_MS)) {
    set = await readJwks(issuer);
  }
  const key = set.keys.get(wanted);
  if (key?.jwk === undefined) {
    return key;
  }
  const imported = await crypto.subtle.importKey("jwk", key.jwk, algorithm[0], false, ["verify"]);
  set.keys.set(wanted, imported);
  return imported;
}

async function readJwks(issuer) {
  const response = await fetch(issuer.jwks_url, { redirect: "manual" });
  if (!response.ok) {
    throw new Refusal(503, -32603, "The identity provider's keys cannot be read");
  }
  const set = { keys: new Map(), readAtMs: Date.now() };
  for (const jwk of (await response.json()).keys) {
    const alg = jwk.alg ?? (jwk.kty === "RSA" ? "RS256" : "ES256");
    if (ALGORITHMS[alg] !== undefined) {
      set.keys.set(`${alg} ${jwk.kid ?? ""}`, { jwk });
    }
  }
  keySets.set(issuer.jwks_url, set);
  return set;
}

function atobUrl(text) {
  return atob(text.replaceAll("-", "+").replaceAll("_", "/"));
}

function bytesOf(text) {
  return Uint8Array.from(atobUrl(text), (char) => char.charCodeAt(0));
}
