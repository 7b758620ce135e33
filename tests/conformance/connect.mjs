import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const MODERN_REVISION = "2026-07-28";

/**
 * Connects an official SDK client that speaks one era and no other.
 * @param {object} options
 * @param {string} options.url
 * @param {"legacy" | "modern"} options.era
 * @param {object} [options.capabilities]
 * @param {(client: Client) => void} [options.prepare] sets handlers before the connection opens
 * @returns {Promise<Client>}
 */
export async function connect({ url, era, capabilities = {}, prepare = () => {} }) {
  const mode = era === "modern" ? "auto" : "legacy";
  const client = new Client(
    { name: "portcullis-conformance", version: "1.0.0" },
    { capabilities, versionNegotiation: { mode } },
  );
  prepare(client);
  await client.connect(new StreamableHTTPClientTransport(new URL(url)));
  const revision = client.getNegotiatedProtocolVersion();
  // In automatic mode the client falls back to the legacy era without a word.
  if (era === "modern" && revision !== MODERN_REVISION) {
    await client.close();
    throw new Error(`${url} answered with revision ${revision} where ${MODERN_REVISION} was expected`);
  }
  return client;
}
