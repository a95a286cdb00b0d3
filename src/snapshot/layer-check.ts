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
    const stat = await lstat(path);
    if (layer.form === "directory") {
      if (!stat.isDirectory()) return `${path} is not a directory`;
      // A directory has a link for each one in it, on the file systems that count them: then nothing has to be read.
      return layer.inodes > 1 && stat.nlink <= 2 && (await isEmpty(path)) ? `${path} is empty` : undefined;
    }
    if (!stat.isFile()) return `${path} is not a file`;
    if (stat.size !== layer.bytes) return `${path} has ${stat.size} bytes instead of ${layer.bytes}`;
    using image = new ErofsImage(path);
    if (image.blocks * blockSize !== stat.size) return `${path} has ${stat.size} bytes, its superblock says ${image.blocks * blockSize}`;
    image.lookup([]);
    return undefined;
  } catch (error) {
    return isErrno(error, "ENOENT") ? `${path} is missing` : messageOf(error);
  }
}

async function isEmpty(directory: string): Promise<boolean> {
  for await (const _ of await opendir(directory)) return false;
  return true;
}
