const PORTAL_PATH = /^\/(p\/[a-z0-9][a-z0-9-]{0,62}\/)?mcp$/;
const LOOPBACK_HOST = /^(localhost|[a-z0-9-]+\.localhost|127\.0\.0\.1|\[::1\])$/;

export const TOKEN_LIFETIME_SECONDS = 60 * 60;
export const SIGNING_ALGORITHMS = ["RS256", "ES256"];

/**
 * Whether a token may be made out for this address: only a portal on this machine, so that nothing the demo
 * signs is of any use elsewhere.
 *
 * @param {unknown} resource
 * @returns {boolean}
 */
export function isPortalAddress(resource) {
  const url = typeof resource === "string" ? URL.parse(resource) : null;
  return (
    url !== null &&
    url.href === resource &&
    url.protocol === "http:" &&
    url.username === "" &&
    url.password === "" &&
    url.search === "" &&
    url.hash === "" &&
    LOOPBACK_HOST.test(url.hostname) &&
    PORTAL_PATH.test(url.pathname)
  );
}

export const RESOURCE_RULE =
  "resource must be the MCP address of a portal on this machine, for example http://localhost:8787/mcp " +
  "or http://localhost:8787/p/finance/mcp";

/**
 * What oidc-provider wants to know about the receiver of a token.
 *
 * @param {string} resource
 * @param {string} alg
 */
export function describeResource(resource, alg = "RS256") {
  return {
    scope: "mcp",
    audience: resource,
    accessTokenTTL: TOKEN_LIFETIME_SECONDS,
    accessTokenFormat: "jwt",
    jwt: { sign: { alg } },
  };
}
