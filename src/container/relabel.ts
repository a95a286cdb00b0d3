import { opendir } from "node:fs/promises";
import { join } from "node:path";
import { CridError, isErrno } from "../base/errors.ts";
import { lgetxattr, lsetxattr } from "../linux/xattr.ts";
import type { RootfsMount } from "../snapshot/snapshotter.ts";

const name = "security.selinux";

/** Folders of the system that no pod may have relabelled: the node itself would stop working. As libselinux' callers have it. */
const excluded = new Set([
  ..."/ /bin /boot /dev /etc /etc/passwd /etc/pki /etc/shadow /home /lib /lib64 /media /opt /proc /root /run /sbin /srv /sys /tmp /usr /var /var/lib /var/log".split(
    " ",
  ),
]);

/**
 * Gives a file, or a directory with all that is below it, the SELinux label of a container's files (chcon -R). Links are labelled, not followed. A
 * directory that has the label already is only looked through for files without it. What is removed meanwhile is none of our business, and a file
 * system without labels (NFS, CIFS) has its own for all of it.
 *
 * @param path with links resolved
 * @param label undefined = none is wanted
 * @throws invalid-argument for a folder of the system
 */
export async function relabel(path: string, label: string | undefined, options: { signal: AbortSignal }): Promise<void> {
  if (label === undefined) return;
  if (excluded.has(path === "/" ? path : path.replace(/\/+$/, "")) || path === process.env.HOME) {
    throw new CridError(
      "invalid-argument",
      `SELinux relabeling of ${path} is not allowed: it would change the label of the whole system's files`,
    );
  }
  // C strings, as the kernel keeps them.
  const value = Buffer.from(`${label}\0`);
  const lookFirst = hasLabel(path, value);
  await below(path, options.signal);
  setLabel(path, value, lookFirst);

  /** The directory itself last: one that has its label is done as a whole. */
  async function below(directory: string, signal: AbortSignal): Promise<void> {
    let entries: Awaited<ReturnType<typeof opendir>>;
    try {
      entries = await opendir(directory);
    } catch (error) {
      if (isErrno(error, "ENOTDIR") || isErrno(error, "ENOENT")) return;
      throw error;
    }
    for await (const entry of entries) {
      signal.throwIfAborted();
      const child = join(directory, entry.name);
      if (entry.isDirectory()) await below(child, signal);
      setLabel(child, value, lookFirst);
    }
  }
}

/** With SELinux all files of the root file system have one label, given by the mount: those of the layers are shared by all containers. */
export function labelled(rootfs: readonly RootfsMount[], label: string | undefined): readonly RootfsMount[] {
  if (label === undefined) return rootfs;
  return rootfs.map((mount) => (mount.type === "overlay" ? { ...mount, options: [...mount.options, `context="${label}"`] } : mount));
}

function hasLabel(path: string, value: Buffer): boolean {
  try {
    return lgetxattr(path, name)?.equals(value) === true;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}

function setLabel(path: string, value: Buffer, lookFirst: boolean): void {
  try {
    if (lookFirst && hasLabel(path, value)) return;
    lsetxattr(path, name, value);
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "EOPNOTSUPP") || isErrno(error, "ENOTSUP")) return;
    throw error;
  }
}
