import { parentPort, workerData } from "node:worker_threads";
import { isErrno, messageOf } from "../base/errors.ts";
import { lowerThreadPriority } from "../linux/priority.ts";
import { type SumJob, sumOf } from "./sum.ts";
import type { SumAnswer } from "./summer.ts";

// The thread that summer.ts starts: one job at a time, at the rate that it was told, behind everybody else.
const port = parentPort;
if (port === null) throw new Error("sum.worker is a worker thread");
const { bytesPerSecond } = workerData as { bytesPerSecond: number };
const clock = new Int32Array(new SharedArrayBuffer(4));

lowerThreadPriority();
let started = performance.now();
let bytes = 0;

/** Sleeps as long as the rate wants it. A pause from outside is not made up for. */
function pace(read: number): void {
  bytes += read;
  const ahead = (bytes / bytesPerSecond) * 1000 - (performance.now() - started);
  if (ahead > 20) Atomics.wait(clock, 0, 0, ahead);
  if (ahead < -1000) {
    started = performance.now();
    bytes = 0;
  }
}

port.on("message", (job: SumJob) => port.postMessage(answer(job)));

function answer(job: SumJob): SumAnswer {
  try {
    return { sum: sumOf(job, bytesPerSecond > 0 ? pace : () => undefined) };
  } catch (error) {
    const lost = ["ENOENT", "EIO", "ELOOP", "ENOTDIR", "EUCLEAN", "EBADMSG"].some((errno) => isErrno(error, errno));
    return { error: messageOf(error), lost };
  }
}
