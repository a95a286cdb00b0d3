import type { Client } from "ttrpc-node";
import { containerd } from "../../api/shim/task.js";
import { shortId } from "../base/ids.ts";
import type { ShimAddress } from "../records/task-process.ts";
import type { ShimLog } from "./shim-log.ts";
import { type TaskMethod, type TaskService, taskMethods } from "./task-service.ts";
import type { CreateTask, DeletedTask, ExecTask, TaskExit, TaskState } from "./task-types.ts";
import { packOci, packRuncOptions, toNanos } from "./wire.ts";

const { Status } = containerd.v1.types;

const statuses = new Map<number, TaskState["status"]>([
  [Status.CREATED, "created"],
  [Status.RUNNING, "running"],
  [Status.STOPPED, "stopped"],
  [Status.PAUSED, "paused"],
  [Status.PAUSING, "paused"],
]);

/**
 * A connected shim. One serves all tasks of a pod: the pause and the containers; every call names the task's id, and `execId`
 * for a process that was added to it.
 *
 * All calls throw CridError: `unavailable` when the shim is gone, `not-found` for a task or process it does not know or that
 * has ended. An aborted call goes on in the shim; what it makes is the caller's to clean up.
 */
export class Shim {
  /** The shim's own process. */
  readonly pid: number;
  /** Resolves when the connection is gone: the shim has exited, or `close` was called. */
  readonly closed: Promise<void>;
  readonly #service: TaskService;
  readonly #client: Client;
  readonly #log: ShimLog | undefined;
  readonly #address: ShimAddress;

  constructor(options: { address: ShimAddress; pid: number; service: TaskService; client: Client; log: ShimLog | undefined }) {
    this.pid = options.pid;
    this.#address = options.address;
    this.#service = options.service;
    this.#client = options.client;
    this.#log = options.log;
    this.closed = options.client.closed.then(() => this.#log?.close());
  }

  /** Where the shim is found again; to be stored. */
  get address(): ShimAddress {
    return { ...this.#address, version: this.#service.version };
  }

  /** Mounts the root file system and has the OCI runtime create the container; its process waits for `start`. */
  async create(task: CreateTask, options: { signal?: AbortSignal }): Promise<{ pid: number }> {
    const request = {
      id: task.id,
      bundle: task.bundle,
      rootfs: task.rootfs.map(({ type, source, target, options: flags }) => ({ type, source, target, options: [...flags] })),
      terminal: task.terminal,
      ...stdioOf(task),
      options: packRuncOptions(task.runtimeOptions),
    };
    const { pid } = await this.#service.call(taskMethods.create, request, { ...options, step: `create task ${shortId(task.id)}` });
    return { pid };
  }

  /** Starts the task's process, or one that `exec` added. */
  async start(id: string, options: { execId?: string; signal?: AbortSignal }): Promise<{ pid: number }> {
    const { pid } = await this.#call(taskMethods.start, "start", id, options);
    return { pid };
  }

  /** Resolves when the process has ended; at once if it has. Without a signal it waits as long as that takes. */
  async wait(id: string, options: { execId?: string; signal?: AbortSignal } = {}): Promise<TaskExit> {
    const { exitStatus, exitedAt } = await this.#call(taskMethods.wait, "wait for", id, options);
    return { exitStatus, exitedAt: toNanos(exitedAt) };
  }

  /** Removes a stopped task with its cgroup and mounts, or a process that `exec` added. @throws failed-precondition while it runs */
  async delete(id: string, options: { execId?: string; signal?: AbortSignal }): Promise<DeletedTask> {
    const { pid, exitStatus, exitedAt } = await this.#call(taskMethods.delete, "delete", id, options);
    return { pid, exitStatus, exitedAt: toNanos(exitedAt) };
  }

  /** Adds a process to a task; `start` with the same execId runs it. @throws already-exists for an execId in use */
  async exec(id: string, exec: ExecTask, options: { signal?: AbortSignal }): Promise<void> {
    const { execId, terminal, process } = exec;
    const request = { id, execId, terminal, ...stdioOf(exec), spec: packOci("Process", process) };
    await this.#service.call(taskMethods.exec, request, { ...options, step: stepOf("add a process to", id, exec.execId) });
  }

  /** @param kill.all signal every process of the container, not its first alone. @throws not-found when it has ended */
  async kill(id: string, kill: { signal: number; all: boolean; execId?: string }, options: { signal?: AbortSignal }): Promise<void> {
    const request = { id, execId: kill.execId ?? "", signal: kill.signal, all: kill.all };
    await this.#service.call(taskMethods.kill, request, { ...options, step: stepOf(`send signal ${kill.signal} to`, id, kill.execId) });
  }

  async state(id: string, options: { execId?: string; signal?: AbortSignal }): Promise<TaskState> {
    const state = await this.#call(taskMethods.state, "ask for the state of", id, options);
    return {
      status: statuses.get(state.status) ?? "unknown",
      pid: state.pid,
      exitStatus: state.exitStatus,
      exitedAt: toNanos(state.exitedAt),
      bundle: state.bundle,
      terminal: state.terminal,
      stdin: state.stdin,
      stdout: state.stdout,
      stderr: state.stderr,
    };
  }

  /** The processes of the container, as the OCI runtime lists them (it is run for this). */
  async pids(id: string, options: { signal?: AbortSignal } = {}): Promise<number[]> {
    const { processes } = await this.#call(taskMethods.pids, "list the processes of", id, options);
    return processes.map(({ pid }) => pid);
  }

  async resizePty(
    id: string,
    size: { execId?: string; width: number; height: number },
    options: { signal?: AbortSignal } = {},
  ): Promise<void> {
    const request = { id, execId: size.execId ?? "", width: size.width, height: size.height };
    await this.#service.call(taskMethods.resizePty, request, { ...options, step: stepOf("resize the terminal of", id, size.execId) });
  }

  /** The process' stdin ends: to be called after the last byte was written to its fifo. */
  async closeIO(id: string, io: { execId?: string }, options: { signal?: AbortSignal } = {}): Promise<void> {
    const request = { id, execId: io.execId ?? "", stdin: true };
    await this.#service.call(taskMethods.closeIO, request, { ...options, step: stepOf("close the stdin of", id, io.execId) });
  }

  /** @param resources the OCI runtime spec's `linux.resources`; what is absent stays as it is. */
  async update(id: string, resources: object, annotations: Record<string, string>, options: { signal?: AbortSignal } = {}): Promise<void> {
    const request = { id, resources: packOci("LinuxResources", resources), annotations };
    await this.#service.call(taskMethods.update, request, { ...options, step: stepOf("update", id, undefined) });
  }

  async pause(id: string, options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#call(taskMethods.pause, "freeze", id, options);
  }

  async resume(id: string, options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#call(taskMethods.resume, "thaw", id, options);
  }

  /** `taskPid` is 0 for a task the shim does not have. */
  async connectInfo(id: string, options: { signal?: AbortSignal } = {}): Promise<{ shimPid: number; taskPid: number }> {
    const { shimPid, taskPid } = await this.#call(taskMethods.connect, "ask the shim about", id, options);
    return { shimPid, taskPid };
  }

  /** Ends the shim. It does nothing while tasks are left in it; a shim that is gone already is no error. */
  async shutdown(id: string, options: { signal?: AbortSignal } = {}): Promise<void> {
    try {
      await this.#service.call(taskMethods.shutdown, { id, now: false }, { ...options, step: `end the shim of ${shortId(id)}` });
    } catch (error) {
      // The shim may exit before its answer is out.
      if (await this.#isClosed()) return;
      throw error;
    }
  }

  /** Lets go of the shim, which lives on. */
  close(): void {
    this.#client.close();
  }

  async #isClosed(): Promise<boolean> {
    return Promise.race([this.closed.then(() => true), new Promise<boolean>((resolve) => setImmediate(resolve, false))]);
  }

  async #call<A>(
    rpc: TaskMethod<{ id: string; execId: string }, A>,
    verb: string,
    id: string,
    options: { execId?: string; signal?: AbortSignal },
  ): Promise<A> {
    const { signal, execId } = options;
    const step = stepOf(verb, id, execId);
    return this.#service.call(rpc, { id, execId: execId ?? "" }, { step, ...(signal === undefined ? {} : { signal }) });
  }
}

/**
 * Without a terminal, a shim that gets some of the three and not the outputs tries to open "" and then never answers Create
 * (1.6 to 2.4, process/io.go). None at all is well: then all are /dev/null.
 */
function stdioOf(io: { terminal: boolean; stdin: string; stdout: string; stderr: string }): {
  stdin: string;
  stdout: string;
  stderr: string;
} {
  const { stdin, stdout, stderr } = io;
  if (io.terminal || (stdin === "" && stdout === "" && stderr === "")) return { stdin, stdout, stderr };
  return { stdin, stdout: stdout === "" ? "/dev/null" : stdout, stderr: stderr === "" ? "/dev/null" : stderr };
}

/** "start process 9c1e of task 3f2a". */
function stepOf(verb: string, id: string, execId: string | undefined): string {
  const task = `task ${shortId(id)}`;
  return execId === undefined || execId === "" ? `${verb} ${task}` : `${verb} process ${shortId(execId)} of ${task}`;
}
