import { unlink } from "node:fs/promises";
import { Server } from "ttrpc-node";
import { containerd, google } from "../../api/shim/task.js";
import { CridError, isErrno, messageOf } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import type { Nanos } from "../base/time.ts";
import { toNanos } from "./wire.ts";

const { ForwardRequest } = containerd.services.events.ttrpc.v1;
const events = containerd.events;

/** Something a shim reports of a task. `containerId` is the task's id. */
export type TaskEvent =
  /** A process has ended; execId "" is the container's own. */
  | { topic: "exit"; containerId: string; execId: string; pid: number; exitStatus: number; exitedAt: Nanos }
  | { topic: "oom"; containerId: string }
  | { topic: "create" | "start"; containerId: string; pid: number }
  | { topic: "delete"; containerId: string; execId: string; pid: number; exitStatus: number; exitedAt: Nanos }
  | { topic: "exec-added"; containerId: string; execId: string }
  | { topic: "exec-started"; containerId: string; execId: string; pid: number }
  | { topic: "paused" | "resumed"; containerId: string };

/** What is left of a graceful close: calls of shims that are under way. */
const closeTimeoutMs = 1_000;

/**
 * The ttrpc server that shims send their events to. A second source beside `Shim.wait`: a shim keeps events for some 15 s
 * while nobody listens, then drops them.
 */
export class EventServer {
  readonly #path: string;
  readonly #log: Logger;
  readonly #handlers = new Set<(event: TaskEvent) => void>();
  readonly #server: Server;

  constructor(options: { path: string; log: Logger }) {
    this.#path = options.path;
    this.#log = options.log;
    this.#server = new Server({ onError: (error) => this.#log.warn({ err: error }, "an event of a shim was refused") });
    this.#server.register("containerd.services.events.ttrpc.v1.Events", { Forward: (request) => this.#forward(request) });
  }

  /** Takes over the socket that a killed daemon left; a second daemon on the same state directory is excluded by its lock. */
  async listen(): Promise<void> {
    await unlink(this.#path).catch((error: unknown) => {
      if (!isErrno(error, "ENOENT")) throw error;
    });
    try {
      await this.#server.listen(this.#path);
    } catch (error) {
      throw CridError.from(error, `listen for events of shims on ${this.#path}`);
    }
  }

  async close(): Promise<void> {
    await this.#server.close({ signal: AbortSignal.timeout(closeTimeoutMs) });
  }

  /** @returns the function that ends the subscription. */
  subscribe(handler: (event: TaskEvent) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  #forward(request: Uint8Array): Uint8Array {
    const { envelope } = ForwardRequest.decode(request);
    const event = decodeTaskEvent(envelope?.topic ?? "", envelope?.event?.value ?? new Uint8Array(0));
    if (event === undefined) this.#log.debug({ topic: envelope?.topic }, "an event of an unknown topic");
    else this.#publish(event);
    return google.protobuf.Empty.encode({}).finish();
  }

  /** A handler that throws is logged: the shim would send the event again to all. */
  #publish(event: TaskEvent): void {
    for (const handler of this.#handlers) {
      try {
        handler(event);
      } catch (error) {
        this.#log.error({ err: error, event: event.topic, task: event.containerId }, `handler of a task event: ${messageOf(error)}`);
      }
    }
  }
}

/**
 * The event with this topic ("/tasks/exit"); undefined for an unknown topic.
 *
 * @throws Error when the bytes are no such event.
 */
export function decodeTaskEvent(topic: string, value: Uint8Array): TaskEvent | undefined {
  switch (topic) {
    case "/tasks/exit": {
      const { containerId, id, pid, exitStatus, exitedAt } = events.TaskExit.decode(value);
      return { topic: "exit", containerId, execId: id === containerId ? "" : id, pid, exitStatus, exitedAt: toNanos(exitedAt) };
    }
    case "/tasks/delete": {
      const { containerId, id, pid, exitStatus, exitedAt } = events.TaskDelete.decode(value);
      return { topic: "delete", containerId, execId: id === containerId ? "" : id, pid, exitStatus, exitedAt: toNanos(exitedAt) };
    }
    case "/tasks/oom":
      return { topic: "oom", containerId: events.TaskOOM.decode(value).containerId };
    case "/tasks/create": {
      const { containerId, pid } = events.TaskCreate.decode(value);
      return { topic: "create", containerId, pid };
    }
    case "/tasks/start": {
      const { containerId, pid } = events.TaskStart.decode(value);
      return { topic: "start", containerId, pid };
    }
    case "/tasks/exec-added": {
      const { containerId, execId } = events.TaskExecAdded.decode(value);
      return { topic: "exec-added", containerId, execId };
    }
    case "/tasks/exec-started": {
      const { containerId, execId, pid } = events.TaskExecStarted.decode(value);
      return { topic: "exec-started", containerId, execId, pid };
    }
    case "/tasks/paused":
      return { topic: "paused", containerId: events.TaskPaused.decode(value).containerId };
    case "/tasks/resumed":
      return { topic: "resumed", containerId: events.TaskResumed.decode(value).containerId };
    default:
      return undefined;
  }
}
