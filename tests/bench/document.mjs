// The one configuration document that the portal and its rival both run on.

/** Host of every request, so that one token fits every variant: its audience is this origin's /mcp. */
export const HOST = "localhost:8787";

/** The document for one issuer; servers are reached by the binding that all variants share. */
export function benchDocument(issuer) {
  return {
    portals: {
      main: {
        hostnames: ["localhost"],
        servers: ["echo"],
        code_mode: "off",
        access: [
          {
            action: "allow",
            include: [{ email_domain: "acme.example" }, { email: "auditor@partner.example" }],
            require: [{ group: "staff" }],
            exclude: [{ email: "mallory@acme.example" }],
          },
        ],
      },
      // Without sign-in, and else the same: what a call costs less here is what identity costs.
      open: {
        hostnames: ["open.localhost"],
        servers: ["echo"],
        code_mode: "off",
        access: [{ action: "bypass", include: [{ everyone: true }] }],
      },
    },
    servers: {
      echo: {
        binding: "MCP_ECHO",
        prefix: "echo",
        auth: { kind: "none" },
        tools: { default: "read_only", allow: ["write_*"], deny: ["delete_*"] },
      },
    },
    groups: { staff: ["bob@acme.example"] },
    identity: {
      issuers: {
        bench: {
          issuer: issuer.issuer,
          jwks_url: issuer.jwksUrl,
          algorithms: ["RS256", "ES256"],
          groups_claim: "groups",
        },
      },
    },
  };
}

/** The same rules in front of two servers: one speaks the current protocol, the other the one before it. */
export function pairDocument(issuer) {
  const { portals, servers, ...rest } = benchDocument(issuer);
  return {
    ...rest,
    portals: { main: { ...portals.main, servers: ["modern", "legacy"] } },
    servers: {
      modern: { ...servers.echo, prefix: "modern" },
      legacy: { ...servers.echo, binding: "MCP_LEGACY", prefix: "legacy" },
    },
  };
}
