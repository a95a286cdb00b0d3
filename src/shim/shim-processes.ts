import { constants, fstatSync, readFileSync, statSync } from "node:fs";
import { readdir, readFile, readlink } from "node:fs/promises";
import { dirname } from "node:path";
import { openInRoot } from "../linux/at.ts";
import { closeFd, O_PATH } from "../linux/files.ts";
import { processStart } from "../linux/process.ts";
import type { ShimSetting } from "./shim-binary.ts";

/** A shim process of this daemon, as found in /proc. */
export interface ShimProcess {
  pid: number;
  /** The `-id` flag: the pod that it was started for. */
  id: string;
  /** Its working directory; "" when that cannot be read. */
  bundle: string;
  /** A `start` or `delete` of the binary that is under way; undefined for the shim itself. */
  action: string | undefined;
}

/**
 * The shims of this daemon, and their helpers, whether anybody remembers them or not: those with its `-address` and `-namespace` that see the same
 * state directory at that address.
 *
 * The arguments alone do not tell: a crid in a container has the same ones as the host's, and the host sees its processes. The mount namespace
 * would tell too much: a service with PrivateMounts or ProtectSystem gets a new one at every start, and shims stay in that of the start before. What two
 * daemons cannot share is the state directory, so it is looked up as the shim sees it, through its root directory, and compared by device and inode. One
 * whose view cannot be read is not taken for ours, as a shim that stays costs less than one that is killed for another.
 */
export async function listShimProcesses(setting: Pick<ShimSetting, "grpcAddress" | "namespace">): Promise<ShimProcess[]> {
  const found: ShimProcess[] = [];
  const stateDir = dirname(setting.grpcAddress);
  const own = statSync(stateDir, { throwIfNoEntry: false, bigint: true });
  if (own === undefined) return [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    // A process may end at any moment: then its files are gone, and it is of no interest.
    const cmdline = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "");
    const shim = parseShimArgv(cmdline.split("\0"), setting);
    if (shim === undefined || !seesDirectory(name, stateDir, own)) continue;
    found.push({ pid: Number(name), ...shim, bundle: await readlink(`/proc/${name}/cwd`).catch(() => "") });
  }
  return found;
}

/** Whether the path leads this process to that directory. Its own symlinks count, not ours. */
function seesDirectory(pid: string, path: string, directory: { dev: bigint; ino: bigint }): boolean {
  let fd: number | undefined;
  try {
    fd = openInRoot(`/proc/${pid}/root`, path, O_PATH | constants.O_DIRECTORY);
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return dev === directory.dev && ino === directory.ino;
  } catch {
    return false;
  } finally {
    if (fd !== undefined) closeFd(fd);
  }
}

/** Now, in clock ticks since the boot, as `processStart` gives it: 100 a second on every architecture of Linux that Node runs on. */
export function nowTicks(): number {
  return Math.floor(Number(readFileSync("/proc/uptime", "latin1").split(" ")[0]) * 100);
}

/** Whether the process was started at this tick or later. One that is gone was not. */
export function startedSince(pid: number, ticks: number): boolean {
  const start = processStart(pid);
  return start !== undefined && Number(start) >= ticks;
}

/** What the argv of a shim of this daemon says; undefined for any other process. */
export function parseShimArgv(
  argv: readonly string[],
  setting: Pick<ShimSetting, "grpcAddress" | "namespace">,
): { id: string; action: string | undefined } | undefined {
  const flags = new Map<string, string>();
  const words = argv.filter((word) => word !== "");
  let at = 1;
  for (; words[at]?.startsWith("-") === true; at++) {
    const word = words[at] ?? "";
    if (word !== "-debug") flags.set(word, words[++at] ?? "");
  }
  if (flags.get("-address") !== setting.grpcAddress || flags.get("-namespace") !== setting.namespace) return undefined;
  const id = flags.get("-id") ?? "";
  return id === "" ? undefined : { id, action: words[at] };
}
