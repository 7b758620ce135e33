import { connect } from "./connect.mjs";

/**
 * Proves that the portal's tool rules were on: the denied tool is neither listed nor callable, and
 * no call to it reached the server.
 * @param {object} options
 * @param {string} options.url the portal's MCP URL
 * @param {"legacy" | "modern"} options.era
 * @param {string} options.tool the denied tool's name in the portal
 * @param {() => { method: string | null, name: string | null }[]} options.calls the fixture's
 * @returns {Promise<string[]>} what was wrong
 */
export async function probeRule({ url, era, tool, calls }) {
  const problems = [];
  let client;
  try {
    client = await connect({ url, era });
    const { tools } = await client.listTools();
    if (tools.length === 0) problems.push("rule probe: the portal lists no tool at all");
    if (tools.some(({ name }) => name === tool)) problems.push(`rule probe: ${tool} is listed`);
    const result = await client.callTool({ name: tool, arguments: {} }).catch(() => undefined);
    if (result !== undefined && !result.isError) problems.push(`rule probe: ${tool} was answered`);
  } catch (error) {
    problems.push(`rule probe: ${error.message}`);
  } finally {
    await client?.close();
  }
  if (calls().some(({ method, name }) => method === "tools/call" && name === "never_run")) {
    problems.push(`rule probe: a call to ${tool} reached the server`);
  }
  return problems;
}
