import { createServer } from "node:http";

/**
 * An HTTP server on 127.0.0.1 whose handler may fail without taking the process along.
 * @param {number} port 0 picks a free one
 * @param {(request: import("node:http").IncomingMessage, response: import("node:http").ServerResponse)
 *   => Promise<void>} handle
 * @returns {Promise<{ url: string, port: number, close: () => Promise<void> }>}
 */
export async function listen(port, handle) {
  const server = createServer((request, response) => {
    handle(request, response).catch((error) => {
      console.error(`${request.method} ${request.url} failed:`, error);
      if (response.headersSent) response.destroy();
      else response.writeHead(500).end();
    });
  });
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const { port: bound } = server.address();
  return {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    close: () =>
      new Promise((resolve) => {
        server.close(resolve);
        // Open event streams would keep the server alive for ever.
        server.closeAllConnections();
      }),
  };
}
