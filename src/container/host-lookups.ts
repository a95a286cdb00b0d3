import { lstat, mkdir, readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { CridError, isErrno } from "../base/errors.ts";
import { raceAbort } from "../base/keyed-mutex.ts";
import { type MountEntry, readMountinfo } from "../linux/mountinfo.ts";
import { type DeviceNode, type RequestedDevice, SKIPPED_DEV_DIRECTORIES } from "../oci/devices.ts";
import type { BindMount } from "../oci/mounts.ts";
import type { ContainerConfig, MountConfig } from "../records/container-config.ts";

/**
 * A CRI mount with its host path looked up: links followed, made when it is missing, and for propagation the mount it lies on.
 *
 * A host path on a dead NFS server never answers; the caller's signal ends the wait, though not the kernel's.
 *
 * @throws failed-precondition, invalid-argument
 */
export async function hostBind(mount: MountConfig, options: { signal: AbortSignal }): Promise<BindMount> {
  const what = `mount ${mount.hostPath} at ${mount.containerPath}`;
  if (!mount.containerPath.startsWith("/")) throw new CridError("invalid-argument", `${what}: container_path is not absolute`);
  if (!mount.hostPath.startsWith("/")) throw new CridError("invalid-argument", `${what}: host_path is not absolute`);
  const source = await raceAbort(existingPath(mount.hostPath, what), options.signal);
  const bind = {
    containerPath: mount.containerPath,
    source,
    readonly: mount.readonly,
    recursiveReadonly: mount.recursiveReadonly,
    propagation: mount.propagation,
    uidMappings: mount.uidMappings,
    gidMappings: mount.gidMappings,
    options: mount.options,
  };
  if (mount.propagation === "private") return bind;
  const lies = mountOf(source, await readMountinfo());
  return { ...bind, ...(lies !== undefined && { hostMount: { mountPoint: lies.mountPoint, optional: lies.optional } }) };
}

/**
 * The path with its links followed. A path that is not there becomes a directory, as with containerd and CRI-O, since the kubelet relies
 * on it: a hostPath without a type is passed on unchecked, and kube-proxy mounts /lib/modules so, which a node may lack.
 */
async function existingPath(path: string, what: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw CridError.from(error, what);
  }
  try {
    await mkdir(path, { recursive: true, mode: 0o755 });
    return await realpath(path);
  } catch (error) {
    const message = `${what}: host path "${path}" does not exist and cannot be made a directory; make it on the node, or mend the link`;
    throw new CridError("failed-precondition", message, { cause: error });
  }
}

/** The mount that a path lies on: the deepest, and of several on one point the last, which covers the others. */
export function mountOf(path: string, mounts: readonly MountEntry[]): MountEntry | undefined {
  let best: MountEntry | undefined;
  for (const mount of mounts) {
    const { mountPoint } = mount;
    const covers = mountPoint === "/" || path === mountPoint || path.startsWith(`${mountPoint}/`);
    if (covers && (best === undefined || mountPoint.length >= best.mountPoint.length)) best = mount;
  }
  return best;
}

/** The devices of a request; a directory stands for all device nodes below it. @throws not-found, invalid-argument */
export async function requestedDevices(devices: ContainerConfig["devices"]): Promise<RequestedDevice[]> {
  return Promise.all(
    devices.map(async ({ hostPath, containerPath, permissions }) => {
      if (!/^[rwm]*$/.test(permissions))
        throw new CridError("invalid-argument", `device ${hostPath}: permissions "${permissions}" are not of r, w, m`);
      let path: string;
      try {
        path = await realpath(hostPath);
      } catch (error) {
        throw new CridError(isErrno(error, "ENOENT") ? "not-found" : "unknown", `device ${hostPath}: error stating device path`, {
          cause: error,
        });
      }
      const nodes = await deviceNodes(path);
      if (nodes.length === 0) throw new CridError("invalid-argument", `device ${hostPath}: not a device node, nor a directory with any`);
      return { hostPath: path, containerPath, permissions, nodes };
    }),
  );
}

/** All of the host's device nodes, for privileged containers. */
export function hostDevices(): Promise<DeviceNode[]> {
  return deviceNodes("/dev");
}

async function deviceNodes(path: string): Promise<DeviceNode[]> {
  const stats = await stat(path);
  if (stats.isDirectory()) return walk(path);
  const node = toNode(path, stats);
  return node === undefined ? [] : [node];
}

async function walk(directory: string): Promise<DeviceNode[]> {
  const found: DeviceNode[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    try {
      if (entry.isDirectory()) {
        if (!SKIPPED_DEV_DIRECTORIES.has(entry.name)) found.push(...(await walk(path)));
      } else if (entry.name !== "console" && (entry.isCharacterDevice() || entry.isBlockDevice())) {
        const node = toNode(path, await lstat(path));
        if (node !== undefined) found.push(node);
      }
    } catch (error) {
      // Unplugged while we looked.
      if (!isErrno(error, "ENOENT")) throw error;
    }
  }
  return found;
}

function toNode(
  path: string,
  stats: { isCharacterDevice(): boolean; isBlockDevice(): boolean; rdev: number; mode: number; uid: number; gid: number },
): DeviceNode | undefined {
  if (!stats.isCharacterDevice() && !stats.isBlockDevice()) return undefined;
  // As glibc's gnu_dev_major and gnu_dev_minor split a 64-bit dev_t; the high halves do not occur for device files.
  const rdev = BigInt(stats.rdev);
  const major = Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn));
  const minor = Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n));
  return { path, type: stats.isBlockDevice() ? "b" : "c", major, minor, mode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid };
}
