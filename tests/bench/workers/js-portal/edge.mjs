import { MAX_BODY_BYTES } from "./limits.mjs";
import { Refusal } from "./refusal.mjs";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const tooLarge = () => new Refusal(413, -32600, `The request body is larger than ${MAX_BODY_BYTES} bytes`);

/** Checks method, origin and content type; says nothing about who calls. */
export function checkRequest(request, url) {
  if (url.pathname !== "/mcp" && !url.pathname.endsWith("/mcp")) {
    throw new Refusal(404, -32600, "Not found");
  }
  if (request.method !== "POST") {
    throw new Refusal(405, -32600, "Use POST", { allow: "POST" });
  }
  const { headers } = request;
  const origin = headers.get("origin");
  if (origin !== null && origin !== url.origin) {
    throw new Refusal(403, -32600, "This origin may not call");
  }
  const type = headers.get("content-type");
  if (type !== "application/json" && !/^application\/json\s*(;|$)/i.test(type ?? "")) {
    throw new Refusal(415, -32600, "Send application/json");
  }
  if (Number(headers.get("content-length")) > MAX_BODY_BYTES) {
    throw tooLarge();
  }
}

/** The body as text; one without a declared length is counted while it is read. */
export async function readBody(request) {
  if (request.headers.get("content-length") !== null) {
    return request.text();
  }
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > MAX_BODY_BYTES) {
      throw tooLarge();
    }
    chunks.push(chunk);
  }
  try {
    return decoder.decode(await new Blob(chunks).arrayBuffer());
  } catch {
    throw new Refusal(400, -32700, "The request body is not UTF-8");
  }
}
