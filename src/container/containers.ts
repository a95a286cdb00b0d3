import { CridError } from "../base/errors.ts";
import { JoinedCalls } from "../base/joined-calls.ts";
import { KeyedMutex, raceAbort } from "../base/keyed-mutex.ts";
import type { Container as PluginContainer, LinuxResources as PluginResources } from "../nri/messages.ts";
import type { ContainerConfig } from "../records/container-config.ts";
import type { ContainerRecord } from "../records/container-record.ts";
import type { LinuxResources } from "../records/pod-config.ts";
import { attachContainer } from "./attach.ts";
import { type ContainerContext, findEntry, getEntry } from "./context.ts";
import { createContainer, reservedName } from "./create.ts";
import type { ContainerShim } from "./deps.ts";
import type { ContainerEntry } from "./entry.ts";
import type { LifecycleEvents } from "./events.ts";
import { runExec } from "./exec.ts";
import { type ExecSyncResult, execSync } from "./exec-sync.ts";
import { taskEnded } from "./exit.ts";
import { type ContainerFilter, matches } from "./filter.ts";
import { PodOomCounts } from "./oom-counts.ts";
import { listForPlugins } from "./plugins.ts";
import { adoptContainer, loadContainers, loseContainer, undoCreation } from "./recover.ts";
import { removeContainer } from "./remove.ts";
import { reopenLog } from "./reopen-log.ts";
import { startContainer } from "./start.ts";
import type { ContainerState } from "./status.ts";
import { stopContainer } from "./stop.ts";
import type { StreamIo } from "./stream-io.ts";
import { updateByPlugin, updateResources } from "./update.ts";

/** A container as readers see it. */
export interface ContainerView {
  readonly record: ContainerRecord;
  readonly state: ContainerState;
}

export type { ExecSyncResult };

/** What a Containers is made of; the rest of the context is its own. */
export type ContainersOptions = Omit<ContainerContext, "entries" | "locks" | "limitLocks" | "oomCounts" | "shutdown">;

/** How long a creation or start goes on when its caller is gone, so that the caller's retry finds it done. */
const ABANDONED_GRACE_MS = 120_000;

/** The containers of this node. Every id may be a unique prefix. */
export class Containers {
  readonly #context: ContainerContext;
  readonly #shutdown = new AbortController();
  readonly #creations = new JoinedCalls<string>({ graceMs: ABANDONED_GRACE_MS });
  readonly #starts = new JoinedCalls<void>({ graceMs: ABANDONED_GRACE_MS });

  /** Of pods too. */
  readonly events: LifecycleEvents;

  constructor(options: ContainersOptions) {
    this.events = options.events;
    const own = { entries: new Map<string, ContainerEntry>(), locks: new KeyedMutex(), limitLocks: new KeyedMutex() };
    this.#context = { ...options, ...own, oomCounts: new PodOomCounts(), shutdown: this.#shutdown.signal };
  }

  /**
   * Prepares a container in a ready pod; starts no process.
   * @returns its id. A repeated call with the same name and attempt joins the one under way, or returns the id of the finished one
   * @throws not-found (pod, image, host path, user), failed-precondition (pod not ready), invalid-argument (field)
   */
  async create(request: { sandboxId: string; config: ContainerConfig }, options: { signal: AbortSignal }): Promise<string> {
    const { config } = request;
    if (config.name === "") throw new CridError("invalid-argument", "config.metadata.name: is empty");
    const pod = this.#context.pods.get(request.sandboxId);
    const name = reservedName(config, pod);
    const made = this.#byName(name);
    if (made !== undefined) {
      this.#context.log.info({ container: made.id, name }, "CreateContainer repeated: the container exists");
      return made.id;
    }
    return this.#creations.run(name, (own) => createContainer(this.#context, { pod, config, name }, own), options);
  }

  /** @throws not-found, failed-precondition (not in state created; pod not ready) */
  async start(id: string, options: { signal: AbortSignal }): Promise<void> {
    const entry = getEntry(this.#context, id);
    return this.#starts.run(entry.id, (own) => startContainer(this.#context, entry, own), options);
  }

  /** Sends the stop signal and, `graceMs` later, SIGKILL. Succeeds when it does not run, or does not exist. */
  async stop(id: string, options: { graceMs: number; signal: AbortSignal }): Promise<void> {
    const entry = findEntry(this.#context, id);
    if (entry === undefined) return;
    await stopContainer(this.#context, entry, options);
    // A shim ends with its pod only when no task is left in it.
    await raceAbort(Promise.all([entry.taskRemoval, entry.notices]), options.signal);
  }

  /** Kills it if it runs, and removes everything of it. Succeeds when it does not exist. */
  async remove(id: string, options: { signal: AbortSignal }): Promise<void> {
    const entry = findEntry(this.#context, id);
    if (entry !== undefined) await removeContainer(this.#context, entry, options);
  }

  /** @throws not-found, invalid-argument (ambiguous prefix) */
  get(id: string): ContainerView {
    return getEntry(this.#context, id);
  }

  /** @throws invalid-argument (ambiguous prefix) */
  find(id: string): ContainerView | undefined {
    return findEntry(this.#context, id);
  }

  /** From memory, oldest first. */
  list(filter: ContainerFilter = {}): ContainerView[] {
    return [...this.#context.entries.values()].filter((entry) => matches(entry, filter));
  }

  /**
   * Runs a command to its end. Output beyond 16 MiB a stream is dropped.
   * @param options.timeoutMs 0 = none
   * @throws not-found, failed-precondition (not running), deadline-exceeded (it was killed)
   */
  async execSync(id: string, options: { cmd: readonly string[]; timeoutMs: number; signal: AbortSignal }): Promise<ExecSyncResult> {
    return execSync(this.#context, getEntry(this.#context, id), options, { signal: options.signal });
  }

  /** Runs a command with streams; resolves at its end with its exit code. Aborting `signal` kills it. */
  async exec(id: string, options: StreamIo & { cmd: readonly string[]; tty: boolean; signal: AbortSignal }): Promise<{ exitCode: number }> {
    return runExec(this.#context, getEntry(this.#context, id), { ...options, timeoutMs: 0 }, { signal: options.signal });
  }

  /** Connects streams to the container's process; resolves when its output ends or `signal` aborts. */
  async attach(id: string, options: StreamIo & { signal: AbortSignal }): Promise<void> {
    return attachContainer(this.#context, getEntry(this.#context, id), options, { signal: options.signal });
  }

  /** @throws not-found */
  async updateResources(
    id: string,
    options: { resources: LinuxResources; annotations: Record<string, string>; signal: AbortSignal },
  ): Promise<void> {
    return updateResources(this.#context, getEntry(this.#context, id), options, { signal: options.signal });
  }

  /** @throws not-found, failed-precondition (not running) */
  async reopenLog(id: string, options: { signal: AbortSignal }): Promise<void> {
    return reopenLog(this.#context, getEntry(this.#context, id), options);
  }

  // What NRI plugins see, and do by themselves.

  /** Those that are created or run, for a plugin that is new. */
  async listForPlugins(): Promise<PluginContainer[]> {
    return listForPlugins(this.#context);
  }

  /** Sets what the plugin sets of the limits of a created or running container. @throws not-found */
  async updateByPlugin(id: string, resources: PluginResources, options: { signal: AbortSignal }): Promise<void> {
    return updateByPlugin(this.#context, getEntry(this.#context, id), resources, options);
  }

  /** Ends a container because a plugin says so. @throws not-found */
  async evict(id: string, reason: string, options: { signal: AbortSignal }): Promise<void> {
    const entry = getEntry(this.#context, id);
    this.#context.log.warn({ container: entry.id, reason }, "an NRI plugin evicts a container");
    await stopContainer(this.#context, entry, { graceMs: 0, ...options });
  }

  // What recovery/ needs.

  /** Takes the records of the store into memory; call once, before anything is served. Answers what was being created. */
  load(): { interrupted: ContainerRecord[] } {
    return loadContainers(this.#context);
  }

  /** @throws when something of it could not be removed; its record then stays for the next start */
  async undoCreation(record: ContainerRecord): Promise<void> {
    return undoCreation(this.#context, record);
  }

  /** Takes a container up again through the pod's shim, which was found alive. `logOpen`: the logger knows it. */
  async adopt(id: string, shim: ContainerShim, options: { logOpen: boolean; signal: AbortSignal }): Promise<void> {
    return adoptContainer(this.#context, getEntry(this.#context, id), shim, options);
  }

  /** The container's shim is gone for good, or the node was started anew. */
  async lose(id: string, why: string): Promise<void> {
    return loseContainer(this.#context, getEntry(this.#context, id), why);
  }

  /** An event of a shim: a second source for exits, and the first for OOM kills. */
  async onTaskEvent(
    event: { containerId: string } & ({ topic: "oom" } | { topic: "exit"; execId: string; exitStatus: number; exitedAt: bigint }),
  ): Promise<void> {
    const entry = this.#context.entries.get(event.containerId);
    if (entry === undefined) return;
    if (event.topic === "oom") {
      entry.oomSeen = true;
    } else if ((event.execId === "" || event.execId === event.containerId) && entry.state === "running" && !entry.starting) {
      const pod = this.#context.pods.find(entry.record.sandboxId);
      if (pod !== undefined) await taskEnded(this.#context, entry, await pod.shim({ signal: this.#shutdown.signal }), event);
    }
  }

  /** Lets go of all containers, which live on. Creations and starts under way are undone first. */
  async close(): Promise<void> {
    const reason = new CridError("unavailable", "the daemon is stopping");
    await Promise.all([this.#creations.close(reason), this.#starts.close(reason)]);
    this.#shutdown.abort(reason);
    this.#context.events.close();
  }

  #byName(name: string): ContainerEntry | undefined {
    for (const entry of this.#context.entries.values()) {
      if (entry.record.reservedName === name && !entry.record.status.removing) return entry;
    }
    return undefined;
  }
}
