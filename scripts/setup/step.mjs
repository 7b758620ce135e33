// One line before a step that takes time, with what it does and how long that usually takes, and one when it is done.

/**
 * @template T
 * @param {string} what
 * @param {string} usually how long it takes, for the person who waits
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function step(what, usually, work) {
  const start = Date.now();
  console.log(`» ${what} (usually ${usually})`);
  const result = await work();
  console.log(`  done in ${Math.round((Date.now() - start) / 100) / 10} s`);
  return result;
}
