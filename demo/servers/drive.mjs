import { McpServer } from "@modelcontextprotocol/server";
import { registerPromptsAndResources } from "./drive/prompts.mjs";
import { readingTools } from "./drive/reading.mjs";
import { writingTools } from "./drive/writing.mjs";
import { serveBothStateless } from "./eras.mjs";
import { registerTools } from "./tool.mjs";

/**
 * The shared drive: both eras on one endpoint, the legacy one without sessions.
 *
 * @param {ReturnType<import("../data/company.mjs").createCompany>} company
 * @returns {{ handle: (req, res) => Promise<void>, close: () => Promise<void> }}
 */
export function createDrive({ drive }) {
  return serveBothStateless((notify) => buildServer(drive, notify));
}

function buildServer(drive, notify) {
  const server = new McpServer(
    { name: "acme-drive", title: "ACME shared drive", version: "2.0.3" },
    { instructions: "Files of acme.example. Ids look like f-101, resources like drive://acme/files/f-101." },
  );
  registerTools(server, [...readingTools(drive), ...writingTools(drive, notify)]);
  registerPromptsAndResources(server, drive);
  return server;
}
