import { existsSync, readFileSync } from "node:fs";
import { readMountinfo } from "../linux/mountinfo.ts";
import { capabilities, clampOomScoreAdj } from "../linux/process.ts";
import type { SpecHost } from "../oci/host.ts";

/**
 * Finds out what the specs depend on of this machine. Once, at the start of the daemon, after its own oom_score_adj was set.
 *
 * @param options.recursiveReadonly whether the low-level runtime knows `rro`, from its `features`
 */
export async function probeSpecHost(options: { cgroupVersion: 1 | 2; recursiveReadonly: boolean }): Promise<SpecHost> {
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
    selinux: existsSync("/sys/fs/selinux/enforce"),
    arch: process.arch,
    recursiveReadonly: options.recursiveReadonly,
    cgroupMountOptions: cgroupMount?.superOptions ?? [],
  };
}

/** Whether an AppArmor profile of this name is loaded: lines of `name (mode)`. */
export function apparmorLoaded(profile: string): boolean {
  return textOf("/sys/kernel/security/apparmor/profiles")
    .split("\n")
    .some((line) => line.startsWith(`${profile} (`));
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
