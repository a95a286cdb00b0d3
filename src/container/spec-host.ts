import { existsSync, readFileSync } from "node:fs";
import { readMountinfo } from "../linux/mountinfo.ts";
import { capabilities, clampOomScoreAdj } from "../linux/process.ts";
import type { SpecHost } from "../oci/host.ts";
import { parseContexts, type SelinuxContexts } from "../oci/selinux.ts";
import type { OciRlimit } from "../oci/spec.ts";

/**
 * Finds out what the specs depend on of this machine. Once, at the start of the daemon, after its own oom_score_adj was set.
 *
 * @param options.recursiveReadonly whether the low-level runtime knows `rro`, from its `features`
 * @param options.rlimits of the configuration, by name
 * @param options.selinux whether labels are set where the kernel has SELinux enabled, default true
 */
export async function probeSpecHost(options: {
  cgroupVersion: 1 | 2;
  recursiveReadonly: boolean;
  rlimits?: Limits;
  selinux?: boolean;
}): Promise<SpecHost> {
  const cgroupMount = (await readMountinfo()).findLast(({ mountPoint }) => mountPoint === "/sys/fs/cgroup");
  return {
    cgroupVersion: options.cgroupVersion,
    bounding: capabilities().bounding,
    minOomScoreAdj: clampOomScoreAdj(-1000),
    swapController:
      options.cgroupVersion === 2
        ? existsSync(`/sys/fs/cgroup${ownUnifiedCgroup()}/memory.swap.max`)
        : existsSync("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"),
    hugetlbController:
      options.cgroupVersion === 2
        ? textOf("/sys/fs/cgroup/cgroup.controllers").split(/\s+/).includes("hugetlb")
        : existsSync("/sys/fs/cgroup/hugetlb/cgroup.procs"),
    seccomp: textOf("/proc/self/status").includes("\nSeccomp:"),
    apparmor: textOf("/sys/module/apparmor/parameters/enabled").startsWith("Y") && existsSync("/sys/kernel/security/apparmor"),
    ...(options.selinux !== false && existsSync("/sys/fs/selinux/enforce") && { selinux: selinuxContexts() }),
    arch: process.arch,
    recursiveReadonly: options.recursiveReadonly,
    rlimits: containerRlimits({
      configured: options.rlimits ?? {},
      softOpenFiles: process.env.CRID_SOFT_NOFILE,
      limits: textOf("/proc/self/limits"),
    }),
    cgroupMountOptions: cgroupMount?.superOptions ?? [],
  };
}

/** Whether an AppArmor profile of this name is loaded: lines of `name (mode)`. */
export function apparmorLoaded(profile: string): boolean {
  return textOf("/sys/kernel/security/apparmor/profiles")
    .split("\n")
    .some((line) => line.startsWith(`${profile} (`));
}

/** The labels of containers, from the policy for containers (container-selinux), else from the policy in use. */
function selinuxContexts(): SelinuxContexts {
  const type = /^\s*SELINUXTYPE\s*=\s*(\w+)/m.exec(textOf("/etc/selinux/config"))?.[1] ?? "targeted";
  const text = textOf("/usr/share/containers/selinux/contexts");
  return parseContexts(text === "" ? textOf(`/etc/selinux/${type}/contexts/lxc_contexts`) : text);
}

/** By the name of the configuration ("nofile"). */
type Limits = Readonly<Record<string, { soft: number; hard: number } | undefined>>;

/**
 * The limits of containers: the configured ones, and that of open files as the service manager set it. Node raises its own soft limit to the hard one
 * when it starts, and whatever it starts would inherit that; programs that close every possible descriptor then take minutes. What it was is told
 * by the launcher (dist/bin/crid). containerd passes on the original one too: Go restores it for its children.
 *
 * @param from.limits the text of /proc/self/limits
 */
export function containerRlimits(from: { configured: Limits; softOpenFiles: string | undefined; limits: string }): OciRlimit[] {
  const limits = new Map<string, { soft: number; hard: number }>();
  for (const [name, limit] of Object.entries(from.configured)) if (limit !== undefined) limits.set(`RLIMIT_${name.toUpperCase()}`, limit);
  const hard = Number(/^Max open files\s+\S+\s+(\d+)/m.exec(from.limits)?.[1]);
  if (/^\d+$/.test(from.softOpenFiles ?? "") && hard > 0 && !limits.has("RLIMIT_NOFILE")) {
    limits.set("RLIMIT_NOFILE", { soft: Math.min(Number(from.softOpenFiles), hard), hard });
  }
  return [...limits].map(([type, { soft, hard }]) => ({ type, hard, soft }));
}

/** Our own place in the v2 hierarchy: the root of it has no memory.swap.max. */
function ownUnifiedCgroup(): string {
  return /^0::(.*)$/m.exec(textOf("/proc/self/cgroup"))?.[1] ?? "";
}

/** A kernel file's text; "" when there is none. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
