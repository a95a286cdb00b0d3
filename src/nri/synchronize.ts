import { CridError, isKind } from "../base/errors.ts";
import { type Container, type ContainerUpdate, type PodSandbox, v1 } from "./messages.ts";

/** Below ttrpc's limit of 4 MiB a message, with room for what is around the objects. */
const MAX_BYTES = 4_000_000;

export interface SyncRequest {
  pods: PodSandbox[];
  containers: Container[];
  more: boolean;
}

/** What a plugin answers to it. */
export interface SyncAnswer {
  update: ContainerUpdate[];
  more: boolean;
}

/**
 * Sends everything, in as many messages as the size asks for. All but the last say `more`, which the plugin must return: one that doesn't
 * know of parts would take the first for all there is.
 *
 * @returns the updates that the plugin asks for in answer to the last
 * @throws failed-precondition when the plugin can't take parts, or one object alone is too big; what `send` throws
 */
export async function sendInParts(
  pods: readonly PodSandbox[],
  containers: readonly Container[],
  send: (request: SyncRequest) => Promise<SyncAnswer>,
): Promise<ContainerUpdate[]> {
  const parts = inParts(pods, containers, MAX_BYTES);
  for (const part of parts) {
    let answer: SyncAnswer;
    try {
      answer = await send(part);
    } catch (error) {
      if (!isKind(error, "resource-exhausted")) throw error;
      throw new CridError("failed-precondition", "a pod or container of more than 4 MiB cannot be told of", { cause: error });
    }
    if (!part.more) return answer.update;
    if (!answer.more || answer.update.length > 0)
      throw new CridError("failed-precondition", `the node's state takes ${parts.length} messages, and the plugin can only take one`);
  }
  return [];
}

/** At least one part; each of at most `maxBytes` unless a single object is bigger. */
export function inParts(pods: readonly PodSandbox[], containers: readonly Container[], maxBytes: number): SyncRequest[] {
  const parts: SyncRequest[] = [];
  let part: SyncRequest = { pods: [], containers: [], more: false };
  let bytes = 0;
  const add = (size: number, put: (to: SyncRequest) => void): void => {
    if (bytes > 0 && bytes + size > maxBytes) {
      parts.push({ ...part, more: true });
      part = { pods: [], containers: [], more: false };
      bytes = 0;
    }
    // A tag and a length stand before each object.
    bytes += size + 8;
    put(part);
  };
  for (const pod of pods) add(v1.PodSandbox.encode(pod).finish().length, (to) => to.pods.push(pod));
  for (const container of containers) add(v1.Container.encode(container).finish().length, (to) => to.containers.push(container));
  parts.push(part);
  return parts;
}
