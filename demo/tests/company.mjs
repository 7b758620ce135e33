import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import * as modern from "@modelcontextprotocol/client";
import { Client as LegacyClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { startDemo } from "../run.mjs";

// One running company for all tests of the demo, on free ports, and clients of both official SDKs.

export const FREE = { identity: 0, jira: 0, wiki: 0, drive: 0, gitlab: 0 };
export const MODERN_REVISION = "2026-07-28";
export const LIMIT = { timeout: 30_000 };

export let demo;
export let stateDir;
const opened = [];

before(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "demo-test-"));
  demo = await startDemo({ stateDir, ports: FREE });
}, LIMIT);

after(async () => {
  await Promise.allSettled(opened.map((client) => client.close()));
  await demo.stop();
  await rm(stateDir, { recursive: true, force: true });
}, LIMIT);

export async function connectLegacy(server, { answer } = {}) {
  const capabilities = answer ? { elicitation: {} } : {};
  const client = new LegacyClient({ name: "demo-test", version: "1.0.0" }, { capabilities });
  if (answer) client.setRequestHandler(ElicitRequestSchema, answer);
  await client.connect(new StreamableHTTPClientTransport(new URL(demo.servers[server].url)));
  opened.push(client);
  return client;
}

export async function connectModern(server, { answer } = {}) {
  const client = new modern.Client(
    { name: "demo-test", version: "1.0.0" },
    {
      capabilities: answer ? { elicitation: { form: {} } } : {},
      versionNegotiation: { mode: { pin: MODERN_REVISION } },
    },
  );
  if (answer) client.setRequestHandler("elicitation/create", answer);
  await client.connect(new modern.StreamableHTTPClientTransport(new URL(demo.servers[server].url)));
  opened.push(client);
  return client;
}

export async function call(client, name, args = {}) {
  const result = await client.callTool({ name, arguments: args });
  assert.notEqual(result.isError, true, `${name}: ${result.content?.[0]?.text}`);
  return result.structuredContent ?? result.content[0].text ?? result.content[0];
}

export async function refusalOf(client, name, args) {
  const result = await client.callTool({ name, arguments: args });
  assert.equal(result.isError, true, `${name} should have been refused`);
  return result.content[0].text;
}
