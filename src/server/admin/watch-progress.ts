import { setTimeout as sleep } from "node:timers/promises";

/** Soon at first, as a small image is here at once; then as often as people can see. */
const firstMs = 20;
const everyMs = 100;

/**
 * Does work and yields, up to ten times a second, what there is to see of it, whenever it has changed. The work's result comes last.
 * The work gets a signal of its own, which ends when the caller stops to look.
 */
export async function* watchProgress<Seen, Result>(
  work: (o: { signal: AbortSignal }) => Promise<Result>,
  look: () => Seen | undefined,
  o: { signal: AbortSignal },
): AsyncGenerator<{ seen: Seen } | { result: Result }> {
  const stop = new AbortController();
  const running = work({ signal: AbortSignal.any([o.signal, stop.signal]) });
  running.catch(() => undefined);
  let last = "";
  let ms = firstMs;
  try {
    for (;;) {
      using pause = timer(ms);
      ms = Math.min(ms * 2, everyMs);
      const done = await Promise.race([running.then(() => true), pause.elapsed]);
      if (done) return yield { result: await running };
      const seen = look();
      const text = JSON.stringify(seen);
      if (seen === undefined || text === last) continue;
      last = text;
      yield { seen };
    }
  } finally {
    stop.abort(o.signal.reason);
    await running.catch(() => undefined);
  }
}

function timer(ms: number): Disposable & { elapsed: Promise<false> } {
  const end = new AbortController();
  const elapsed = sleep(ms, false as const, { signal: end.signal });
  elapsed.catch(() => undefined);
  return { elapsed, [Symbol.dispose]: () => end.abort() };
}
