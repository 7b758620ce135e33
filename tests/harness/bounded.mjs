// Every wait in the tests ends: a worker that hangs must fail its test, not the whole run.

/**
 * Settles like `promise`, or rejects after `ms`.
 * @template T
 * @param {Promise<T>} promise
 * @param {number} ms
 * @param {string} what the subject of the error's sentence
 * @returns {Promise<T>}
 */
export async function within(promise, ms, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Asks again until `ask` returns something truthy, and returns that.
 * @template T
 * @param {() => Promise<T> | T} ask
 * @param {{ ms?: number, everyMs?: number, what?: string }} [bounds]
 * @returns {Promise<T>}
 */
export async function eventually(ask, { ms = 10_000, everyMs = 50, what = "the condition" } = {}) {
  const end = Date.now() + ms;
  let last;
  for (;;) {
    try {
      const answer = await ask();
      if (answer) {
        return answer;
      }
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) {
      throw new Error(`${what} did not come true within ${ms} ms`, { cause: last });
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
