import { existsSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import type { Config } from "../config/schema.ts";
import { type Finding, failure, ok, warning } from "./finding.ts";

/** The kubelet evicts pods below 15 % of bytes (imagefs.available) and 5 % of inodes (imagefs.inodesFree). */
const leastBytes = 0.15;
const leastInodes = 0.05;
const emptyBytes = 512 * 1024 ** 2;
/** linux/magic.h: file systems that an overlay cannot have its writable layer on. */
const unfit: Record<number, string> = { 2035054128: "an overlay", 26985: "NFS", 4283649346: "SMB", 1702057286: "FUSE" };
const tmpfs = 0x01021994;

export interface Disk {
  /** statfs(2)'s f_type. */
  type: number;
  bytes: number;
  bytesFree: number;
  inodes: number;
  inodesFree: number;
}

export async function checkStorage(config: Pick<Config, "root" | "state">): Promise<Finding[]> {
  return [...judgeRoot(config.root, await diskOf(config.root)), ...judgeState(config.state)];
}

/** Of the file system that the path is, or will be, on. */
async function diskOf(path: string): Promise<Disk> {
  let at = path;
  while (!existsSync(at)) at = dirname(at);
  const { type, blocks, bavail, bsize, files, ffree } = await statfs(at);
  return { type, bytes: blocks * bsize, bytesFree: bavail * bsize, inodes: files, inodesFree: ffree };
}

export function judgeRoot(root: string, disk: Disk): Finding[] {
  const subject = `disk of ${root}`;
  const kind = unfit[disk.type];
  if (kind !== undefined) {
    return [
      failure(
        subject,
        `lies on ${kind}, where containers cannot have a writable layer`,
        "set root to a folder on a local disk (ext4, xfs)",
      ),
    ];
  }
  const free = `${gib(disk.bytesFree)} of ${gib(disk.bytes)} GiB free`;
  const remedy = "crictl rmi --prune\nor set root to a larger disk";
  if (disk.bytesFree < emptyBytes) return [failure(subject, `${free}: pulls and new containers fail`, remedy)];
  if (disk.bytesFree < disk.bytes * leastBytes)
    return [warning(subject, `${free}: the kubelet evicts pods below ${leastBytes * 100} %`, remedy)];
  if (disk.inodes > 0 && disk.inodesFree < disk.inodes * leastInodes) {
    return [
      warning(subject, `${disk.inodesFree} of ${disk.inodes} inodes free: the kubelet evicts pods below ${leastInodes * 100} %`, remedy),
    ];
  }
  if (disk.type === tmpfs)
    return [warning(subject, `${free}, in memory: images are gone after a reboot`, "set root to a folder on a disk")];
  return [ok(subject, free)];
}

/** sun_path has 108 bytes (unix(7)); the longest name below the state directory is a socket's. */
function judgeState(state: string): Finding[] {
  const longest = Buffer.byteLength(`${state}/logger.sock`);
  if (longest <= 107) return [ok("state", state)];
  return [failure("state", `${state} is too long for sockets below it`, "set state to a shorter path, such as /run/crid")];
}

function gib(bytes: number): string {
  return (bytes / 1024 ** 3).toFixed(1);
}
