// One keep-alive HTTP/1.1 connection on a raw socket: a client's own cost would drown what is measured.

import { connect } from "node:net";
import { performance } from "node:perf_hooks";
import { connect as connectTls } from "node:tls";

const ANSWER_WAIT_MS = 30_000;
const HEAD_END = Buffer.from("\r\n\r\n");
const CRLF = Buffer.from("\r\n");

/** A connection that carries one request at a time. */
export class Lane {
  #socket;
  #held = Buffer.alloc(0);
  #chunks = [];
  #arrived = 0;
  #wanted = 0;
  #head;
  #waiting;

  /** Opens a connection; throws when nothing listens there. */
  static open({ host, port, tls = false }) {
    return new Promise((resolve, reject) => {
      const socket = tls ? connectTls({ host, port, servername: host }) : connect({ host, port });
      socket.setNoDelay(true);
      socket.once("error", reject);
      socket.once(tls ? "secureConnect" : "connect", () => {
        socket.off("error", reject);
        resolve(new Lane(socket));
      });
    });
  }

  constructor(socket) {
    this.#socket = socket;
    socket.setTimeout(ANSWER_WAIT_MS);
    socket.on("data", (chunk) => this.#take(chunk));
    socket.on("error", (fault) => this.#fail(fault));
    socket.on("timeout", () => this.#fail(new Error(`no answer within ${ANSWER_WAIT_MS} ms`)));
    socket.on("close", () => this.#fail(new Error("the connection was closed before the answer was whole")));
  }

  /**
   * Sends a whole request and returns `{ status, head, body, ms }`. `onPart` sees what has come of a streamed body
   * each time there is more of it.
   */
  send(request, onPart) {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject, onPart, startedMs: performance.now() };
      this.#socket.write(request);
    });
  }

  close() {
    this.#waiting = undefined;
    this.#socket.destroy();
  }

  #fail(fault) {
    this.#socket.destroy();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(fault);
  }

  #take(chunk) {
    if (this.#head === undefined) {
      this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
      const end = this.#held.indexOf(HEAD_END);
      if (end === -1) {
        return;
      }
      this.#head = this.#held.latin1Slice(0, end);
      const rest = this.#held.subarray(end + 4);
      this.#held = Buffer.alloc(0);
      const length = /\r\ncontent-length: *(\d+)/i.exec(this.#head);
      const chunked = /\r\ntransfer-encoding: *chunked/i.test(this.#head);
      this.#wanted = chunked ? -1 : Number(length?.[1] ?? 0);
      this.#arrived = 0;
      this.#chunks = [];
      chunk = rest;
    }
    if (chunk.length > 0) {
      this.#chunks.push(chunk);
    }
    this.#arrived += chunk.length;
    if (this.#wanted >= 0) {
      if (this.#arrived >= this.#wanted) {
        this.#finish(this.#whole());
      }
    } else {
      const { parts, isWhole } = unchunk(this.#whole());
      if (isWhole) {
        this.#finish(Buffer.concat(parts));
      } else if (parts.length > 0) {
        this.#waiting?.onPart?.(Buffer.concat(parts));
      }
    }
  }

  #whole() {
    if (this.#chunks.length > 1) {
      this.#chunks = [Buffer.concat(this.#chunks)];
    }
    return this.#chunks[0] ?? Buffer.alloc(0);
  }

  #finish(body) {
    const { resolve, startedMs } = this.#waiting;
    const ms = performance.now() - startedMs;
    const head = this.#head;
    this.#waiting = undefined;
    this.#head = undefined;
    resolve({ status: Number(head.slice(9, 12)), head, body, ms });
  }
}

/** What has come of the body inside a chunked coding; it is whole when its last chunk has come. */
function unchunk(coded) {
  const parts = [];
  let at = 0;
  for (;;) {
    const end = coded.indexOf(CRLF, at);
    if (end === -1) {
      return { parts, isWhole: false };
    }
    const size = Number.parseInt(coded.latin1Slice(at, end), 16);
    if (!Number.isInteger(size)) {
      throw new Error("the chunked coding is broken");
    }
    if (coded.length < end + 2 + size + 2) {
      return { parts, isWhole: false };
    }
    if (size === 0) {
      return { parts, isWhole: true };
    }
    parts.push(coded.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
}
