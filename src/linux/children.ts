import { readdirSync, readFileSync } from "node:fs";
import { isErrno } from "../base/errors.ts";

/**
 * The child processes of a process, of all its threads; none when it is gone. Needs CONFIG_PROC_CHILDREN, which every distribution's
 * kernel has; without it there seem to be none.
 */
export function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) => threadChildren(pid, thread));
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ESRCH")) return [];
    throw error;
  }
}

/** The argument vector of a process, its words parted by spaces; "" when it is gone. */
export function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trimEnd();
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ESRCH")) return "";
    throw error;
  }
}

function threadChildren(pid: number, thread: string): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${thread}/children`, "latin1");
    return text
      .split(" ")
      .filter((word) => word !== "")
      .map(Number);
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ESRCH")) return [];
    throw error;
  }
}
