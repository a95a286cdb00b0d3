import type { OciDevice, OciDeviceRule } from "./spec.ts";

/** A device node of the host. */
export interface DeviceNode {
  path: string;
  type: "c" | "b";
  major: number;
  minor: number;
  /** Permission bits. */
  mode: number;
  uid: number;
  gid: number;
}

/** Devices that a container asked for: nodes already expanded from a host path, to appear at or below `containerPath`. */
export interface RequestedDevice {
  hostPath: string;
  containerPath: string;
  /** Of "rwm". */
  permissions: string;
  nodes: readonly DeviceNode[];
}

/**
 * Device nodes to make and the cgroup's rules. The runtime adds the harmless ones (null, zero, random, tty, ...) by itself.
 *
 * @param privileged.hostNodes all device nodes of the host, for a privileged container; undefined for others
 */
export function containerDevices(
  requested: readonly RequestedDevice[],
  privileged: { hostNodes: readonly DeviceNode[] } | undefined,
): { devices: OciDevice[]; rules: OciDeviceRule[] } {
  const devices = requested.flatMap(({ hostPath, containerPath, nodes }) =>
    nodes.map((node) => toDevice(node, containerPath === "" ? node.path : containerPath + node.path.slice(hostPath.length))),
  );
  if (privileged !== undefined) {
    const named = new Set(devices.map(({ path }) => path));
    const rest = privileged.hostNodes.filter(({ path }) => !named.has(path)).map((node) => toDevice(node, node.path));
    return { devices: [...devices, ...rest], rules: [{ allow: true, access: "rwm" }] };
  }
  const rules = requested.flatMap(({ nodes, permissions }) =>
    nodes.map(
      (node): OciDeviceRule => ({ allow: true, type: node.type, major: node.major, minor: node.minor, access: permissions || "rwm" }),
    ),
  );
  return { devices, rules: [{ allow: false, access: "rwm" }, ...rules] };
}

function toDevice(node: DeviceNode, path: string): OciDevice {
  return { type: node.type, path, major: node.major, minor: node.minor, fileMode: node.mode, uid: node.uid, gid: node.gid };
}

/** Entries of /dev that are file systems or other people's: never walked into. The runtime makes the container's own. */
export const SKIPPED_DEV_DIRECTORIES: ReadonlySet<string> = new Set(["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"]);
