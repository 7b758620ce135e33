import { performance } from "node:perf_hooks";
import { Lane } from "./lane.mjs";

/**
 * Sends `count` requests over `concurrency` connections, each waiting for its answer before its next request.
 * `make()` returns `{ request, id }`, `check(answer, id)` throws on a wrong answer; the first fault ends the run.
 */
export async function drive({ address, concurrency, count, make, check }) {
  const lanes = await Promise.all(Array.from({ length: concurrency }, () => Lane.open(address)));
  const times = new Float64Array(count);
  let next = 0;
  const startedMs = performance.now();
  try {
    await Promise.all(
      lanes.map(async (lane) => {
        while (next < count) {
          const index = next++;
          const { request, id } = make();
          const answer = await lane.send(request);
          times[index] = answer.ms;
          check(answer, id);
        }
      }),
    );
    return { times, wallMs: performance.now() - startedMs };
  } finally {
    for (const lane of lanes) {
      lane.close();
    }
  }
}
