import { NodeStreamableHTTPServerTransport, toNodeHandler, toWebRequest } from "@modelcontextprotocol/node";
import { createMcpHandler, isInitializeRequest, isLegacyRequest } from "@modelcontextprotocol/server";
import { readJson, refuse, UNREADABLE } from "./exchange.mjs";
import { createSessions } from "./sessions.mjs";

/**
 * One endpoint for both eras where the legacy one keeps sessions: the request itself says which era it is
 * of, so the modern side never sees a session and the legacy side never sees an envelope.
 *
 * @param {(notify: () => object) => import("@modelcontextprotocol/server").McpServer} build
 * @returns {{ handle: (req, res) => Promise<void>, close: () => Promise<void> }}
 */
export function serveBothWithSessions(build) {
  const modern = createMcpHandler(() => build(() => modern.notify), { legacy: "reject" });
  const handleModern = toNodeHandler(modern);
  const sessions = createSessions({
    isInitialize: isInitializeRequest,
    connect: async (options) => {
      const transport = new NodeStreamableHTTPServerTransport(options);
      await build(() => modern.notify).connect(transport);
      return transport;
    },
  });

  async function handle(req, res) {
    const body = req.method === "POST" ? await readJson(req) : undefined;
    if (body === UNREADABLE) {
      return refuse(res, 400, -32700, "The body is not JSON, or it is larger than 4 MiB.");
    }
    const legacy = await isLegacyRequest(await toWebRequest(req, body), body);
    return legacy ? sessions.handle(req, res, body) : handleModern(req, res, body);
  }

  return {
    handle,
    close: async () => {
      await Promise.allSettled([modern.close(), sessions.close()]);
    },
  };
}

/**
 * One endpoint whose legacy side keeps no sessions: each 2025-era request is answered on its own.
 *
 * @param {(notify: () => object) => import("@modelcontextprotocol/server").McpServer} build
 */
export function serveBothStateless(build) {
  return serveWith(build, { legacy: "stateless" });
}

/**
 * One endpoint of the modern era only; 2025-era requests are told which revisions there are.
 *
 * @param {(notify: () => object) => import("@modelcontextprotocol/server").McpServer} build
 */
export function serveModernOnly(build) {
  return serveWith(build, { legacy: "reject" });
}

function serveWith(build, options) {
  const handler = createMcpHandler(() => build(() => handler.notify), options);
  return { handle: toNodeHandler(handler), close: () => handler.close() };
}
