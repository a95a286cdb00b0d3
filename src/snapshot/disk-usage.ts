import type { Stats } from "node:fs";
import { lstat, opendir } from "node:fs/promises";
import { join } from "node:path";
import { isErrno } from "../base/errors.ts";
import type { DiskUsage } from "./snapshotter.ts";

/**
 * What a tree takes on disk: allocated bytes and inodes, hard links counted once, other file systems left out. Files that go
 * while it walks are passed over. Waits on the thread pool, one directory at a time.
 */
export async function diskUsage(root: string): Promise<DiskUsage> {
  const top = await lstat(root);
  const seen = new Set<number>();
  let bytes = top.blocks * 512;
  let inodes = 1;
  const pending = [root];
  for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
    for await (const [path, stat] of entries(directory)) {
      if (stat.dev !== top.dev) continue;
      if (stat.isDirectory()) pending.push(path);
      else if (stat.nlink > 1) {
        if (seen.has(stat.ino)) continue;
        seen.add(stat.ino);
      }
      bytes += stat.blocks * 512;
      inodes++;
    }
  }
  return { bytes, inodes };
}

async function* entries(directory: string): AsyncGenerator<[string, Stats]> {
  try {
    for await (const { name } of await opendir(directory)) {
      const path = join(directory, name);
      const stat = await lstatIfThere(path);
      if (stat !== undefined) yield [path, stat];
    }
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

async function lstatIfThere(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}
