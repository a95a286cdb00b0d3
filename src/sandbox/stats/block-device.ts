import { readFile } from "node:fs/promises";

/**
 * The file of a block device, as cAdvisor names it in its metrics: "254:0" is "/dev/vda". A device that the kernel does not know (any
 * more), such as the anonymous one of a network file system, keeps its number.
 *
 * @param number "major:minor"
 */
export async function blockDeviceName(number: string): Promise<string> {
  try {
    const name = /^DEVNAME=(.+)$/m.exec(await readFile(`/sys/dev/block/${number}/uevent`, "utf8"))?.[1];
    return name === undefined ? number : `/dev/${name}`;
  } catch {
    return number;
  }
}
