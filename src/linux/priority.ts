import { setPriority } from "node:os";
import { optional } from "./libc.ts";

/** ioprio_set(2) has no wrapper in the C library. The numbers are those of asm/unistd_64.h and asm-generic/unistd.h. */
const SYS_ioprio_set = process.arch === "x64" ? 251 : 30;
const IOPRIO_WHO_PROCESS = 1;
/** Served only when nobody else wants the disk (ioprio_set(2)). */
const IOPRIO_CLASS_IDLE = 3 << 13;

const cIoprioSet = optional<(call: number, which: number, who: number, priority: number) => number>(
  "long syscall(long call, int which, int who, int priority)",
);

/**
 * Puts the calling thread behind everybody else, for processor and disk. Linux takes 0 for the thread, not the process, in both calls,
 * whatever POSIX says. Only schedulers that know classes (BFQ, mq-deadline) heed the one of the disk.
 */
export function lowerThreadPriority(): void {
  setPriority(0, 19);
  // Not allowed in some containers: then the processor's has to do.
  cIoprioSet?.(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_IDLE);
}
