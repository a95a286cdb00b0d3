import { join } from "node:path";
import type { MountEntry } from "../linux/mountinfo.ts";

/** One mounted cgroup hierarchy. */
export interface Hierarchy {
  version: 1 | 2;
  mountPoint: string;
  /** The cgroup that is mounted there: "/" but in a container that sees a part of its host's tree. */
  root: string;
}

/**
 * Which hierarchy has which controller. Pure v2: one hierarchy for all. v1: each controller (or a pair, "cpu,cpuacct") its own.
 * Hybrid: v1, and a v2 hierarchy beside it with what v1 has not taken.
 */
export interface CgroupLayout {
  /** The version that the memory and cpu controllers are in: what an operator means by it. */
  version: 1 | 2;
  /** v1 hierarchies by controller; "name=systemd" is one of them. */
  v1: ReadonlyMap<string, Hierarchy>;
  v2: Hierarchy | undefined;
  /** Controllers of the v2 hierarchy (its cgroup.controllers). */
  v2Controllers: readonly string[];
}

/** Finds the hierarchies among the mounts. `controllersOf` reads the file cgroup.controllers of a v2 mount. */
export function findLayout(mounts: readonly MountEntry[], controllersOf: (mountPoint: string) => readonly string[]): CgroupLayout {
  const v1 = new Map<string, Hierarchy>();
  let v2: Hierarchy | undefined;
  for (const { fsType, mountPoint, root, superOptions } of mounts) {
    if (fsType === "cgroup2") {
      v2 ??= { version: 2, mountPoint, root };
    } else if (fsType === "cgroup") {
      for (const option of superOptions) {
        if (isController(option) && !v1.has(option)) v1.set(option, { version: 1, mountPoint, root });
      }
    }
  }
  const version = v2 !== undefined && !v1.has("memory") && !v1.has("cpu") ? 2 : 1;
  return { version, v1, v2, v2Controllers: v2 === undefined ? [] : controllersOf(v2.mountPoint) };
}

/** Options of a v1 mount that are no controllers (cgroup1_show_options of the kernel). */
const otherOptions = /^(rw|ro|xattr|noprefix|clone_children|cpuset_v2_mode|favordynmods|nodelegate|release_agent=.*|none)$/;

function isController(option: string): boolean {
  return option !== "" && !otherOptions.test(option);
}

/** Every hierarchy once; v2 first, since that can kill all at once. */
export function hierarchies(layout: CgroupLayout): { hierarchy: Hierarchy; controllers: string[] }[] {
  const found = new Map<string, { hierarchy: Hierarchy; controllers: string[] }>();
  if (layout.v2 !== undefined) found.set(layout.v2.mountPoint, { hierarchy: layout.v2, controllers: [...layout.v2Controllers] });
  for (const [controller, hierarchy] of layout.v1) {
    const known = found.get(hierarchy.mountPoint);
    if (known === undefined) found.set(hierarchy.mountPoint, { hierarchy, controllers: [controller] });
    else known.controllers.push(controller);
  }
  return [...found.values()];
}

/** Where a controller is: in v1 if it is mounted there, else in v2 if that has it. */
export function hierarchyOf(layout: CgroupLayout, controller: string): Hierarchy | undefined {
  const v1 = layout.v1.get(controller);
  if (v1 !== undefined) return v1;
  return layout.v2Controllers.includes(controller) ? layout.v2 : undefined;
}

/** The directory of a cgroup. */
export function directoryOf(hierarchy: Hierarchy, path: string): string {
  const { mountPoint, root } = hierarchy;
  const inside = root !== "/" && (path === root || path.startsWith(`${root}/`)) ? path.slice(root.length) : path;
  return join(mountPoint, inside);
}
