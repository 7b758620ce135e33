import { findByEmail } from "../data/employees.mjs";
import { renderProblem, renderSignIn } from "./sign_in_page.mjs";

const FORM_BYTES_MAX = 4096;
const INTERACTION_PATH = /^\/interaction\/[A-Za-z0-9_-]+$/;

/** Whether a request is for the sign-in page and not for the provider itself. */
export function isInteraction(req) {
  return INTERACTION_PATH.test(new URL(req.url, "http://localhost").pathname);
}

/**
 * Shows the sign-in page and takes its answer.
 *
 * @param {import("oidc-provider").Provider} provider
 */
export async function handleInteraction(provider, req, res) {
  let interaction;
  try {
    interaction = await provider.interactionDetails(req, res);
  } catch {
    return sendPage(res, 400, renderProblem("This sign-in has expired. Go back and start it again."));
  }
  if (req.method === "GET") return sendPage(res, 200, await describe(provider, interaction));
  if (req.method !== "POST") {
    return sendPage(res, 405, renderProblem("This page answers GET and POST only."));
  }

  const form = await readForm(req);
  if (form.get("refuse")) {
    const refusal = { error: "access_denied", error_description: "The user chose not to sign in." };
    return provider.interactionFinished(req, res, refusal, { mergeWithLastSubmission: false });
  }
  const employee = findByEmail(form.get("login") ?? "");
  if (!employee) return sendPage(res, 400, renderProblem("Nobody by that address works here."));
  const grantId = await grant(provider, interaction, employee);
  return provider.interactionFinished(req, res, {
    login: { accountId: employee.id, amr: employee.amr, remember: false },
    consent: { grantId },
  });
}

// Choosing oneself on a page that names client, address and receiver is the consent: one click is enough.
async function grant(provider, { params }, employee) {
  const given = new provider.Grant({ accountId: employee.id, clientId: params.client_id });
  if (params.scope) given.addOIDCScope(params.scope);
  for (const resource of [params.resource ?? []].flat()) given.addResourceScope(resource, "mcp");
  return given.save();
}

async function describe(provider, { uid, params }) {
  const client = await provider.Client.find(params.client_id);
  return renderSignIn({
    uid,
    client: client?.clientName ?? params.client_id,
    redirectHost: URL.parse(params.redirect_uri)?.host || params.redirect_uri,
    resource: [params.resource ?? []].flat().join(", "),
  });
}

async function readForm(req) {
  const chunks = [];
  let size = 0;
  for await (const chunk of req) {
    size += chunk.length;
    if (size > FORM_BYTES_MAX) return new URLSearchParams();
    chunks.push(chunk);
  }
  return new URLSearchParams(Buffer.concat(chunks).toString("utf8"));
}

function sendPage(res, status, html) {
  res.writeHead(status, {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
  });
  res.end(html);
}
