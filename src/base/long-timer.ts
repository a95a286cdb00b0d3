/** The longest that a timer of Node takes, 24.8 days. A longer one fires at once. */
const maxTimerMs = 2 ** 31 - 1;

/** setTimeout for any length of time: a pod may have months to end. Disposing clears it. */
export function longTimer(ms: number, run: () => void): Disposable {
  let timer: NodeJS.Timeout;
  const arm = (leftMs: number): void => {
    timer = leftMs > maxTimerMs ? setTimeout(() => arm(leftMs - maxTimerMs), maxTimerMs) : setTimeout(run, leftMs);
  };
  arm(ms);
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}
