// Prints a bearer token for an employee of the demo company. Runs before any package is installed, so it
// uses nothing but Node itself.
import { parseArgs } from "node:util";

const USAGE = "npm run token -- --user alice@acme.example [--portal finance | --resource URL] [--alg ES256]";
const ANSWER_TIMEOUT_MS = 10_000;

try {
  console.log(await requestToken(readOptions()));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}

function readOptions() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        user: { type: "string" },
        portal: { type: "string" },
        resource: { type: "string" },
        alg: { type: "string" },
      },
    }));
  } catch (error) {
    throw new Error(`${error.message}\nUsage: ${USAGE}`);
  }
  const { user, portal, resource, alg } = values;
  if (!user) throw new Error(`--user is missing.\nUsage: ${USAGE}`);
  if (portal && resource) throw new Error(`Give --portal or --resource, not both.\nUsage: ${USAGE}`);
  return { user, resource: resource ?? portalAddress(portal), alg };
}

function portalAddress(portal) {
  const origin = `http://localhost:${process.env.PORT || 8787}`;
  return portal ? `${origin}/p/${portal}/mcp` : `${origin}/mcp`;
}

async function requestToken({ user, resource, alg }) {
  const issuer = `http://localhost:${process.env.DEMO_PORT_BASE || 9100}`;
  const form = new URLSearchParams({
    grant_type: "urn:portcullis:demo-sign-in",
    client_id: "portcullis-cli",
    login: user,
    resource,
    ...(alg && { alg }),
  });
  let response;
  try {
    response = await fetch(`${issuer}/token`, {
      method: "POST",
      body: form,
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
  } catch (error) {
    const reason = error.cause?.code ?? error.cause?.message ?? error.message;
    throw new Error(
      `The demo identity provider at ${issuer} does not answer (${reason}). Start it with npm start; if it ` +
        "runs on another port, set DEMO_PORT_BASE as you did there.",
    );
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok && answer.access_token) return answer.access_token;
  throw new Error(
    `The demo identity provider at ${issuer} gave no token: ` +
      `${answer.error_description ?? answer.error ?? `HTTP ${response.status}`}`,
  );
}
