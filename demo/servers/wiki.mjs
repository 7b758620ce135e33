import { randomBytes } from "node:crypto";
import { createRequestStateCodec, McpServer } from "@modelcontextprotocol/server";
import { serveModernOnly } from "./eras.mjs";
import { registerTools } from "./tool.mjs";
import { registerPromptsAndResources } from "./wiki/prompts.mjs";
import { publishTool } from "./wiki/publish.mjs";
import { readingTools } from "./wiki/reading.mjs";
import { writingTools } from "./wiki/writing.mjs";

/**
 * The wiki: a server of the modern era only (2026-07-28), without any session.
 *
 * @param {ReturnType<import("../data/company.mjs").createCompany>} company
 * @returns {{ handle: (req, res) => Promise<void>, close: () => Promise<void> }}
 */
export function createWiki({ wiki }) {
  // A key of this process is enough: the demo is one process, and a restart ends open questions.
  const codec = createRequestStateCodec({
    key: randomBytes(32),
    ttlSeconds: 600,
    bind: (context) => context.mcpReq.method,
  });
  return serveModernOnly((notify) => buildServer(wiki, notify, codec));
}

function buildServer(wiki, notify, codec) {
  const server = new McpServer(
    { name: "acme-wiki", title: "ACME wiki", version: "7.1.0" },
    {
      capabilities: { resources: { subscribe: true, listChanged: true } },
      instructions: "The wiki of acme.example. Pages are wiki://acme/{space}/{slug}.",
      cacheHints: {
        "tools/list": { ttlMs: 60_000, cacheScope: "public" },
        "prompts/list": { ttlMs: 60_000, cacheScope: "public" },
      },
      requestState: { verify: codec.verify },
    },
  );
  registerTools(server, [
    ...readingTools(wiki),
    ...writingTools(wiki, notify),
    publishTool(wiki, notify, codec),
  ]);
  registerPromptsAndResources(server, wiki);
  return server;
}
