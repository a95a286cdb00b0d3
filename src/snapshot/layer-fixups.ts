import { type BigIntStats, constants } from "node:fs";
import { chmod, copyFile, lchown, lstat, open, readlink, symlink } from "node:fs/promises";
import { isWhiteout } from "../archive/layer-tree.ts";
import type { LayerFixups } from "../archive/unpack-job.ts";
import { CridError, isErrno } from "../base/errors.ts";
import { lutimes } from "../linux/times.ts";
import { lgetxattr, llistxattr, lsetxattr } from "../linux/xattr.ts";

/**
 * Puts right, once the layers below are there, what a layer could not know while it was unpacked alone. See LayerFixups.
 * What is touched is synced.
 *
 * @param fs the layer's root
 * @param parents the roots of the layers below, lowest first
 * @throws invalid-argument for a hard link to a file that no layer has
 */
export async function applyFixups(fs: string, parents: readonly string[], fixups: LayerFixups): Promise<void> {
  for (const { path, target } of fixups.foreignLinks) {
    const source = await findBelow(parents, target);
    if (source === undefined || source.stat.isDirectory()) {
      throw new CridError("invalid-argument", `hard link ${JSON.stringify(path)} to ${JSON.stringify(target)}, which no layer has`);
    }
    await copyNode(source, absolute(fs, path));
  }
  for (const path of fixups.impliedDirectories) {
    const source = await findBelow(parents, path);
    if (source?.stat.isDirectory() === true) await copyAttributes(source, absolute(fs, path));
  }
}

interface Found {
  path: Buffer;
  stat: BigIntStats;
}

/** The file that a path shows in the merged layers, found without following any link: a link could lead out of the layer. */
async function findBelow(parents: readonly string[], path: string): Promise<Found | undefined> {
  for (const parent of parents.toReversed()) {
    const { found, hidden } = await findIn(parent, path);
    if (found !== undefined || hidden) return found;
  }
  return undefined;
}

async function findIn(fs: string, path: string): Promise<{ found?: Found; hidden: boolean }> {
  const parts = path === "" ? [] : path.split("/");
  let hidden = false;
  for (let depth = 0; depth <= parts.length; depth++) {
    const at = absolute(fs, parts.slice(0, depth).join("/"));
    const stat = await lstatIfThere(at);
    if (stat === undefined) return { hidden };
    if (isWhiteout(stat)) return { hidden: true };
    if (depth === parts.length) return { found: { path: at, stat }, hidden };
    if (!stat.isDirectory()) return { hidden: true };
    hidden ||= isOpaque(at);
  }
  return { hidden };
}

function isOpaque(path: Buffer): boolean {
  return lgetxattr(path, "trusted.overlay.opaque")?.toString() === "y";
}

async function copyNode(source: Found, target: Buffer): Promise<void> {
  if (source.stat.isSymbolicLink()) await symlink(await readlink(source.path, "buffer"), target);
  else if (source.stat.isFile()) await copyFile(source.path, target, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
  else throw new CridError("invalid-argument", `hard link to a special file of a lower layer: ${source.path.toString()}`);
  await copyAttributes(source, target);
}

async function copyAttributes({ path, stat }: Found, target: Buffer): Promise<void> {
  await lchown(target, Number(stat.uid), Number(stat.gid));
  if (!stat.isSymbolicLink()) {
    await chmod(target, Number(stat.mode) & 0o7777);
    for (const name of llistxattr(path)) {
      const value = name.startsWith("trusted.overlay.") ? undefined : lgetxattr(path, name);
      if (value !== undefined) lsetxattr(target, name, value);
    }
  }
  const nanos = ((stat.mtimeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  lutimes(target, Number((stat.mtimeNs - nanos) / 1_000_000_000n), Number(nanos));
  if (stat.isSymbolicLink()) return;
  const file = await open(target, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

async function lstatIfThere(path: Buffer): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ENOTDIR")) return undefined;
    throw error;
  }
}

function absolute(fs: string, path: string): Buffer {
  return Buffer.concat([Buffer.from(`${fs}/`), Buffer.from(path, "latin1")]);
}
