import { basename, posix } from "node:path";
import { CridError } from "../base/errors.ts";

export type CgroupDriver = "cgroupfs" | "systemd";

/** The first part of a scope's name under systemd: `crid-<id>.scope`. */
const scopePrefix = "crid";

/** Where containers go whose pod names no cgroup parent: below this cgroup, or in this slice. */
const defaultParent: Record<CgroupDriver, string> = { cgroupfs: "/crid", systemd: "system.slice" };

/**
 * The OCI `cgroupsPath` of a container, in the form that the driver takes: `<parent>/<id>`, or with systemd runc's
 * `<slice>:crid:<id>` (runc's docs/systemd.md). The id is in the last component of the cgroup's path, by which cAdvisor finds
 * it.
 *
 * @param parent the pod's cgroup parent as the kubelet gives it; "" = the default.
 * @throws CridError invalid-argument when the parent is no slice, but the driver is systemd.
 */
export function containerCgroupPath(parent: string, id: string, driver: CgroupDriver): string {
  const given = parent === "" ? defaultParent[driver] : parent;
  if (driver === "cgroupfs") return posix.join("/", given, id);
  const slice = basename(given);
  checkSlice(slice, parent);
  return `${slice}:${scopePrefix}:${id}`;
}

/** The cgroup that a pod's containers are below, for its own stats. @throws as `containerCgroupPath` */
export function parentCgroupPath(parent: string, driver: CgroupDriver): string {
  const given = parent === "" ? defaultParent[driver] : parent;
  if (driver === "cgroupfs") return posix.join("/", given);
  const slice = basename(given);
  checkSlice(slice, parent);
  return expandSlice(slice);
}

/** The path of the cgroup that an OCI `cgroupsPath` means. One without colons is that path itself. */
export function cgroupOf(cgroupsPath: string): string {
  const parts = cgroupsPath.split(":");
  if (parts.length !== 3) return posix.join("/", cgroupsPath);
  const [slice = "", prefix = "", name = ""] = parts;
  // As runc does: a name that ends in .slice is a slice, everything else becomes a scope.
  const unit = name.endsWith(".slice") ? name : `${prefix}-${name}.scope`;
  return posix.join(expandSlice(slice === "" ? defaultParent.systemd : slice), unit);
}

/**
 * The cgroup that holds one pod alone: the kubelet makes one a pod and names it after the pod's uid (`/kubepods/pod<uid>`, with
 * systemd `kubepods-pod<uid with _ for ->.slice`). undefined when the pod's parent is shared with others.
 *
 * @param cgroupsPath the OCI `cgroupsPath` of the pause or of a container of the pod
 */
export function podCgroup(uid: string, cgroupsPath: string): string | undefined {
  if (uid === "") return undefined;
  const parent = posix.dirname(cgroupOf(cgroupsPath));
  const name = basename(parent);
  return name.includes(uid) || name.includes(uid.replaceAll("-", "_")) ? parent : undefined;
}

/**
 * The cgroup of a systemd slice: each dash in its name is a level, so `a-b.slice` is `/a.slice/a-b.slice`
 * (systemd.slice(5)). "-.slice" is the root.
 *
 * @throws CridError invalid-argument when it is no name of a slice.
 */
export function expandSlice(slice: string): string {
  checkSlice(slice, slice);
  if (slice === "-.slice") return "/";
  const names = slice.slice(0, -".slice".length).split("-");
  return names.map((_, index) => `/${names.slice(0, index + 1).join("-")}.slice`).join("");
}

function checkSlice(slice: string, parent: string): void {
  if (slice === "-.slice") return;
  if (!/^[^/:-]+(-[^/:-]+)*\.slice$/.test(slice)) {
    throw new CridError(
      "invalid-argument",
      `cgroup parent ${JSON.stringify(parent)} is no systemd slice, but the cgroup driver is systemd: it must end in a name like kubepods-pod1.slice (or set cgroupDriver: cgroupfs, as the kubelet has it)`,
    );
  }
}

/** The cgroups of a process: its path in each v1 hierarchy by controller, and in the v2 one. */
export interface ProcessCgroups {
  v1: ReadonlyMap<string, string>;
  v2: string | undefined;
}

/** Reads /proc/PID/cgroup: lines `<hierarchy>:<controllers>:<path>`, with no controllers for v2. See cgroups(7). */
export function parseProcCgroup(text: string): ProcessCgroups {
  const v1 = new Map<string, string>();
  let v2: string | undefined;
  for (const line of text.split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    if (controllers === "") v2 = path;
    else for (const controller of controllers.split(",")) v1.set(controller, path);
  }
  return { v1, v2 };
}
