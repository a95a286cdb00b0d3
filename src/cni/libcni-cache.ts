import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { isErrno } from "../base/errors.ts";

/** Where libcni, and with it containerd, CRI-O and nerdctl, writes down what it attached, unless told otherwise. */
export const libcniCacheDir = "/var/lib/cni";

/** What matters of libcni's `cachedInfo`, kind `cniCacheV1`. */
const cachedInfo = z.object({
  kind: z.literal("cniCacheV1"),
  containerId: z.string().min(1),
  ifName: z.string().min(1),
  networkName: z.string(),
});

/** The attachments of other runtimes to this network, as far as libcni made them. A file that cannot be read as one is none. */
export async function cachedAttachments(cacheDir: string, networkName: string): Promise<{ containerId: string; ifName: string }[]> {
  const directory = join(cacheDir, "results");
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ENOTDIR")) return [];
    throw error;
  }
  const found: { containerId: string; ifName: string }[] = [];
  // Files are named <network>-<container>-<interface>; their content says it without doubt.
  for (const name of names.filter((name) => name.startsWith(`${networkName}-`))) {
    const text = await readFile(join(directory, name), "utf8").catch(() => "");
    const parsed = cachedInfo.safeParse(jsonOf(text));
    if (parsed.success && parsed.data.networkName === networkName) {
      found.push({ containerId: parsed.data.containerId, ifName: parsed.data.ifName });
    }
  }
  return found;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
