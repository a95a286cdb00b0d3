import { readFileSync } from "node:fs";
import { release } from "node:os";

/** The id of this boot of the machine: another one means that every process, mount and namespace of before is gone. */
export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
}

/** The kernel's version as numbers: [6, 18]. */
export function kernelVersion(text: string = release()): [major: number, minor: number] {
  const found = /^(\d+)\.(\d+)/.exec(text);
  return [Number(found?.[1] ?? 0), Number(found?.[2] ?? 0)];
}

/** Whether the kernel is this version or a later one. */
export function kernelAtLeast(major: number, minor: number, text: string = release()): boolean {
  const [isMajor, isMinor] = kernelVersion(text);
  return isMajor > major || (isMajor === major && isMinor >= minor);
}

/** Whether the running kernel knows this file system (/proc/filesystems). One that is a module not loaded yet counts as unknown. */
export function hasFilesystem(name: string): boolean {
  return readFileSync("/proc/filesystems", "latin1")
    .split("\n")
    .some((line) => line.split("\t")[1] === name);
}
