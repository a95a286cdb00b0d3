import { constants } from "node:fs";
import { chown, mkdir, readlink, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { CridError, isErrno } from "../base/errors.ts";
import { openInRoot } from "../linux/at.ts";
import { closeFd, O_PATH } from "../linux/files.ts";
import { MNT_DETACH, umount } from "../linux/mount.ts";
import { mountOverlay } from "../linux/mount-overlay.ts";
import { spawnProcess } from "../linux/spawn.ts";
import { type BindMount, cleanPath } from "../oci/mounts.ts";
import type { ContainerConfig, MountConfig } from "../records/container-config.ts";
import type { ImageConfig, ImageRecord } from "../records/image-record.ts";
import type { Idmap, RootfsMount } from "../snapshot/snapshotter.ts";
import type { ContainerImages } from "./deps.ts";
import { toHost, type UserMaps } from "./pod-binds.ts";

/** An image that a container mounts as a volume (KEP-4639). */
export interface ImageVolume {
  mount: MountConfig;
  image: ImageRecord;
  /** Names its mount on the host. */
  key: string;
}

/** @throws invalid-argument, not-found (image) */
export function imageVolumes(id: string, config: ContainerConfig, images: Pick<ContainerImages, "get">): ImageVolume[] {
  return config.mounts.flatMap((mount, index) => {
    if (mount.image === undefined) return [];
    const what = `image volume at ${mount.containerPath}`;
    if (mount.hostPath !== "") throw new CridError("invalid-argument", `${what}: host_path must be empty when image is set`);
    if (!mount.readonly) throw new CridError("invalid-argument", `${what}: readonly must be true, image volumes cannot be written`);
    const image = images.get(mount.image.ref);
    if (image === undefined) throw new CridError("not-found", `${what}: image "${mount.image.ref}" not found; pull it first`);
    return [{ mount, image, key: `${id}-volume-${index}` }];
  });
}

/** Mounts the image on the host and answers the bind of it, or of its sub path, into the container. @throws not-found (sub path) */
export async function bindImageVolume(
  volume: ImageVolume,
  images: Pick<ContainerImages, "mountVolume">,
  idmap: Idmap | undefined,
): Promise<BindMount> {
  const { mount } = volume;
  const root = await images.mountVolume(volume.key, volume.image, idmap === undefined ? {} : { idmap });
  const subPath = mount.image?.subPath ?? "";
  return {
    containerPath: mount.containerPath,
    source: subPath === "" ? root : await insideOf(root, subPath, mount.image?.ref ?? ""),
    readonly: true,
    recursiveReadonly: mount.recursiveReadonly,
    propagation: "private",
    // The mount on the host is mapped already.
    uidMappings: [],
    gidMappings: [],
    options: mount.options,
  };
}

/** The real path of a sub path, links in it followed as if `root` were /. */
async function insideOf(root: string, subPath: string, image: string): Promise<string> {
  let fd: number;
  try {
    fd = openInRoot(root, subPath, O_PATH);
  } catch (error) {
    if (!isErrno(error, "ENOENT") && !isErrno(error, "ENOTDIR") && !isErrno(error, "ELOOP")) throw error;
    throw new CridError("not-found", `image volume: sub path "${subPath}" does not exist in image ${image}`, { cause: error });
  }
  try {
    return await readlink(`/proc/self/fd/${fd}`);
  } finally {
    closeFd(fd);
  }
}

/**
 * Directories for the volumes that the image declares (VOLUME in a Dockerfile) and the request does not mount over: empty ones in the container's data
 * directory, filled with what the image has at that path, as Docker does.
 */
export async function declaredVolumes(
  image: Pick<ImageConfig, "volumes">,
  config: Pick<ContainerConfig, "mounts">,
  options: {
    directory: string;
    rootfs: readonly RootfsMount[];
    userMaps: UserMaps;
    signal: AbortSignal;
  },
): Promise<BindMount[]> {
  const taken = new Set(config.mounts.map((mount) => cleanPath(mount.containerPath)));
  const paths = [...new Set(image.volumes.map(cleanPath))].filter((path) => !taken.has(path) && path !== "/");
  if (paths.length === 0) return [];
  const binds = paths.map(
    (containerPath, index): BindMount => ({
      containerPath,
      source: join(options.directory, "volumes", String(index)),
      readonly: false,
      recursiveReadonly: false,
      propagation: "private",
      // Owned by the pod's ids on the host already: the root file system that it is copied from is seen through the maps.
      uidMappings: [],
      gidMappings: [],
      options: [],
    }),
  );
  const { uids, gids } = options.userMaps;
  for (const { source } of binds) {
    await mkdir(source, { recursive: true, mode: 0o755 });
    await chown(source, toHost(0, uids), toHost(0, gids));
  }
  await withRootfs(options.rootfs, join(options.directory, "rootfs"), async (root) => {
    for (const { source, containerPath } of binds) await copyTree(root, containerPath, source, options.signal);
  });
  return binds;
}

/** Copies a directory of the image with owners, modes, times and attributes; nothing when the image has none there. */
async function copyTree(root: string, path: string, target: string, signal: AbortSignal): Promise<void> {
  let fd: number;
  try {
    fd = openInRoot(root, path, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ENOTDIR")) return;
    throw error;
  }
  try {
    const source = `/proc/${process.pid}/fd/${fd}/.`;
    const { status, stderr } = await spawnProcess({
      file: "cp",
      args: ["--archive", "--no-target-directory", "--", source, target],
      env: { PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C" },
      signal,
    });
    if (status !== 0)
      throw new CridError("unknown", `copy the image's ${path} to its volume: cp ended with ${status}: ${stderr.toString().trim()}`);
  } finally {
    closeFd(fd);
  }
}

/** Runs `use` with the root file system mounted read-only at `target`. */
async function withRootfs(mounts: readonly RootfsMount[], target: string, use: (root: string) => Promise<void>): Promise<void> {
  const [rootfs] = mounts;
  if (mounts.length === 1 && rootfs?.type === "bind") return use(rootfs.source);
  if (mounts.length !== 1 || rootfs?.type !== "overlay")
    throw new CridError("unimplemented", "volumes of an image on a root file system that is no overlay");
  const option = (name: string): string[] =>
    rootfs.options.filter((text) => text.startsWith(`${name}=`)).flatMap((text) => text.slice(name.length + 1).split(":"));
  // Without the upper directory: nothing has been written yet, and a read-only overlay may be mounted a second time.
  const lowers = option("lowerdir");
  const [only] = lowers;
  if (lowers.length === 1 && only !== undefined) return use(only);
  await mkdir(target, { recursive: true });
  mountOverlay(target, [`lowerdir=${lowers.join(":")}`], { readonly: true });
  try {
    await use(target);
  } finally {
    umount(target, MNT_DETACH);
    await rmdir(target).catch(() => {});
  }
}
