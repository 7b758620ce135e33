import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { createCompany } from "./data/company.mjs";
import { createIdentityProvider } from "./identity/provider.mjs";
import { atMcpPath, bindLoopback } from "./loopback.mjs";
import { createDrive } from "./servers/drive.mjs";
import { createGitlab } from "./servers/gitlab.mjs";
import { createJira } from "./servers/jira.mjs";
import { createWiki } from "./servers/wiki.mjs";

const SERVERS = { jira: createJira, wiki: createWiki, drive: createDrive, gitlab: createGitlab };

/**
 * The five ports of the demo: the identity provider's and one per server, in a row.
 *
 * @param {string | number} [base] the value of DEMO_PORT_BASE
 * @returns {{ identity: number, jira: number, wiki: number, drive: number, gitlab: number }}
 */
export function demoPorts(base = process.env.DEMO_PORT_BASE || 9100) {
  const first = Number(base);
  if (!Number.isInteger(first) || first < 1024 || first > 65_531) {
    throw new Error(`DEMO_PORT_BASE must be a port between 1024 and 65531, not "${base}".`);
  }
  return { identity: first, jira: first + 1, wiki: first + 2, drive: first + 3, gitlab: first + 4 };
}

/**
 * Starts the whole demo company in this process.
 *
 * @param {{ stateDir: string, host?: string, ports?: Partial<ReturnType<typeof demoPorts>> }} options
 *   a port of 0 takes any free one
 * @returns {Promise<{ issuer: string, servers: Record<string, { url: string }>, stop: () => Promise<void> }>}
 */
export async function startDemo({ stateDir, host = "127.0.0.1", ports = {} }) {
  const wanted = { ...demoPorts(), ...ports };
  const company = createCompany();
  const bound = {};
  const opened = [];
  const stop = once(async () => {
    await Promise.allSettled(opened.map((server) => server.close()));
    await Promise.all(Object.values(bound).map((socket) => socket.close()));
  });
  try {
    for (const [name, port] of Object.entries(wanted)) {
      const title = name === "identity" ? "identity provider" : `${name} server`;
      bound[name] = await bindLoopback({ name: title, port, host });
    }
    const servers = {};
    for (const [name, create] of Object.entries(SERVERS)) {
      const server = create(company);
      opened.push(server);
      bound[name].serve(atMcpPath(server.handle));
      servers[name] = { url: `http://${host}:${bound[name].port}/mcp` };
    }
    const issuer = `http://localhost:${bound.identity.port}`;
    bound.identity.serve(await createIdentityProvider({ issuer, stateDir }));
    return { issuer, servers, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function once(work) {
  let running;
  return () => {
    running ??= work();
    return running;
  };
}

async function main() {
  const { values } = parseArgs({ options: { state: { type: "string" } } });
  const stateDir = values.state ?? process.env.PORTCULLIS_STATE ?? join(tmpdir(), "portcullis-demo");
  const demo = await startDemo({ stateDir });
  const stopAndExit = () => demo.stop().then(() => process.exit(0));
  process.once("SIGINT", stopAndExit);
  process.once("SIGTERM", stopAndExit);
  console.log(JSON.stringify({ ready: true, issuer: demo.issuer, servers: demo.servers }));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  try {
    await main();
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
