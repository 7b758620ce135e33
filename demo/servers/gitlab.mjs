import { McpServer } from "@modelcontextprotocol/server";
import { serveBothWithSessions } from "./eras.mjs";
import { registerPromptsAndResources } from "./gitlab/prompts.mjs";
import { readingTools } from "./gitlab/reading.mjs";
import { writingTools } from "./gitlab/writing.mjs";
import { registerTools } from "./tool.mjs";

/**
 * The code forge: both eras on one endpoint, the legacy one with sessions.
 *
 * @param {ReturnType<import("../data/company.mjs").createCompany>} company
 * @returns {{ handle: (req, res) => Promise<void>, close: () => Promise<void> }}
 */
export function createGitlab({ forge }) {
  return serveBothWithSessions(() => buildServer(forge));
}

function buildServer(forge) {
  const server = new McpServer(
    { name: "acme-gitlab", title: "ACME code forge", version: "18.5.0" },
    { instructions: "Code of acme.example. Projects look like payments/ledger, merge requests like !42." },
  );
  registerTools(server, [...readingTools(forge), ...writingTools(forge)]);
  registerPromptsAndResources(server, forge);
  return server;
}
