import { CridError } from "./errors.ts";
import { longTimer } from "./long-timer.ts";

/**
 * A signal that aborts when any of the given ones does or after `timeoutMs`. `using` removes the timer and the listeners.
 * On the timeout the reason is a `deadline-exceeded` CridError that names `step`.
 */
export function linkSignals(options: { signals?: readonly (AbortSignal | undefined)[]; timeoutMs?: number; step: string }): Disposable & {
  readonly signal: AbortSignal;
} {
  const controller = new AbortController();
  const offs: (() => void)[] = [];
  for (const signal of options.signals ?? []) {
    if (signal === undefined) continue;
    if (signal.aborted) {
      controller.abort(signal.reason);
      break;
    }
    const onAbort = (): void => controller.abort(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    offs.push(() => signal.removeEventListener("abort", onAbort));
  }
  if (options.timeoutMs !== undefined && !controller.signal.aborted) {
    const { timeoutMs, step } = options;
    const timer = longTimer(timeoutMs, () =>
      controller.abort(new CridError("deadline-exceeded", `${step}: no answer after ${timeoutMs} ms`)),
    );
    offs.push(() => timer[Symbol.dispose]());
  }
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      for (const off of offs) off();
    },
  };
}
