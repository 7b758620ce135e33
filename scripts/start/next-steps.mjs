// What a person can do now, as commands that work when pasted.

/**
 * @param {{ origin: string, demo?: object, secretsFile: string }} options
 * @returns {string}
 */
export function nextSteps({ origin, demo, secretsFile }) {
  const url = `${origin}/mcp`;
  const header = demo ? "Authorization: Bearer $TOKEN" : "Authorization: Bearer <your token>";
  const vscode = {
    servers: { acme: { type: "http", url, headers: { Authorization: "Bearer $" + "{input:acme-token}" } } },
    inputs: [{ id: "acme-token", type: "promptString", description: "Portcullis token", password: true }],
  };
  const cursor = { mcpServers: { acme: { url, headers: { Authorization: "Bearer <paste the token>" } } } };
  const token = demo
    ? [
        "A token for an employee of the demo company:",
        "  TOKEN=$(npm run --silent token -- --user alice@acme.example)",
      ]
    : ["Tokens come from the identity provider that your configuration names."];
  return [
    "",
    `Portcullis is ready: ${origin}`,
    "",
    `Open ${origin}/ in a browser. MCP clients connect to ${url}`,
    "",
    ...token,
    "",
    "Claude Code:",
    `  claude mcp add --transport http acme ${url} --header "${header}"`,
    "VS Code, .vscode/mcp.json (asks for the token):",
    `  ${JSON.stringify(vscode)}`,
    "Cursor, .cursor/mcp.json:",
    `  ${JSON.stringify(cursor)}`,
    "MCP Inspector:",
    `  npx @modelcontextprotocol/inspector --cli ${url} --transport http --method tools/list --header "${header}"`,
    "",
    `Administrator's token for ${origin}/admin: SETUP_TOKEN in ${secretsFile}`,
    "Ctrl-C stops everything.",
    "",
  ].join("\n");
}
