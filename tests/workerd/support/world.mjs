// A portal with what stands around it: an identity provider and upstreams, all on 127.0.0.1.
import { startIssuer } from "../../harness/identity.mjs";
import { startPortal } from "../../harness/portal.mjs";
import { startUpstream } from "./upstream.mjs";

/** Everybody of the demo domain, by sign-in. */
export const EMPLOYEES = [{ action: "allow", include: [{ email_domain: "acme.example" }] }];

/** An issuer as the configuration names it. */
export function issuerEntry({ issuer, jwksUrl }, more = {}) {
  return { issuer, jwks_url: jwksUrl, ...more };
}

/** A portal entry that takes what is given on top of the usual. */
export function portalEntry(servers, more = {}) {
  return { hostnames: ["localhost", "127.0.0.1"], servers, access: EMPLOYEES, portal_tools: false, ...more };
}

/**
 * Starts one upstream called `notes`, an issuer and the portal `main` before it.
 * @param {{ era?: string, tools?: object, server?: object, config?: (parts: object) => object, portal?: object }} [options]
 *   `config` gets the parts and returns the document to use instead; `portal`: more options for the harness
 */
export async function startWorld({ era = "modern", tools, server = {}, config, portal: more = {} } = {}) {
  const started = [];
  const stop = async () => {
    for (const each of started.reverse()) {
      await each.stop();
    }
  };
  try {
    const issuer = await startIssuer();
    started.push(issuer);
    const upstream = await startUpstream({ era });
    started.push(upstream);
    const rules = tools ?? { default: "read_only", allow: ["write_*"], deny: ["secret_*"] };
    const usual = {
      portals: { main: portalEntry(["notes"], { audience: ["portcullis"] }) },
      servers: { notes: { url: upstream.url, era, tools: rules, ...server } },
      identity: { issuers: { company: issuerEntry(issuer) } },
    };
    const document = config ? config({ issuer, upstream, usual }) : usual;
    const portal = await startPortal({ config: document, ...more });
    started.push(portal);
    const token = await issuer.token();
    return { portal, issuer, upstream, upstreams: [upstream], token, document, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
