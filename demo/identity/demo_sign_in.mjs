import { errors } from "oidc-provider";
import { EMPLOYEES, findByEmail } from "../data/employees.mjs";
import { describeResource, isPortalAddress, RESOURCE_RULE, SIGNING_ALGORITHMS } from "./resource.mjs";

export const DEMO_GRANT = "urn:portcullis:demo-sign-in";
export const DEMO_CLIENT_ID = "portcullis-cli";

/**
 * The demo's shortcut for scripts: a token for an employee without a browser. There is no password because
 * the provider listens on this machine only and signs for portals on this machine only.
 *
 * @param {import("oidc-provider").Provider} provider
 */
export function registerDemoSignIn(provider) {
  provider.registerGrantType(
    DEMO_GRANT,
    async (ctx) => {
      const { login, resource, alg = "RS256" } = ctx.oidc.params;
      const employee = requireEmployee(login);
      if (!isPortalAddress(resource)) throw new errors.InvalidTarget(`${RESOURCE_RULE}; got ${resource}`);
      if (!SIGNING_ALGORITHMS.includes(alg)) {
        throw new errors.InvalidRequest(`alg must be one of ${SIGNING_ALGORITHMS.join(", ")}`);
      }
      const token = new provider.AccessToken({
        accountId: employee.id,
        client: ctx.oidc.client,
        gty: DEMO_GRANT,
        scope: "mcp",
        resourceServer: new provider.ResourceServer(resource, describeResource(resource, alg)),
      });
      ctx.oidc.entity("AccessToken", token);
      const value = await token.save();
      ctx.body = {
        access_token: value,
        token_type: token.tokenType,
        expires_in: token.expiration,
        scope: token.scope,
      };
    },
    ["login", "resource", "alg"],
  );
}

function requireEmployee(login) {
  const known = EMPLOYEES.map(({ email }) => email).join(", ");
  if (!login) throw new errors.InvalidRequest(`login is missing; it must be one of ${known}`);
  const employee = findByEmail(login);
  if (!employee) throw new errors.InvalidRequest(`unknown user ${login}; users are ${known}`);
  return employee;
}
