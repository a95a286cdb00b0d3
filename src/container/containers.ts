import type { Readable, Writable } from "node:stream";
import { CridError } from "../base/errors.ts";
import type { ContainerConfig } from "../records/container-config.ts";
import type { ContainerRecord } from "../records/container-record.ts";
import type { LinuxResources } from "../records/pod-config.ts";
import { LifecycleEvents } from "./events.ts";
import type { ContainerState } from "./status.ts";

/** A container as readers see it. */
export interface ContainerView {
  readonly record: ContainerRecord;
  readonly state: ContainerState;
}

/** All given fields must match. */
export interface ContainerFilter {
  /** A full id or a unique prefix of one. */
  id?: string;
  state?: ContainerState;
  /** A pod's id or a unique prefix of one. */
  sandboxId?: string;
  labels?: Readonly<Record<string, string>>;
}

export interface ExecSyncResult {
  stdout: Buffer;
  stderr: Buffer;
  exitCode: number;
}

export interface TerminalSize {
  width: number;
  height: number;
}

/** The streams of an exec or attach. Output streams are ended when the output ends. */
export interface StreamIo {
  stdin?: Readable;
  stdout?: Writable;
  stderr?: Writable;
  /** Sizes of the client's terminal; ends with the client. */
  resize?: AsyncIterable<TerminalSize>;
}

/** The containers of this node. Every id may be a unique prefix. */
export class Containers {
  readonly events = new LifecycleEvents();

  /**
   * Prepares a container in a ready pod; starts no process.
   * @returns its id. A repeated call with the same name and attempt joins the one under way, or returns the id of the finished one
   * @throws not-found (pod, image, host path, user), failed-precondition (pod not ready), invalid-argument (field)
   */
  create(_request: { sandboxId: string; config: ContainerConfig }, _o: { signal: AbortSignal }): Promise<string> {
    return todo();
  }

  /** @throws not-found, failed-precondition (not in state created; pod not ready) */
  start(_id: string, _o: { signal: AbortSignal }): Promise<void> {
    return todo();
  }

  /** Sends the stop signal and, `graceMs` later, SIGKILL. Succeeds when it does not run, or does not exist. */
  stop(_id: string, _o: { graceMs: number; signal: AbortSignal }): Promise<void> {
    return todo();
  }

  /** Kills it if it runs, and removes everything of it. Succeeds when it does not exist. */
  remove(_id: string, _o: { signal: AbortSignal }): Promise<void> {
    return todo();
  }

  /** @throws not-found, invalid-argument (ambiguous prefix) */
  get(_id: string): ContainerView {
    throw new CridError("unimplemented", "containers");
  }

  find(_id: string): ContainerView | undefined {
    return undefined;
  }

  /** From memory, oldest first. */
  list(_filter: ContainerFilter = {}): ContainerView[] {
    return [];
  }

  /**
   * Runs a command to its end. Output beyond 16 MiB a stream is dropped.
   * @param o.timeoutMs 0 = none
   * @throws not-found, failed-precondition (not running), deadline-exceeded (it was killed)
   */
  execSync(_id: string, _o: { cmd: string[]; timeoutMs: number; signal: AbortSignal }): Promise<ExecSyncResult> {
    return todo();
  }

  /** Runs a command with streams; resolves at its end with its exit code. Aborting `signal` kills it. */
  exec(_id: string, _o: StreamIo & { cmd: string[]; tty: boolean; signal: AbortSignal }): Promise<{ exitCode: number }> {
    return todo();
  }

  /** Connects streams to the container's process; resolves when its output ends or `signal` aborts. */
  attach(_id: string, _o: StreamIo & { signal: AbortSignal }): Promise<void> {
    return todo();
  }

  /** @throws not-found, failed-precondition (exited) */
  updateResources(_id: string, _o: { resources: LinuxResources; annotations: Record<string, string>; signal: AbortSignal }): Promise<void> {
    return todo();
  }

  /** @throws not-found, failed-precondition (not running) */
  reopenLog(_id: string, _o: { signal: AbortSignal }): Promise<void> {
    return todo();
  }
}

function todo(): Promise<never> {
  return Promise.reject(new CridError("unimplemented", "containers"));
}
