import { MAX_LIST_PAGES } from "./limits.mjs";
import { VERSION } from "./message.mjs";
import { Refusal } from "./refusal.mjs";

/** The names a portal offers, each with its server, its tool and whether rules let it be called. */
export function namesOf(portal, env) {
  return portal.names ?? readNames(portal, env);
}

/** The tool behind a name. Unknown and forbidden are answered alike. */
export function findTool(names, name) {
  const found = names.get(name);
  if (found?.permitted !== true) {
    throw new Refusal(400, -32602, `Unknown tool: ${name}`);
  }
  return found;
}

async function readNames(portal, env) {
  const names = new Map();
  for (const server of portal.servers) {
    for (const tool of await readSnapshot(server, env)) {
      const { permitted, rule } = server.decide(tool);
      names.set(server.prefix === "" ? tool.name : `${server.prefix}_${tool.name}`, {
        server,
        tool: tool.name,
        readOnly: tool.annotations?.readOnlyHint === true,
        permitted,
        rule,
      });
    }
  }
  portal.names = names;
  return names;
}

async function readSnapshot(server, env) {
  const row = await env.DB.prepare(
    "SELECT body FROM catalog_snapshots WHERE server = ?1 AND scope = '' AND part = 0",
  )
    .bind(server.name)
    .first();
  if (row !== null) {
    return JSON.parse(row.body);
  }
  const tools = await listTools(server);
  await env.DB.prepare("INSERT OR REPLACE INTO catalog_snapshots VALUES (?1, '', 0, 1, ?2, ?3)")
    .bind(server.name, Date.now(), JSON.stringify(tools))
    .run();
  return tools;
}

async function listTools(server) {
  const tools = [];
  let cursor;
  for (let page = 1; page <= MAX_LIST_PAGES; page++) {
    const _meta = {
      "io.modelcontextprotocol/protocolVersion": VERSION,
      "io.modelcontextprotocol/clientCapabilities": {},
    };
    const params = cursor === undefined ? { _meta } : { cursor, _meta };
    const response = await server.fetcher.fetch("http://upstream/mcp", {
      method: "POST",
      redirect: "manual",
      headers: {
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": VERSION,
        "mcp-method": "tools/list",
      },
      body: JSON.stringify({ jsonrpc: "2.0", id: page, method: "tools/list", params }),
    });
    const { result } = await response.json();
    if (result === undefined) {
      throw new Refusal(502, -32603, "The upstream server did not list its tools");
    }
    tools.push(...result.tools);
    cursor = result.nextCursor;
    if (cursor === undefined) {
      break;
    }
  }
  return tools;
}
