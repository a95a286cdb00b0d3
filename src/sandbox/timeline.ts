import { CridError, isAbort, messageOf } from "../base/errors.ts";
import { linkSignals } from "../base/signals.ts";

/** One step of an operation, in milliseconds from its start; `ms` is undefined while it runs. */
export interface Step {
  step: string;
  at: number;
  ms: number | undefined;
}

/** The steps of one operation: what a verbose status shows, and what an error names when time runs out. */
export class Timeline {
  readonly #operation: string;
  readonly #start = performance.now();
  readonly #steps: Step[] = [];
  readonly #onStep: ((operation: string, step: string, seconds: number) => void) | undefined;

  constructor(operation: string, onStep?: (operation: string, step: string, seconds: number) => void) {
    this.#operation = operation;
    this.#onStep = onStep;
  }

  get steps(): readonly Step[] {
    return this.#steps;
  }

  /** `create pause (for 1200 ms)`: the steps under way; "" when there is none. */
  underWay(): string {
    const now = performance.now() - this.#start;
    return this.#steps
      .filter((step) => step.ms === undefined)
      .map((step) => `${step.step} (for ${Math.round(now - step.at)} ms)`)
      .join(", ");
  }

  /**
   * Runs one step, bounded by `timeoutMs` and the signal. Its error carries the step's name.
   */
  async run<T>(
    step: string,
    options: { signal: AbortSignal; timeoutMs: number },
    work: (options: { signal: AbortSignal }) => Promise<T> | T,
  ): Promise<T> {
    const entry: Step = { step, at: round(performance.now() - this.#start), ms: undefined };
    this.#steps.push(entry);
    using link = linkSignals({ signals: [options.signal], timeoutMs: options.timeoutMs, step });
    try {
      link.signal.throwIfAborted();
      return await work({ signal: link.signal });
    } catch (error) {
      // What an aborted call threw says less than why it was aborted.
      const reason: unknown = link.signal.aborted && isAbort(error) ? link.signal.reason : error;
      // The deadline of this very step says its name already.
      throw CridError.from(reason, messageOf(reason).startsWith(`${step}: `) ? undefined : step);
    } finally {
      entry.ms = round(performance.now() - this.#start - entry.at);
      this.#onStep?.(this.#operation, step, entry.ms / 1000);
    }
  }
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
