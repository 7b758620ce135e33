/**
 * The client under test in the suite's client scenarios: `driver.mjs direct|portal legacy|modern URL`.
 * With `portal` it starts a portal before the suite's server and drives that, so that what the suite's
 * server sees is the portal. The era is the driver's own; the suite's server has that of its revision.
 */
import { connect } from "./connect.mjs";

const MODERN_REVISION = "2026-07-28";
const DRIVE_MS_MAX = 45_000;
const USAGE = "Usage: driver.mjs direct|portal legacy|modern URL";
const [route, era, target] = process.argv.slice(2);
const scenario = process.env.MCP_CONFORMANCE_SCENARIO;

const SCRIPTS = {
  initialize: listOnly,
  tools_call: (client) => callTools(client, [["add_numbers", { a: 5, b: 3 }]]),
  "elicitation-sep1034-client-defaults": (client) =>
    callTools(client, [["test_client_elicitation_defaults", {}]]),
  "sse-retry": (client) => callTools(client, [["test_reconnection", {}]]),
  "request-metadata": listOnly,
  "sep-2322-client-request-state": answerRounds,
  "http-standard-headers": useEverything,
  "http-custom-headers": callGivenTools,
  "http-invalid-tool-headers": callListedTools,
  "json-schema-ref-no-deref": listOnly,
  "json-schema-2020-12-preservation": echoSchema,
};

// A driver that hangs must not outlive its scenario: the suite can end the shell around it only.
const timer = setTimeout(() => fail(new Error(`no end after ${DRIVE_MS_MAX} ms`)), DRIVE_MS_MAX);
let portal;
try {
  await drive();
  await portal?.stop();
  process.exit(0);
} catch (error) {
  await fail(error);
}

async function drive() {
  const script = SCRIPTS[scenario];
  if (script === undefined) throw new Error(`There is no script for the scenario "${scenario}"`);
  const isKnown = ["direct", "portal"].includes(route) && ["legacy", "modern"].includes(era);
  if (!isKnown || target === undefined) throw new Error(USAGE);
  const url = route === "portal" ? await openPortal() : target;
  const client = await connect({
    url,
    era,
    capabilities: { roots: {}, sampling: {}, elicitation: { form: { applyDefaults: true } } },
    prepare: answerQuestions,
  });
  await script(client, url);
  await client.close();
}

async function openPortal() {
  const { startPortal } = await import("../harness/portal.mjs");
  const config = {
    portals: {
      main: {
        hostnames: ["127.0.0.1", "localhost"],
        servers: ["suite"],
        code_mode: "off",
        access: [{ action: "bypass", include: [{ everyone: true }] }],
        portal_tools: false,
      },
    },
    servers: {
      suite: {
        url: target,
        prefix: "",
        auth: { kind: "none" },
        tools: { default: "allow", deny: ["never_*"] },
      },
    },
  };
  portal = await startPortal({ config });
  return new URL("/mcp", portal.url).href;
}

/** A form comes back with its fields' defaults, or confirmed where it asks for that. */
function answerQuestions(client) {
  client.setRequestHandler("elicitation/create", async ({ params }) => {
    const asked = Object.keys(params.requestedSchema?.properties ?? {});
    return { action: "accept", content: asked.includes("confirmed") ? { confirmed: true } : {} };
  });
  client.setRequestHandler("sampling/createMessage", async () => ({
    role: "assistant",
    model: "none",
    content: { type: "text", text: "An answer" },
  }));
  client.setRequestHandler("roots/list", async () => ({ roots: [] }));
}

async function listOnly(client) {
  await client.listTools();
}

async function callTools(client, calls) {
  const { tools } = await client.listTools();
  for (const [name, input] of calls) {
    if (!tools.some((tool) => tool.name === name)) throw new Error(`The tool ${name} is not listed`);
    await client.callTool({ name, arguments: input });
  }
}

async function answerRounds(client) {
  const rounds = ["test_mrtr_echo_state", "test_mrtr_no_state", "test_mrtr_unrelated"];
  await callTools(
    client,
    rounds.map((name) => [name, {}]),
  );
  const untyped = callTools(client, [["test_mrtr_no_result_type", {}]]);
  // The SDK refuses a result without a type, which the portal has to add.
  await (route === "direct" ? untyped.catch(() => {}) : untyped);
}

function callGivenTools(client) {
  const { toolCalls } = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT);
  const calls = toolCalls.map(({ name, arguments: input }) => [name, input]);
  return callTools(client, calls);
}

async function useEverything(client) {
  const { tools } = await client.listTools();
  await client.callTool({ name: tools[0].name, arguments: {} });
  const { resources } = await client.listResources();
  await client.readResource({ uri: resources[0].uri });
  const { prompts } = await client.listPrompts();
  await client.getPrompt({ name: prompts[0].name, arguments: {} });
}

/** Sends a schema back as it arrived. */
async function echoSchema(client) {
  const { tools } = await client.listTools();
  const { inputSchema } = tools.find(({ name }) => name === "json_schema_2020_12_tool");
  await client.callTool({ name: "json_schema_echo", arguments: { schema: inputSchema } });
}

/**
 * The modern SDK client leaves out tools with invalid annotations by itself, which would hide a portal
 * that keeps them; behind a portal every tool that it lists is called, without the SDK.
 */
async function callListedTools(client, url) {
  const input = { region: "us-west1" };
  if (route === "direct" || era === "legacy") {
    const { tools } = await client.listTools();
    for (const { name } of tools) await client.callTool({ name, arguments: input });
    return;
  }
  const { tools } = (await postModern(url, "tools/list", {})).result;
  for (const { name } of tools) {
    await postModern(url, "tools/call", { name, arguments: input }, { "mcp-name": name });
  }
}

async function postModern(url, method, params, headers = {}) {
  const _meta = {
    "io.modelcontextprotocol/protocolVersion": MODERN_REVISION,
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  const response = await fetch(url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": MODERN_REVISION,
      "mcp-method": method,
      "mcp-param-region": params.arguments?.region ?? "",
      ...headers,
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: { ...params, _meta } }),
    signal: AbortSignal.timeout(10_000),
  });
  const text = await response.text();
  const data = /^data: ?(.*"id".*)$/m.exec(text);
  return JSON.parse(data === null ? text : data[1]);
}

async function fail(error) {
  clearTimeout(timer);
  console.error(error);
  await portal?.stop();
  process.exit(1);
}
