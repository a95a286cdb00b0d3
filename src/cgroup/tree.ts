import { readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isErrno } from "../base/errors.ts";
import { kill } from "../linux/process.ts";

/** Removing a cgroup fails with EBUSY for some milliseconds after its last process has gone. */
const busyRetries = [2, 5, 10, 20, 50, 100, 200, 400];
const killRounds = 50;

/** Whether the error says that the cgroup is gone: ENOENT, or ENODEV for one that was removed while its file was open. */
export function isGone(error: unknown): boolean {
  return isErrno(error, "ENOENT") || isErrno(error, "ENODEV");
}

/** Removes a cgroup and all below it; one that is gone is no error. @throws EBUSY when processes are left */
export async function removeTree(dir: string): Promise<void> {
  for (const child of await childrenOf(dir)) await removeTree(join(dir, child));
  for (const delay of [...busyRetries, 0]) {
    try {
      await rmdir(dir);
      return;
    } catch (error) {
      if (isGone(error)) return;
      if (delay === 0 || !isErrno(error, "EBUSY")) throw error;
      await new Promise((resolve) => setTimeout(resolve, delay));
    }
  }
}

/** The processes of a cgroup and of all below it; none when it is gone. */
export async function processesOf(dir: string): Promise<number[]> {
  const own = await readFile(join(dir, "cgroup.procs"), "latin1").catch((error: unknown) => {
    // EOPNOTSUPP: a threaded cgroup, whose processes stand in the one above.
    if (isGone(error) || isErrno(error, "EOPNOTSUPP")) return "";
    throw error;
  });
  const pids = own
    .split("\n")
    .filter((line) => line !== "")
    .map(Number);
  for (const child of await childrenOf(dir)) pids.push(...(await processesOf(join(dir, child))));
  return pids;
}

/** Kills all processes of a cgroup: at once through cgroup.kill where there is one (v2, kernel 5.14), else until none is found. */
export async function killTree(dir: string): Promise<void> {
  try {
    await writeFile(join(dir, "cgroup.kill"), "1", { flag: "r+" });
    return;
  } catch (error) {
    if (!isGone(error) && !isErrno(error, "EACCES") && !isErrno(error, "EPERM")) throw error;
  }
  for (let round = 0; round < killRounds; round++) {
    // 0 stands for a process of another pid namespace, which cannot be named from here.
    const pids = (await processesOf(dir)).filter((pid) => pid > 0);
    if (pids.length === 0) return;
    for (const pid of pids) kill(pid, 9);
    await new Promise((resolve) => setTimeout(resolve, Math.min(2 ** round, 50)));
  }
}

/** The names of the cgroups right below; none when it is gone. */
export async function childrenOf(dir: string): Promise<string[]> {
  try {
    const entries = await readdir(dir, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}
