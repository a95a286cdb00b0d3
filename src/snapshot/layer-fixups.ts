import { constants } from "node:fs";
import { chmod, copyFile, lchown, open, readlink, symlink } from "node:fs/promises";
import { ErofsImage } from "../archive/erofs/erofs-reader.ts";
import type { LayerFixups, UnpackTarget } from "../archive/unpack-job.ts";
import { CridError } from "../base/errors.ts";
import { lutimes } from "../linux/times.ts";
import { lsetxattr } from "../linux/xattr.ts";
import { absolute, findInLayers, type LayerFile, type LayerView } from "./layer-view.ts";

/**
 * Puts right, once the layers below are there, what a layer could not know while it was unpacked alone. See LayerFixups.
 * What is touched is synced.
 *
 * @param parents the layers below, lowest first
 * @throws invalid-argument for a hard link to a file that no layer has
 */
export async function applyFixups(target: UnpackTarget, parents: readonly LayerView[], fixups: LayerFixups): Promise<void> {
  for (const { path, target: linked } of fixups.foreignLinks) {
    const source = await findInLayers(parents, linked);
    if (source === undefined || (source.mode & 0o170000) === 0o040000) {
      throw new CridError("invalid-argument", `hard link ${JSON.stringify(path)} to ${JSON.stringify(linked)}, which no layer has`);
    }
    await copyNode(source, absolute(target.path, path));
  }
  const implied: [string, LayerFile][] = [];
  for (const path of fixups.impliedDirectories) {
    const source = await findInLayers(parents, path);
    if (source !== undefined && (source.mode & 0o170000) === 0o040000) implied.push([path, source]);
  }
  if (target.kind === "erofs") await patchImage(target.path, implied);
  else for (const [path, source] of implied) await copyAttributes(source, absolute(target.path, path));
}

async function patchImage(path: string, changes: readonly [string, LayerFile][]): Promise<void> {
  if (changes.length === 0) return;
  {
    using image = new ErofsImage(path, { writable: true });
    for (const [at, source] of changes) {
      const file = image.lookup(at === "" ? [] : at.split("/"));
      if (file !== undefined) image.setAttributes(file, source);
    }
  }
  await sync(path);
}

async function copyNode(source: LayerFile, target: Buffer): Promise<void> {
  const type = source.mode & 0o170000;
  if (source.path === undefined) {
    throw new CridError(
      "failed-precondition",
      "a hard link into a layer below that is an EROFS image: pull with image.snapshotter overlayfs",
    );
  }
  if (type === 0o120000) await symlink(await readlink(source.path, "buffer"), target);
  else if (type === 0o100000) await copyFile(source.path, target, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
  else throw new CridError("invalid-argument", `hard link to a special file of a lower layer: ${source.path.toString()}`);
  await copyAttributes(source, target);
}

async function copyAttributes(source: LayerFile, target: Buffer): Promise<void> {
  const isLink = (source.mode & 0o170000) === 0o120000;
  await lchown(target, source.uid, source.gid);
  if (!isLink) {
    await chmod(target, source.mode & 0o7777);
    for (const [name, value] of source.xattrs) if (!name.startsWith("trusted.overlay.")) lsetxattr(target, name, value);
  }
  lutimes(target, source.mtime.seconds, source.mtime.nanos);
  if (!isLink) await sync(target);
}

async function sync(path: string | Buffer): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
