// A taken port is found before anything is built or started.
import { createServer } from "node:net";
import { Failure } from "../process.mjs";

/** @param {number} port fails when something listens there already */
export async function requireFreePort(port) {
  for (const host of ["127.0.0.1", "::1"]) {
    const code = await tryListen(port, host);
    if (code === "EADDRINUSE") {
      const mend = `End what listens there (\`lsof -i :${port}\` shows it), or choose another: PORT=${port + 1} npm start`;
      throw new Failure(`Port ${port} is taken.`, mend);
    }
    if (code === "EACCES") {
      throw new Failure(
        `Port ${port} may not be used by this user.`,
        "Choose one above 1023: PORT=8787 npm start",
      );
    }
  }
}

function tryListen(port, host) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error) => resolve(error.code));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}
