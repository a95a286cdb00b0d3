import { raceAbort } from "./keyed-mutex.ts";

/** The longest that a timer of Node takes, 24.8 days. A longer one fires at once. */
const maxTimerMs = 2 ** 31 - 1;

/**
 * setTimeout for any length of time: a pod may have months to end. Disposing clears it.
 * @param o.unref whether the process may end before
 */
export function longTimer(ms: number, run: () => void, o: { unref?: boolean } = {}): Disposable {
  let timer: NodeJS.Timeout;
  const arm = (leftMs: number): void => {
    timer = leftMs > maxTimerMs ? setTimeout(() => arm(leftMs - maxTimerMs), maxTimerMs) : setTimeout(run, leftMs);
    if (o.unref === true) timer.unref();
  };
  arm(ms);
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

/** Whether the promise is fulfilled within that time. @throws what it is rejected with; the signal's reason */
export async function settlesWithin(promise: Promise<unknown>, ms: number, o: { signal?: AbortSignal } = {}): Promise<boolean> {
  const over = Promise.withResolvers<boolean>();
  using _ = longTimer(ms, () => over.resolve(false));
  return await raceAbort(Promise.race([promise.then(() => true), over.promise]), o.signal);
}
