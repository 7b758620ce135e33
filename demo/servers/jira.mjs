import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { isInitializeRequest } from "@modelcontextprotocol/sdk/types.js";
import { registerPromptsAndResources } from "./jira/prompts.mjs";
import { readingTools } from "./jira/reading.mjs";
import { sprintReportTool } from "./jira/report.mjs";
import { transitionTool } from "./jira/transition.mjs";
import { writingTools } from "./jira/writing.mjs";
import { createSessions } from "./sessions.mjs";
import { registerTools } from "./tool.mjs";

/**
 * The issue tracker: a server of the legacy era only (up to 2025-11-25), with one server object per session.
 *
 * @param {ReturnType<import("../data/company.mjs").createCompany>} company
 * @returns {{ handle: (req, res) => Promise<void>, close: () => Promise<void> }}
 */
export function createJira({ tracker }) {
  return createSessions({
    isInitialize: isInitializeRequest,
    connect: async (options) => {
      const transport = new StreamableHTTPServerTransport(options);
      await buildServer(tracker).connect(transport);
      return transport;
    },
  });
}

function buildServer(tracker) {
  const server = new McpServer(
    { name: "acme-jira", title: "ACME issue tracker", version: "3.4.0" },
    { capabilities: { logging: {} }, instructions: "Issues of acme.example. Keys look like PAY-101." },
  );
  registerTools(server, [
    ...readingTools(tracker),
    sprintReportTool(tracker),
    ...writingTools(tracker),
    transitionTool(tracker, server),
  ]);
  registerPromptsAndResources(server, tracker);
  return server;
}
