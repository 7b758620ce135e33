import { DEMO_CLIENT_ID, DEMO_GRANT } from "./demo_sign_in.mjs";

const loopback = (path) => [`http://localhost${path}`, `http://127.0.0.1${path}`];

// Native clients: their loopback redirects are valid on every port, so a portal on another PORT still works.
const publicClient = (client_id, client_name, redirect_uris, grant_types = []) => ({
  client_id,
  client_name,
  redirect_uris,
  application_type: "native",
  token_endpoint_auth_method: "none",
  grant_types: ["authorization_code", "refresh_token", ...grant_types],
  response_types: ["code"],
});

/** Who may ask the demo's identity provider for a sign-in without registering first. */
export const CLIENTS = [
  publicClient(DEMO_CLIENT_ID, "Portcullis command line", loopback("/callback"), [DEMO_GRANT]),
  publicClient("portcullis", "Portcullis portal", [
    ...loopback("/oauth/callback"),
    ...loopback("/callback"),
    ...loopback("/admin/callback"),
  ]),
  publicClient("mcp-inspector", "MCP Inspector", [
    ...loopback("/oauth/callback"),
    ...loopback("/oauth/callback/debug"),
  ]),
];
