// A refusal is an answer, not a fault: it is thrown, but carries no stack and costs next to nothing.

/** An answer that ends the call before, or instead of, an upstream's result. */
export class Refusal {
  constructor(status, code, message, headers) {
    this.status = status;
    this.code = code;
    this.message = message;
    this.headers = headers;
  }
}

/** The HTTP response that a refusal becomes; `id` is null while the message has not been read. */
export function respond(refusal, id = null) {
  const error = { code: refusal.code, message: refusal.message };
  return new Response(JSON.stringify({ jsonrpc: "2.0", id, error }), {
    status: refusal.status,
    headers: { "content-type": "application/json", ...refusal.headers },
  });
}
