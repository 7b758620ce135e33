import { RpcTarget } from "cloudflare:workers";

/** What the portal lends to one run: a call by name, arguments and answer as JSON text. */
export type Call = (name: string, argsJson: string) => Promise<string>;

/** A function that arrived by RPC: a stub that must be duplicated to be kept and disposed of when done. */
export type LentCall = Call & Partial<Disposable> & { dup?: () => Call & Partial<Disposable> };

/**
 * The only thing an isolate can reach. It is closed with the run, so that a program that is given up on cannot call on
 * behalf of a caller who already has an answer.
 */
export class Capability extends RpcTarget {
  readonly #call: Call & Partial<Disposable>;
  #open = true;

  constructor(lent: LentCall) {
    super();
    this.#call = lent.dup ? lent.dup() : lent;
  }

  async call(name: string, argsJson: string): Promise<string> {
    if (!this.#open) {
      throw new Error("the program has finished; await every call before returning");
    }
    return await this.#call(name, argsJson);
  }

  close(): void {
    this.#open = false;
    this.#call[Symbol.dispose]?.();
  }
}
