import { join } from "node:path";
import pLimit from "p-limit";
import { Client } from "ttrpc-node";
import { CridError, isErrno, isKind } from "../base/errors.ts";
import { shortId } from "../base/ids.ts";
import { raceAbort } from "../base/keyed-mutex.ts";
import type { Logger } from "../base/log.ts";
import { linkSignals } from "../base/signals.ts";
import { kill } from "../linux/process.ts";
import type { ShimAddress } from "../records/task-process.ts";
import { Shim } from "./shim.ts";
import { runShimDelete, type ShimSetting, ShimStarter } from "./shim-binary.ts";
import { ShimLog } from "./shim-log.ts";
import { listShimProcesses, nowTicks, type ShimProcess, startedSince } from "./shim-processes.ts";
import { maxSocketDir, removeDeadSockets, shimAddresses, socketPath } from "./shim-sockets.ts";
import { TaskService, taskMethods } from "./task-service.ts";
import type { DeletedTask, RuncOptions } from "./task-types.ts";

/** How long a shim that was just started, or is said to run, may take to answer. */
const connectTimeoutMs = 5_000;
/** More do not end earlier: they wait for the CPU and for the locks of mounts and cgroups. */
const deletesAtOnce = 4;

export interface ShimsOptions {
  /** The daemon's state directory; a part of the names of the sockets, so it must not change between two starts. */
  stateDir: string;
  /** The containerd namespace, "k8s.io". */
  namespace: string;
  /** Where shims from 2.4 on make their sockets; at most 42 characters. Older ones always take /run/containerd/s. */
  socketDir: string;
  /** The path of the `EventServer`'s socket. */
  eventsAddress: string;
  /** Shims log at level debug. */
  debug?: boolean;
  log: Logger;
}

/** Starts, finds and cleans up after shims (`containerd-shim-runc-v2`, 1.6 to 2.4). One shim serves all tasks of a pod. */
export class Shims {
  readonly #setting: ShimSetting;
  readonly #starter: ShimStarter;
  readonly #log: Logger;
  /** A `delete` is a process that runs the OCI runtime: a node whose shims have all died must not start hundreds at once. */
  readonly #deletes = pLimit(deletesAtOnce);

  /** @throws CridError invalid-argument when socketDir is too long */
  constructor(options: ShimsOptions) {
    if (options.socketDir.length > maxSocketDir) {
      throw new CridError(
        "invalid-argument",
        `the shims' socket directory ${options.socketDir} is longer than ${maxSocketDir} characters: choose a shorter state directory`,
      );
    }
    this.#log = options.log;
    this.#setting = {
      namespace: options.namespace,
      grpcAddress: join(options.stateDir, "crid.sock"),
      eventsAddress: options.eventsAddress,
      socketDir: options.socketDir,
      debug: options.debug ?? false,
    };
    this.#starter = new ShimStarter(this.#setting);
  }

  /**
   * Starts the shim of a pod and connects to it; when it runs already, only connects.
   *
   * The bundle's directory must be named by the id and hold config.json, with the annotation `io.kubernetes.cri.sandbox-id` =
   * id. When this fails, no shim is left that was not there before.
   *
   * @throws CridError failed-precondition for a missing binary, not-found for a missing bundle, internal with the shim's words.
   */
  async start(
    shim: { id: string; bundle: string; binary: string; runtimeOptions: RuncOptions },
    options: { signal?: AbortSignal },
  ): Promise<Shim> {
    const step = `start the shim of ${shortId(shim.id)}`;
    const since = nowTicks();
    let log: ShimLog | undefined;
    try {
      log = this.#openLog(shim.id, shim.bundle);
      const { address, version } = await this.#starter.start(shim, options);
      return await this.#connect(shim.id, { address, version, binary: shim.binary }, log, options);
    } catch (error) {
      log?.close();
      await this.#killStray(shim.id, since);
      throw CridError.from(error, step);
    }
  }

  /**
   * Connects to a shim that runs, as after a restart of the daemon.
   *
   * @param options.bundle the bundle the shim was started with: its log is read again.
   * @throws CridError unavailable when nobody listens there, deadline-exceeded when it does not answer in timeoutMs (5 s).
   */
  async connect(
    id: string,
    address: ShimAddress,
    options: { bundle?: string; signal?: AbortSignal; timeoutMs?: number } = {},
  ): Promise<Shim> {
    const log = options.bundle === undefined ? undefined : this.#tryOpenLog(id, options.bundle);
    try {
      return await this.#connect(id, address, log, options);
    } catch (error) {
      log?.close();
      throw CridError.from(error, `connect to the shim of ${shortId(id)}`);
    }
  }

  /**
   * Looks for a shim whose address nobody wrote down: the daemon was killed between its start and the record. Undefined when
   * there is none.
   */
  async find(
    shim: { id: string; bundle: string; binary: string },
    options: { signal?: AbortSignal; timeoutMs?: number } = {},
  ): Promise<Shim | undefined> {
    for (const address of this.#addresses(shim.id)) {
      try {
        // Starting with 3: a shim that knows only 2 says so, and is asked again.
        return await this.connect(shim.id, { address, version: 3, binary: shim.binary }, { ...options, bundle: shim.bundle });
      } catch (error) {
        if (!isKind(error, "unavailable")) throw error;
      }
    }
    return undefined;
  }

  /**
   * Cleans up after a shim that is gone, for one of its tasks: the container is killed, the OCI runtime's state and the root
   * file system's mounts are removed. `bundle` must be named by the id. The bundle itself stays. Idempotent.
   *
   * @returns exit status 137 unless the true one is known (shims from 2.4 write it down).
   * @throws CridError not-found when there is no such bundle.
   */
  async delete(task: { id: string; bundle: string; binary: string }, options: { signal?: AbortSignal }): Promise<DeletedTask> {
    try {
      const deleted = await raceAbort(
        this.#deletes(() => runShimDelete(this.#setting, task, options)),
        options.signal,
      );
      await removeDeadSockets(this.#addresses(task.id));
      return deleted;
    } catch (error) {
      throw CridError.from(error, `clean up after the shim of task ${shortId(task.id)}`);
    }
  }

  /** The shim processes of this daemon, also those that no record names. Reads all of /proc. */
  async list(): Promise<ShimProcess[]> {
    return (await listShimProcesses(this.#setting)).filter(({ action }) => action === undefined);
  }

  async #connect(
    id: string,
    address: ShimAddress,
    log: ShimLog | undefined,
    options: { signal?: AbortSignal; timeoutMs?: number },
  ): Promise<Shim> {
    using limits = linkSignals({
      signals: [options.signal],
      timeoutMs: options.timeoutMs ?? connectTimeoutMs,
      step: `the shim at ${address.address}`,
    });
    const client = await connectSocket(address, limits.signal);
    try {
      const service = new TaskService(client, { namespace: this.#setting.namespace, version: address.version });
      const { shimPid } = await service.call(taskMethods.connect, { id }, { step: "first call", signal: limits.signal });
      return new Shim({ address, pid: shimPid, service, client, log });
    } catch (error) {
      client.close();
      throw error;
    }
  }

  #addresses(id: string): string[] {
    const { socketDir, grpcAddress, namespace } = this.#setting;
    return shimAddresses({ socketDir, grpcAddress, namespace, group: id });
  }

  #openLog(id: string, bundle: string): ShimLog {
    try {
      return new ShimLog(bundle, this.#log.child({ sandbox: id }));
    } catch (error) {
      if (isErrno(error, "ENOENT")) throw new CridError("not-found", `there is no bundle ${bundle}`, { cause: error });
      throw error;
    }
  }

  /** A shim can be used without its log. */
  #tryOpenLog(id: string, bundle: string): ShimLog | undefined {
    try {
      return this.#openLog(id, bundle);
    } catch (error) {
      this.#log.warn({ sandbox: id, err: error }, "the log of the shim cannot be read");
      return undefined;
    }
  }

  /**
   * After a failed start: a new shim process may be there already, and nobody knows of it (one from before stays). Asked again until none is found, since
   * a process that is just being forked shows the arguments of its parent, and a socket is in use until its process is gone.
   */
  async #killStray(id: string, since: number): Promise<void> {
    for (let round = 0; round < 20; round++) {
      const ours = (await listShimProcesses(this.#setting)).filter((found) => found.id === id && found.action !== "delete");
      const strays = ours.filter(({ pid }) => startedSince(pid, since));
      if (strays.length === 0) break;
      for (const { pid } of strays) {
        if (round === 0) this.#log.info({ sandbox: id, pid }, "kill the shim whose start failed");
        kill(pid, 9);
      }
      await new Promise((resolve) => setTimeout(resolve, 5 * (round + 1)));
    }
    await removeDeadSockets(this.#addresses(id));
  }
}

async function connectSocket(address: ShimAddress, signal: AbortSignal): Promise<Client> {
  try {
    return await Client.connect(socketPath(address.address), { signal });
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ECONNREFUSED")) {
      throw new CridError("unavailable", `nobody listens at ${address.address}`, { cause: error });
    }
    throw error;
  }
}
