/**
 * Reads a message's whole body.
 * @param {AsyncIterable<Buffer>} message
 * @param {number} bytesMax
 * @returns {Promise<Buffer | undefined>} undefined if it is longer than `bytesMax`
 */
export async function readBody(message, bytesMax) {
  const chunks = [];
  let length = 0;
  for await (const chunk of message) {
    length += chunk.length;
    if (length > bytesMax) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
