import { readdir, readFile, readlink } from "node:fs/promises";
import type { ShimSetting } from "./shim-binary.ts";

/** A shim process of this daemon, as found in /proc. */
export interface ShimProcess {
  pid: number;
  /** The `-id` flag: the pod that it was started for. */
  id: string;
  /** Its working directory; "" when that cannot be read. */
  bundle: string;
}

/** The shims that run with this daemon's `-address` and `-namespace`, whether anybody remembers them or not. */
export async function listShimProcesses(setting: Pick<ShimSetting, "grpcAddress" | "namespace">): Promise<ShimProcess[]> {
  const found: ShimProcess[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    // A process may end at any moment: then its files are gone, and it is of no interest.
    const cmdline = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "");
    const id = shimId(cmdline.split("\0"), setting);
    if (id !== undefined) found.push({ pid: Number(name), id, bundle: await readlink(`/proc/${name}/cwd`).catch(() => "") });
  }
  return found;
}

/** The id of the shim with this argv; undefined for another's, and for a `start` or `delete` that is under way. */
export function shimId(argv: readonly string[], setting: Pick<ShimSetting, "grpcAddress" | "namespace">): string | undefined {
  const flags = new Map<string, string>();
  const words = argv.filter((word) => word !== "");
  let at = 1;
  for (; words[at]?.startsWith("-") === true; at++) {
    const word = words[at] ?? "";
    if (word !== "-debug") flags.set(word, words[++at] ?? "");
  }
  if (at < words.length) return undefined;
  if (flags.get("-address") !== setting.grpcAddress || flags.get("-namespace") !== setting.namespace) return undefined;
  return flags.get("-id");
}
