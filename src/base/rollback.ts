import type { Logger } from "./log.ts";

/** Undoes one acquired thing. Must be idempotent, and must settle soon after its signal aborts. */
export type Undo = (options: { signal: AbortSignal }) => Promise<void> | void;

/**
 * A stack of named undos. Push the undo the moment a thing is acquired, or before the call when it can half-succeed (a CNI
 * ADD allocates an address even when it returns an error). Leaving the `await using` block runs them newest first unless
 * `disarm()` was called. They run on a clock of their own, never on the caller's signal, which is aborted by then.
 */
export class Rollback implements AsyncDisposable {
  readonly #undos: { name: string; undo: Undo }[] = [];
  readonly #options: { log: Logger; timeoutMs: number };
  readonly #failed: string[] = [];

  constructor(options: { log: Logger; timeoutMs?: number }) {
    this.#options = { log: options.log, timeoutMs: options.timeoutMs ?? 60_000 };
  }

  /** The names of the undos that failed: what is left behind and must stay on record. Empty until the rollback has run. */
  get failed(): readonly string[] {
    return this.#failed;
  }

  push(name: string, undo: Undo): void {
    this.#undos.push({ name, undo });
  }

  /** The work succeeded: keep everything. */
  disarm(): void {
    this.#undos.length = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#undos.length === 0) return;
    const signal = AbortSignal.timeout(this.#options.timeoutMs);
    for (let step = this.#undos.pop(); step !== undefined; step = this.#undos.pop()) {
      try {
        await step.undo({ signal });
        this.#options.log.debug({ undo: step.name }, "undone");
      } catch (error) {
        this.#failed.push(step.name);
        this.#options.log.warn({ undo: step.name, err: error }, "undo failed; the record is kept for the next attempt");
      }
    }
  }
}
