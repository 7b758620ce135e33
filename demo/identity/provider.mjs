import { errors, Provider } from "oidc-provider";
import { findById } from "../data/employees.mjs";
import { CLIENTS } from "./clients.mjs";
import { registerDemoSignIn } from "./demo_sign_in.mjs";
import { handleInteraction, isInteraction } from "./interaction.mjs";
import { loadKeys } from "./keys.mjs";
import { createMemory } from "./memory.mjs";
import { describeResource, isPortalAddress, RESOURCE_RULE } from "./resource.mjs";
import { renderProblem } from "./sign_in_page.mjs";

/**
 * The company's OpenID Connect provider.
 *
 * @param {{ issuer: string, stateDir: string }} options
 * @returns {Promise<(req, res) => Promise<void>>} what answers its requests
 */
export async function createIdentityProvider({ issuer, stateDir }) {
  const { jwks, cookieKeys } = await loadKeys(stateDir);
  const provider = new Provider(issuer, describeProvider(jwks, cookieKeys));
  registerDemoSignIn(provider);
  const answer = provider.callback();
  const issuerHost = new URL(issuer).host;
  return async (req, res) => {
    // Whatever name of this machine was used, addresses in answers are the issuer's.
    req.headers.host = issuerHost;
    await (isInteraction(req) ? handleInteraction(provider, req, res) : answer(req, res));
  };
}

function describeProvider(jwks, cookieKeys) {
  return {
    jwks,
    adapter: createMemory(),
    clients: CLIENTS,
    clientDefaults: { token_endpoint_auth_method: "none" },
    cookies: {
      keys: cookieKeys,
      // Cookies of localhost reach every port, so the names must not meet those of another program.
      names: {
        session: "acme_demo_session",
        interaction: "acme_demo_interaction",
        resume: "acme_demo_resume",
      },
    },
    scopes: ["openid", "offline_access", "profile", "email"],
    claims: {
      openid: ["sub", "groups", "device", "amr"],
      email: ["email", "email_verified"],
      profile: ["name"],
    },
    // Claims belong into the ID token too, so that a client needs no second request to know who signed in.
    conformIdTokenClaims: false,
    findAccount: (_ctx, id) => {
      const employee = findById(id);
      return employee && { accountId: id, claims: () => ({ sub: id, ...toClaims(employee) }) };
    },
    extraTokenClaims: (_ctx, token) => {
      const employee = token.accountId && findById(token.accountId);
      return employee ? toClaims(employee) : undefined;
    },
    features: {
      devInteractions: { enabled: false },
      dPoP: { enabled: false },
      // MCP clients that were never heard of may register themselves, as they do at many real providers.
      registration: { enabled: true },
      revocation: { enabled: true, allowedPolicy: ownToken },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_ctx, _client, oneOf) => oneOf,
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, resource) => {
          if (!isPortalAddress(resource)) throw new errors.InvalidTarget(RESOURCE_RULE);
          return describeResource(resource);
        },
      },
    },
    interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
    responseTypes: ["code"],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: (_ctx, client) => client.grantTypeAllowed("refresh_token"),
    renderError: (ctx, { error, error_description }) => {
      ctx.type = "html";
      ctx.body = renderProblem(`${error}: ${error_description ?? "no further details"}`);
    },
    // Browser-based clients (the Inspector) talk to the token endpoint from their own loopback origin.
    clientBasedCORS: (_ctx, origin) => /^http:\/\/(localhost|127\.0\.0\.1)(:\d+)?$/.test(origin),
    ttl: {
      AccessToken: 3600,
      AuthorizationCode: 60,
      Grant: 86_400,
      IdToken: 3600,
      Interaction: 600,
      RefreshToken: 86_400,
      Session: 3600,
    },
  };
}

function toClaims({ email, name, groups, device, amr }) {
  return { email, email_verified: true, name, groups, device, amr };
}

function ownToken(_ctx, client, token) {
  return token.clientId === client.clientId;
}
