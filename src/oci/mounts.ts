import { CridError } from "../base/errors.ts";
import type { MountPropagation } from "../records/container-config.ts";
import type { IdMapping } from "../records/pod-config.ts";
import { toOciMappings } from "./host.ts";
import type { OciMount } from "./spec.ts";

/** A bind mount, its source looked up on the host. */
export interface BindMount {
  containerPath: string;
  /** What is bound, links resolved. */
  source: string;
  readonly: boolean;
  recursiveReadonly: boolean;
  propagation: MountPropagation;
  uidMappings: readonly IdMapping[];
  gidMappings: readonly IdMapping[];
  /** Further options, such as "noexec". */
  options: readonly string[];
  /** The mount that `source` lies on; needed when `propagation` is not private. */
  hostMount?: HostMount;
}

export interface HostMount {
  mountPoint: string;
  /** The optional fields of mountinfo: "shared:3", "master:1". */
  optional: readonly string[];
}

/** What a CRI mount may ask for beyond the fields of its own (cri-api 0.37, `mount_options`). */
const MOUNT_OPTIONS: ReadonlySet<string> = new Set([
  "noexec",
  "exec",
  "nosuid",
  "suid",
  "nodev",
  "dev",
  "noatime",
  "atime",
  "relatime",
  "norelatime",
  "strictatime",
  "nostrictatime",
  "nodiratime",
  "diratime",
  "nosymfollow",
  "symfollow",
]);

export interface MountsInput {
  binds: readonly BindMount[];
  /** Mounts of the runtime's own; one at a path that `binds` has too gives way. */
  extra: readonly BindMount[];
  /** Sysfs and the cgroups writable. */
  privileged: boolean;
  /** The host's network with a user namespace: sysfs cannot be mounted then, it is bound. */
  bindSysfs: boolean;
  /** Whether the container has a cgroup namespace of its own. */
  cgroupNamespace: boolean;
  cgroupMountOptions: readonly string[];
  recursiveReadonlySupported: boolean;
}

/**
 * All mounts in the order they are made: the default ones, then binds from the shallowest path to the deepest, so that none hides another.
 * A bind at a default mount's path replaces it; one at /dev replaces everything below too.
 */
export function containerMounts(input: MountsInput): { mounts: OciMount[]; rootfsPropagation?: string } {
  const taken = new Set(input.binds.map((bind) => cleanPath(bind.containerPath)));
  const binds = [...input.binds, ...input.extra.filter((bind) => !taken.has(cleanPath(bind.containerPath)))].sort(
    (a, b) => depth(a.containerPath) - depth(b.containerPath),
  );
  const replaced = new Set(binds.map((bind) => cleanPath(bind.containerPath)));
  const defaults = defaultMounts(input).filter(
    ({ destination }) => !replaced.has(destination) && !(replaced.has("/dev") && destination.startsWith("/dev/")),
  );
  const propagation = rootfsPropagation(binds);
  return {
    mounts: [...defaults, ...binds.map((bind) => toOciMount(bind, input.recursiveReadonlySupported))],
    ...(propagation !== undefined && { rootfsPropagation: propagation }),
  };
}

/** proc, dev and the rest that Linux programs expect. /dev/shm is a bind of the pod's, given in `extra`. */
function defaultMounts(input: MountsInput): OciMount[] {
  const sysMode = input.privileged ? "rw" : "ro";
  // Mounting cgroup2 without a cgroup namespace sets the options of the one superblock all share: they must stay as they are.
  const kept = input.cgroupNamespace ? [] : input.cgroupMountOptions.filter((o) => o === "nsdelegate" || o === "memory_recursiveprot");
  return [
    { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
    { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"] },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    { destination: "/dev/shm", type: "tmpfs", source: "shm", options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
    input.bindSysfs
      ? { destination: "/sys", type: "bind", source: "/sys", options: ["rbind", "rro", "nosuid", "noexec", "nodev"] }
      : { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", sysMode] },
    {
      destination: "/sys/fs/cgroup",
      type: "cgroup",
      source: "cgroup",
      options: ["nosuid", "noexec", "nodev", "relatime", sysMode, ...kept],
    },
  ];
}

function toOciMount(bind: BindMount, recursiveReadonlySupported: boolean): OciMount {
  const where = `mount ${bind.source} at ${bind.containerPath}`;
  checkPropagation(bind);
  let access = bind.readonly ? "ro" : "rw";
  if (bind.recursiveReadonly) {
    if (!bind.readonly) throw new CridError("invalid-argument", `${where}: recursive read-only mount conflicts with RW mount`);
    if (bind.propagation !== "private") {
      throw new CridError("invalid-argument", `${where}: recursive read-only mount needs private propagation, got ${bind.propagation}`);
    }
    if (!recursiveReadonlySupported) {
      throw new CridError("failed-precondition", `${where}: runtime handler does not support recursive read-only mounts`);
    }
    access = "rro";
  }
  for (const option of bind.options) {
    if (!MOUNT_OPTIONS.has(option)) {
      throw new CridError("invalid-argument", `${where}: mount option "${option}" is not one of ${[...MOUNT_OPTIONS].join(", ")}`);
    }
  }
  return {
    destination: bind.containerPath,
    type: "bind",
    source: bind.source,
    options: ["rbind", PROPAGATION_OPTION[bind.propagation], access, ...bind.options],
    ...(bind.uidMappings.length > 0 && { uidMappings: toOciMappings(bind.uidMappings) }),
    ...(bind.gidMappings.length > 0 && { gidMappings: toOciMappings(bind.gidMappings) }),
  };
}

const PROPAGATION_OPTION: Record<MountPropagation, string> = {
  private: "rprivate",
  "host-to-container": "rslave",
  bidirectional: "rshared",
};

/** Mount events only flow from or to a host mount that takes part in it. @throws failed-precondition, in the field's words */
function checkPropagation(bind: BindMount): void {
  if (bind.propagation === "private") return;
  const optional = bind.hostMount?.optional ?? [];
  const has = (prefix: string): boolean => optional.some((field) => field.startsWith(prefix));
  const lies = `path "${bind.source}" is mounted on "${bind.hostMount?.mountPoint ?? "?"}" but it is not a shared`;
  if (bind.propagation === "bidirectional" && !has("shared:")) throw new CridError("failed-precondition", `${lies} mount`);
  if (bind.propagation === "host-to-container" && !has("shared:") && !has("master:")) {
    throw new CridError("failed-precondition", `${lies} or slave mount`);
  }
}

/** The rootfs must take part as much as the mount that takes most; private is the runtime's default. */
function rootfsPropagation(binds: readonly BindMount[]): string | undefined {
  if (binds.some((bind) => bind.propagation === "bidirectional")) return "rshared";
  return binds.some((bind) => bind.propagation === "host-to-container") ? "rslave" : undefined;
}

/** A path without `.`, `..`, doubled or trailing slashes. */
export function cleanPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

function depth(path: string): number {
  const clean = cleanPath(path);
  return clean === "/" ? 0 : clean.split("/").length - 1;
}
