import { glob, readFile, realpath, stat } from "node:fs/promises";
import { basename } from "node:path";
import { messageOf } from "../base/errors.ts";
import { deviceNumber } from "../linux/files.ts";

export interface BlockDevice {
  path: string;
  major: number;
  minor: number;
}

/**
 * The block devices that wildcards name, links followed, each once, in the order of their paths.
 *
 * @returns also what was named and is none: a wildcard without a match, a file that is no block device
 */
export async function matchBlockDevices(wildcards: readonly string[]): Promise<{ devices: BlockDevice[]; problems: string[] }> {
  const problems: string[] = [];
  const paths = new Set<string>();
  for (const wildcard of wildcards) {
    const before = problems.length;
    let matches = 0;
    try {
      for await (const match of glob(wildcard)) {
        matches++;
        paths.add(await realpath(match));
      }
    } catch (error) {
      problems.push(`${wildcard}: ${messageOf(error)}`);
    }
    if (matches === 0 && problems.length === before) problems.push(`${wildcard}: matches nothing`);
  }
  const devices: BlockDevice[] = [];
  for (const path of [...paths].sort()) {
    try {
      const stats = await stat(path, { bigint: true });
      const [major = 0, minor = 0] = deviceNumber(stats.rdev).split(":").map(Number);
      if (stats.isBlockDevice()) devices.push({ path, major, minor });
      else problems.push(`${path}: is not a block device`);
    } catch (error) {
      problems.push(`${path}: ${messageOf(error)}`);
    }
  }
  return { devices, problems };
}

/** The I/O scheduler in use of a whole disk, "" when it has none or is no disk. */
export async function ioScheduler(device: BlockDevice): Promise<string> {
  try {
    const all = (await readFile(`/sys/block/${basename(device.path)}/queue/scheduler`, "utf8")).trim();
    return /\[(.+)\]/.exec(all)?.[1] ?? all;
  } catch {
    return "";
  }
}
