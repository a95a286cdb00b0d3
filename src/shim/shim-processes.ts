import { readFileSync } from "node:fs";
import { readdir, readFile, readlink } from "node:fs/promises";
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

/** The shims that run with this daemon's `-address` and `-namespace`, and their helpers, whether anybody remembers them or not. */
export async function listShimProcesses(setting: Pick<ShimSetting, "grpcAddress" | "namespace">): Promise<ShimProcess[]> {
  const found: ShimProcess[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    // A process may end at any moment: then its files are gone, and it is of no interest.
    const cmdline = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "");
    const shim = parseShimArgv(cmdline.split("\0"), setting);
    if (shim !== undefined) found.push({ pid: Number(name), ...shim, bundle: await readlink(`/proc/${name}/cwd`).catch(() => "") });
  }
  return found;
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
