import { lstat, opendir } from "node:fs/promises";
import { ErofsImage } from "../archive/erofs/erofs-reader.ts";
import { blockSize } from "../archive/erofs/format.ts";
import { isErrno, messageOf } from "../base/errors.ts";
import type { LayerForm } from "./snapshotter.ts";

/**
 * A quick look at a layer on disk: is what layer.json promises there? It does not read the files' contents.
 * @returns what is wrong
 */
export async function checkLayerForm(path: string, layer: { form: LayerForm; bytes: number; inodes: number }): Promise<string | undefined> {
  try {
    return layer.form === "directory" ? await checkDirectory(path, layer) : checkImage(path, layer);
  } catch (error) {
    return isErrno(error, "ENOENT") ? `${path} is missing` : messageOf(error);
  }
}

async function checkDirectory(path: string, { inodes }: { inodes: number }): Promise<string | undefined> {
  const stat = await lstat(path);
  if (!stat.isDirectory()) return `${path} is not a directory`;
  // A directory has a link for each one in it, on the file systems that count them: then nothing has to be read.
  return inodes > 1 && stat.nlink <= 2 && (await isEmpty(path)) ? `${path} is empty` : undefined;
}

function checkImage(path: string, { bytes }: { bytes: number }): string | undefined {
  using image = new ErofsImage(path);
  if (image.bytes !== bytes) return `${path} has ${image.bytes} bytes instead of ${bytes}`;
  if (image.blocks * blockSize !== bytes) return `${path} has ${bytes} bytes, its superblock says ${image.blocks * blockSize}`;
  image.lookup([]);
  return undefined;
}

async function isEmpty(directory: string): Promise<boolean> {
  for await (const _ of await opendir(directory)) return false;
  return true;
}
