import { performance } from "node:perf_hooks";
import { Lane } from "./lane.mjs";

/**
 * Does `count` exchanges over `concurrency` connections, each waiting for the end of one before its next.
 * `make(at)` returns `{ request, id }` for the connection of that number, `check(answer, id)` throws on a wrong answer.
 * What takes more than one request brings an `exchange(connection, at)` that returns its milliseconds, and where one
 * socket is not enough, `open(address)`. The first fault ends the run.
 */
export async function drive({
  address,
  concurrency,
  count,
  make,
  check,
  open = Lane.open,
  exchange = singleRequest(make, check),
}) {
  const connections = await Promise.all(Array.from({ length: concurrency }, () => open(address)));
  const times = new Float64Array(count);
  let next = 0;
  const startedMs = performance.now();
  try {
    await Promise.all(
      connections.map(async (connection, at) => {
        while (next < count) {
          const index = next++;
          times[index] = await exchange(connection, at);
        }
      }),
    );
    return { times, wallMs: performance.now() - startedMs };
  } finally {
    for (const connection of connections) {
      connection.close();
    }
  }
}

function singleRequest(make, check) {
  return async (lane, at) => {
    const { request, id } = make(at);
    const answer = await lane.send(request);
    check(answer, id);
    return answer.ms;
  };
}
