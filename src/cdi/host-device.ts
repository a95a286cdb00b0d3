import { lstat } from "node:fs/promises";
import { CridError, messageOf } from "../base/errors.ts";
import { deviceNumber } from "../linux/files.ts";
import type { DeviceNode } from "./edits.ts";

/** A device node with all that the OCI spec needs. */
export interface HostDeviceNode extends DeviceNode {
  type: string;
  major: number;
  minor: number;
}

/**
 * Takes from the host what a spec leaves out. A spec that says type and number needs no node on the host; if there is one, its mode is taken.
 *
 * @throws failed-precondition when the node is missing, is none, or is of another type
 */
export async function completeDeviceNode(node: DeviceNode): Promise<HostDeviceNode> {
  const { type = "", major = 0, minor = 0 } = node;
  const hostPath = node.hostPath || node.path;
  const complete = type !== "" && (major !== 0 || type === "p");
  let host: HostNode;
  try {
    host = await hostNode(hostPath);
  } catch (error) {
    if (complete) return { ...node, type, major, minor };
    throw new CridError("failed-precondition", `failed to stat CDI host device ${JSON.stringify(hostPath)}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const fileMode = node.fileMode ?? host.mode;
  if (complete) return { ...node, type, major, minor, fileMode };
  if (type !== "" && type !== host.type) {
    throw new CridError(
      "failed-precondition",
      `CDI device ${JSON.stringify(node.path)}: the spec says type "${type}", ${hostPath} on the host is "${host.type}"`,
    );
  }
  const numbers = host.type === "p" || major !== 0 ? { major, minor } : { major: host.major, minor: host.minor };
  return { ...node, type: host.type, ...numbers, fileMode };
}

interface HostNode {
  type: "b" | "c" | "p";
  major: number;
  minor: number;
  mode: number;
}

async function hostNode(path: string): Promise<HostNode> {
  const stats = await lstat(path, { bigint: true });
  const type = stats.isBlockDevice() ? "b" : stats.isCharacterDevice() ? "c" : stats.isFIFO() ? "p" : undefined;
  if (type === undefined) throw new Error("not a device node");
  const [major = 0, minor = 0] = deviceNumber(stats.rdev).split(":").map(Number);
  return { type, major, minor, mode: Number(stats.mode) & 0o7777 };
}
