import type { OciProcess } from "../oci/spec.ts";
import type { ContainerRecord, ContainerStatusRecord } from "../records/container-record.ts";
import type { ContainerTable } from "./deps.ts";
import { type ContainerState, stateOf } from "./status.ts";

/** A container in memory: its record, and what is only true while this daemon runs. */
export class ContainerEntry {
  #record: ContainerRecord;
  readonly #table: ContainerTable;
  readonly #exited = Promise.withResolvers<void>();

  /** Nobody could tell about the process since the daemon started: see status.ts. */
  unreachable = false;
  /** StartContainer is under way: it alone says how the container comes out of it. */
  starting = false;
  /** The stop signal was sent: another StopContainer does not send it again, a program may take the second for "at once". */
  stopSignalSent = false;
  /** The kernel said that it killed a process of it for lack of memory. */
  oomSeen = false;
  /** Set while the exit is being recorded: it is told by the Wait, and again by an event. */
  ending: Promise<void> | undefined;
  /** The task's removal from the shim, which follows the exit. Never rejects. */
  taskRemoval: Promise<void> = Promise.resolve();
  /** The plugins have been told, or are being told, that it has ended. */
  stopTold: boolean;
  /** The same of its removal. */
  removalTold = false;
  /** What plugins are told of it, one after the other. Never rejects. */
  notices: Promise<void> = Promise.resolve();
  /** Of the spec in the bundle: what an exec is made from. Read when first needed. */
  process: OciProcess | undefined;

  constructor(record: ContainerRecord, table: ContainerTable) {
    this.#record = record;
    this.#table = table;
    this.stopTold = record.status.finishedAt !== 0n;
    if (this.stopTold) this.#exited.resolve();
  }

  get record(): ContainerRecord {
    return this.#record;
  }

  get id(): string {
    return this.#record.id;
  }

  get state(): ContainerState {
    return stateOf(this.#record.status, this.unreachable);
  }

  /** Resolves when the exit is on record. */
  get exited(): Promise<void> {
    return this.#exited.promise;
  }

  /**
   * The one way to change a container's status: `change` gets the current one and answers the new; disk first, then memory.
   *
   * @throws what the store throws; nothing has changed then
   */
  update(change: (status: Readonly<ContainerStatusRecord>) => ContainerStatusRecord): void {
    const next = { ...this.#record, status: change(this.#record.status) };
    this.#table.put(next);
    this.#record = next;
    if (next.status.finishedAt !== 0n) this.#exited.resolve();
  }
}
