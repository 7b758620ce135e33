import { revokeTokens } from "./identity.mjs";
import { CONFIG_FRESH_MS } from "./limits.mjs";
import { compileAccess, compileTools, isOpen } from "./policy.mjs";
import { Refusal } from "./refusal.mjs";

let active;
let checkedAtMs = 0;

/** The compiled configuration, never older than its limit; a promise only when the store must be asked. */
export function currentConfig(env) {
  return Date.now() - checkedAtMs < CONFIG_FRESH_MS ? active : checkEpoch(env);
}

async function checkEpoch(env) {
  const epoch = await env.DB.prepare("SELECT revision, generation FROM epoch WHERE id = 1").first();
  if (epoch?.revision == null) {
    throw new Refusal(503, -32603, "Set-up required: there is no active configuration");
  }
  if (active?.revision !== epoch.revision || active.generation !== epoch.generation) {
    const row = await env.DB.prepare("SELECT body FROM config_revisions WHERE revision = ?1")
      .bind(epoch.revision)
      .first();
    active = compile(epoch, JSON.parse(row.body), env);
  }
  revokeTokens(epoch.generation);
  checkedAtMs = Date.now();
  return active;
}

function compile({ revision, generation }, document, env) {
  const servers = new Map();
  for (const [name, server] of Object.entries(document.servers)) {
    servers.set(name, { name, ...server, fetcher: env[server.binding], decide: compileTools(server.tools) });
  }
  const portals = new Map();
  const hostnames = new Map();
  for (const [name, portal] of Object.entries(document.portals)) {
    const compiled = {
      name,
      admits: compileAccess(portal.access, document.groups ?? {}),
      open: isOpen(portal.access),
      servers: portal.servers.map((server) => servers.get(server)),
      names: undefined,
    };
    portals.set(name, compiled);
    for (const hostname of portal.hostnames) {
      hostnames.set(hostname, compiled);
    }
  }
  const issuers = new Map(Object.values(document.identity.issuers).map((issuer) => [issuer.issuer, issuer]));
  return { revision, generation, portals, hostnames, issuers };
}

/** The portal that a host and path name. */
export function portalFor(config, url) {
  const [, first, name, last] = url.pathname.split("/");
  const portal =
    first === "p" && last === "mcp"
      ? config.portals.get(name)
      : first === "mcp" && config.hostnames.get(url.hostname);
  if (!portal) {
    throw new Refusal(404, -32600, "There is no such portal");
  }
  return portal;
}
