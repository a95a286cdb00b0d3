import { closeFd } from "./files.ts";
import { check, declare, errnoError, lastErrno, pollReadable, retryEintr } from "./libc.ts";
import { signalName } from "./signals.ts";

const SYS_pidfd_open = 434;

const cPidfdOpen = declare<(call: number, pid: number, flags: number) => number>("long syscall(long call, int pid, unsigned int flags)");
const cWaitpid = declare<(pid: number, status: Int32Array, options: number) => number>("int waitpid(int pid, int *status, int options)");

/** How a process ended: by exit with a status, or by a signal. */
export interface ExitState {
  status: number | null;
  signal: string | null;
}

/** pidfd_open(2): a descriptor for a process, safe against the reuse of its pid. Closed on exec. */
export function pidfdOpen(pid: number): number {
  return check(cPidfdOpen(SYS_pidfd_open, pid, 0), "pidfd_open", `pid ${pid}`);
}

/**
 * Waits for a child of this process that libuv does not know, and reaps it. The event loop polls a pidfd: no thread, no
 * timer. Without a descriptor to spare it falls back to asking at growing intervals, at most every 50 ms.
 */
export function waitChild(pid: number): Promise<ExitState> {
  const { promise, resolve, reject } = Promise.withResolvers<ExitState>();
  let fd: number;
  try {
    fd = pidfdOpen(pid);
  } catch {
    askAgain(pid, 1, resolve, reject);
    return promise;
  }
  const poll = pollReadable(fd, () => {
    let state: ExitState | undefined;
    try {
      state = reap(pid);
      if (state === undefined) return;
      resolve(state);
    } catch (error) {
      reject(error);
    }
    poll.close();
    closeFd(fd);
  });
  return promise;
}

function askAgain(pid: number, delayMs: number, resolve: (state: ExitState) => void, reject: (error: unknown) => void): void {
  try {
    const state = reap(pid);
    if (state !== undefined) return resolve(state);
  } catch (error) {
    return reject(error);
  }
  setTimeout(() => askAgain(pid, Math.min(delayMs * 2, 50), resolve, reject), delayMs);
}

/** The state of a child that has exited, which is then gone; undefined while it runs. */
function reap(pid: number): ExitState | undefined {
  const WNOHANG = 1;
  const word = new Int32Array(1);
  const result = retryEintr(() => cWaitpid(pid, word, WNOHANG));
  if (result === 0) return undefined;
  if (result < 0) throw errnoError(lastErrno(), "waitpid", `pid ${pid}`);
  const state = word[0] ?? 0;
  // The layout of a wait status: bits 0-6 the signal, 0x7f for stopped (not asked for), bits 8-15 the exit status.
  const signal = state & 0x7f;
  return signal === 0 ? { status: (state >> 8) & 0xff, signal: null } : { status: null, signal: signalName(signal) };
}
