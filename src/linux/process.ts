import { readFileSync, writeFileSync } from "node:fs";
import { isErrno } from "../base/errors.ts";
import { pidfdOpen } from "./child.ts";
import { closeFd } from "./files.ts";
import { check, declare } from "./libc.ts";

const SYS_pidfd_send_signal = 424;
const cPidfdSendSignal = declare<(call: number, pidfd: number, signal: number, info: null, flags: number) => number>(
  "long syscall(long call, int pidfd, int signal, void *info, unsigned int flags)",
);
const cKill = declare<(pid: number, signal: number) => number>("int kill(int pid, int signal)");
const cPrctl = declare<(option: number, a: number, b: number, c: number, d: number) => number>(
  "int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)",
);

/** kill(2); a negative pid is a process group. False when there is no such process. */
export function kill(pid: number, signal: number): boolean {
  try {
    check(cKill(pid, signal), "kill", `pid ${pid}`);
    return true;
  } catch (error) {
    if (isErrno(error, "ESRCH")) return false;
    throw error;
  }
}

/**
 * Sends the signal to the one process that had this pid and start time (see `processStart`). False when it is gone, also when
 * its pid is someone else's by now: the check and the signal go through one pidfd.
 */
export function killExactly(pid: number, start: string, signal: number): boolean {
  let fd: number;
  try {
    fd = pidfdOpen(pid);
  } catch (error) {
    // EINVAL: the pid is a thread's.
    if (isErrno(error, "ESRCH") || isErrno(error, "EINVAL")) return false;
    throw error;
  }
  try {
    if (processStart(pid) !== start) return false;
    check(cPidfdSendSignal(SYS_pidfd_send_signal, fd, signal, null, 0), "pidfd_send_signal", `pid ${pid}`);
    return true;
  } catch (error) {
    if (isErrno(error, "ESRCH")) return false;
    throw error;
  } finally {
    closeFd(fd);
  }
}

/**
 * When the process started, in clock ticks since the boot: field 22 of /proc/PID/stat. With the pid it names one process until
 * the next boot. Undefined when there is no such process. A zombie still has it.
 */
export function processStart(pid: number): string | undefined {
  return statFields(pid)?.[19];
}

/** The state letter of proc(5) ("R", "S", "D", "Z" ...); undefined when there is no such process. */
export function processState(pid: number): string | undefined {
  return statFields(pid)?.[0];
}

/** The fields of /proc/PID/stat after the name, which may hold blanks and brackets: [0] is field 3, the state. */
function statFields(pid: number): string[] | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ESRCH")) return undefined;
    throw error;
  }
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

/** The oom_score_adj of a process, default this one. */
export function oomScoreAdj(pid: number | "self" = "self"): number {
  return Number(readFileSync(`/proc/${pid}/oom_score_adj`, "latin1"));
}

/** The nearest oom_score_adj that this process may give to a child: without CAP_SYS_RESOURCE none below its own. */
export function clampOomScoreAdj(value: number): number {
  const within = Math.max(-1000, Math.min(1000, value));
  return capabilities().effective.includes("CAP_SYS_RESOURCE") ? within : Math.max(within, oomScoreAdj());
}

/** Sets the oom_score_adj of a process as near to `value` as is allowed, and answers what it is now. */
export function setOomScoreAdj(pid: number | "self", value: number): number {
  const allowed = clampOomScoreAdj(value);
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, String(allowed));
  } catch (error) {
    if (!isErrno(error, "EACCES")) throw error;
  }
  return oomScoreAdj(pid);
}

/** Orphaned descendants become children of this process, instead of init's, and are then reaped by it. */
export function setChildSubreaper(on: boolean): void {
  const PR_SET_CHILD_SUBREAPER = 36;
  check(cPrctl(PR_SET_CHILD_SUBREAPER, on ? 1 : 0, 0, 0, 0), "prctl", "PR_SET_CHILD_SUBREAPER");
}

/** Names of linux/capability.h by number. */
const capabilityNames =
  "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
    .split(" ")
    .map((name) => `CAP_${name}`);

let known: { bounding: readonly string[]; effective: readonly string[] } | undefined;

/** The capabilities of this process as it started, by name ("CAP_SYS_ADMIN"); those without a name here are left out. */
export function capabilities(): { bounding: readonly string[]; effective: readonly string[] } {
  if (known === undefined) {
    const status = readFileSync("/proc/self/status", "latin1");
    known = { bounding: capabilityNamesOf(status, "CapBnd"), effective: capabilityNamesOf(status, "CapEff") };
  }
  return known;
}

function capabilityNamesOf(status: string, field: string): string[] {
  const hex = new RegExp(`^${field}:\\s*([0-9a-f]+)$`, "m").exec(status)?.[1] ?? "0";
  const bits = BigInt(`0x${hex}`);
  return capabilityNames.filter((_, bit) => ((bits >> BigInt(bit)) & 1n) === 1n);
}
