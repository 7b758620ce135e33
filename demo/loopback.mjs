import { createServer } from "node:http";
import { localhostHostValidation, localhostOriginValidation } from "@modelcontextprotocol/node";

const REBIND_TRIES_MAX = 5;
const CLOSE_GRACE_MS = 2000;

/**
 * @typedef {object} Socket
 * @property {number} port
 * @property {(handle: (req, res) => Promise<void>) => void} serve
 * @property {() => Promise<void>} close
 */

/**
 * Binds one port on this machine's loopback addresses. `localhost` means ::1 first on many machines and
 * 127.0.0.1 on others, so both are bound where IPv6 exists.
 *
 * @param {{ name: string, port: number, host?: string }} wish port 0 takes any free one
 * @returns {Promise<Socket>}
 */
export async function bindLoopback({ name, port, host = "127.0.0.1" }) {
  for (let tries = 1; ; tries += 1) {
    const first = await listen(name, port, host);
    const taken = first.address().port;
    if (host !== "127.0.0.1") return combine([first], taken);
    try {
      return combine([first, await listen(name, taken, "::1")], taken);
    } catch (error) {
      if (["EADDRNOTAVAIL", "EAFNOSUPPORT", "EINVAL"].includes(error.cause?.code))
        return combine([first], taken);
      await closeServer(first);
      // A port that was free on 127.0.0.1 can be in use on ::1; for a port nobody chose, take another.
      if (port !== 0 || tries >= REBIND_TRIES_MAX) throw error;
    }
  }
}

function listen(name, port, host) {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (cause) => reject(new Error(explain(cause, name, port, host), { cause })));
    server.listen({ port, host, ipv6Only: host === "::1" }, () => resolve(server));
  });
}

function explain(cause, name, port, host) {
  if (cause.code === "EADDRINUSE") {
    return (
      `Port ${port} for the demo's ${name} is in use. Stop what uses it, or set DEMO_PORT_BASE: the demo ` +
      "takes five ports in a row from there (default 9100)."
    );
  }
  return `The demo's ${name} cannot listen on ${host} port ${port}: ${cause.message}`;
}

function combine(servers, port) {
  return {
    port,
    serve: (handle) => {
      for (const server of servers) server.on("request", guard(handle));
    },
    close: async () => {
      await Promise.all(servers.map(closeServer));
    },
  };
}

// A page on the open web can make a browser call this machine under a name of its own (DNS rebinding).
const hostIsLocal = localhostHostValidation();
const originIsLocal = localhostOriginValidation();

function guard(handle) {
  return async (req, res) => {
    if (!hostIsLocal(req, res)) return;
    try {
      await handle(req, res);
    } catch (error) {
      console.error(`${req.method} ${req.url} failed:`, error);
      if (!res.headersSent) res.writeHead(500, { "content-type": "text/plain" });
      res.end("The demo server failed; its terminal says why.\n");
    }
  };
}

/**
 * An MCP server at its one path.
 *
 * @param {(req, res) => Promise<void>} handle
 */
export function atMcpPath(handle) {
  return async (req, res) => {
    if (new URL(req.url, "http://localhost").pathname !== "/mcp") {
      res.writeHead(404, { "content-type": "text/plain" });
      res.end("There is nothing here. The MCP endpoint is /mcp.\n");
      return;
    }
    if (originIsLocal(req, res)) await handle(req, res);
  };
}

async function closeServer(server) {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeIdleConnections();
  // Event streams never end by themselves.
  const timer = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
  await closed;
  clearTimeout(timer);
}
