import { CridError } from "./errors.ts";
import { raceAbort } from "./keyed-mutex.ts";

/** What a failpoint does: throw, wait until the caller's signal aborts, or kill the process as `kill -9` would. */
type FailAction = "error" | "hang" | "crash";

interface Armed {
  action: FailAction;
  /** The call that triggers, from 1. */
  nth: number;
  calls: number;
}

let armed = parse(process.env.CRID_FAILPOINTS ?? "");

/**
 * A place where a test can make the daemon fail. Does nothing unless the environment variable CRID_FAILPOINTS names it:
 * `name=error|hang|crash`, several separated by commas, each with `@N` to trigger on the N-th call only
 * (`sandbox.run.after-netns=crash@2`). Without `@N` every call triggers. A name is `<folder>.<operation>.<place>`.
 *
 * @throws an `internal` CridError (error), the signal's reason (hang); a crash does not return.
 */
export async function failpoint(name: string, options: { signal?: AbortSignal } = {}): Promise<void> {
  const point = armed.get(name);
  if (point === undefined) return;
  point.calls++;
  if (point.nth !== 0 && point.calls !== point.nth) return;
  switch (point.action) {
    case "error":
      throw new CridError("internal", `failpoint ${name}: told to fail`);
    case "crash":
      // SIGKILL to oneself: nothing more runs, no handler, no flush. That is what the tests are about.
      process.kill(process.pid, "SIGKILL");
      break;
    case "hang":
      // The timer keeps the process alive: a promise alone would let it end.
      await hang(options.signal);
  }
}

/** Arms failpoints from inside a test; the text is that of CRID_FAILPOINTS, "" disarms all. */
export function armFailpoints(text: string): void {
  armed = parse(text);
}

async function hang(signal: AbortSignal | undefined): Promise<void> {
  const keepAlive = setInterval(() => {}, 60_000);
  try {
    await raceAbort(new Promise<never>(() => {}), signal);
  } finally {
    clearInterval(keepAlive);
  }
}

function parse(text: string): Map<string, Armed> {
  const points = new Map<string, Armed>();
  for (const item of text.split(",").map((part) => part.trim())) {
    if (item === "") continue;
    const match = /^([\w.-]+)=(error|hang|crash)(?:@(\d+))?$/.exec(item);
    const [, name, action, nth] = match ?? [];
    if (name === undefined || action === undefined) {
      throw new CridError("invalid-argument", `CRID_FAILPOINTS: "${item}" is not name=error|hang|crash[@N]`);
    }
    points.set(name, { action: action as FailAction, nth: nth === undefined ? 0 : Number(nth), calls: 0 });
  }
  return points;
}
