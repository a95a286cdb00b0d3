import { close, constants, fstat, ftruncate, open, writev } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { CridError, isErrno, messageOf } from "../../base/errors.ts";
import type { BufferPool } from "./buffer-pool.ts";
import type { RecordSink } from "./cri-format.ts";

// Descriptors rather than FileHandles: the collector closes a FileHandle that nobody holds, with a warning, and costs more.
const openFd = promisify(open);
const closeFd = promisify(close);
const writeBuffers = promisify(writev);
const statFd = promisify(fstat);
const truncateFd = promisify(ftruncate);

const NEWLINE = 10;
const EMPTY = Buffer.alloc(0);

/** How much of one container's output may wait for the disk before its fifo is no longer read. */
const HIGH_WATER = 512 * 1024;
/** All containers together: above it each may have only what one read brought. */
const TOTAL_HIGH_WATER = 16 * 1024 * 1024;

/**
 * A write costs a turn of a thread. A container that writes all the time gets one in this many milliseconds, or for GATHER_BYTES; a line on
 * its own is written at once.
 */
const GATHER_MS = 4;
const GATHER_BYTES = 256 * 1024;

/** What one log file did with its records. */
export interface LogFileCounts {
  writtenBytes: number;
  droppedBytes: number;
  droppedRecords: number;
}

export interface LogFileOptions {
  path: string;
  pool: BufferPool;
  say: (message: string) => void;
}

type Item = { kind: "data"; buffer: Buffer; length: number } | { kind: "switch"; fd: number; done: () => void };

/**
 * One container's log file. Records are put into it as into a RecordSink and written behind, in order, one write at a time,
 * on libuv's pool: a disk that stalls must not stop the loop, and with it the other containers.
 *
 * A write that fails (ENOSPC, EDQUOT, EIO) costs its records, which are counted; it never holds the container. A record that was
 * written in part is cut off again, so that the file always holds whole records. Said once when it begins and once when writing
 * works again.
 */
export class LogFile implements RecordSink {
  buffer: Buffer = EMPTY;
  position = 0;
  /** Called whenever something was written: `full` may have changed. */
  onRoom = (): void => {};
  readonly counts: LogFileCounts = { writtenBytes: 0, droppedBytes: 0, droppedRecords: 0 };
  readonly #pool: BufferPool;
  readonly #say: (message: string) => void;
  readonly #queue: Item[] = [];
  #path: string;
  /** -1: no log is wanted, records go nowhere. */
  #fd: number;
  #queuedBytes = 0;
  #running: Promise<void> | undefined;
  #writtenAt = 0;
  #gathering: NodeJS.Timeout | undefined;
  #failing: { code: string; records: number } | undefined;
  #closed = false;

  private constructor(options: LogFileOptions, fd: number) {
    this.#path = options.path;
    this.#pool = options.pool;
    this.#say = options.say;
    this.#fd = fd;
  }

  /**
   * Opens (and makes, mode 0640, with its folders) the file for appending. An empty path means that no log is kept.
   *
   * @throws CridError when the file cannot be opened.
   */
  static async open(options: LogFileOptions): Promise<LogFile> {
    return new LogFile(options, await openLog(options.path));
  }

  get path(): string {
    return this.#path;
  }

  /** Whether the container should not be read for now. */
  get full(): boolean {
    return this.#queuedBytes > (this.#pool.inUseBytes > TOTAL_HIGH_WATER ? 0 : HIGH_WATER);
  }

  makeRoom(bytes: number): void {
    if (this.buffer.length - this.position >= bytes) return;
    this.#seal();
    this.buffer = this.#pool.take(bytes);
  }

  /** Sees to it that what was put in is written soon. Call after each chunk. */
  flush(): void {
    const waiting = this.#queuedBytes + this.position;
    if (waiting === 0 || this.#running !== undefined) return;
    if (waiting < GATHER_BYTES && performance.now() - this.#writtenAt < GATHER_MS) {
      this.#gathering ??= setTimeout(() => this.#write(), GATHER_MS);
      return;
    }
    this.#write();
  }

  /** Resolves when all that was put in so far is in the file, or dropped. */
  async settled(): Promise<void> {
    for (this.#write(); this.#running !== undefined; this.#write()) await this.#running;
  }

  /**
   * Opens `path` and lets later records go there; those put in before stay with the old file. Resolves when nothing
   * more will be written to the old one: the kubelet compresses it afterwards.
   *
   * @throws CridError when the new file cannot be opened; then the old one stays in use.
   */
  async reopen(path: string): Promise<void> {
    const fd = await openLog(path);
    this.#path = path;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#seal();
    this.#queue.push({ kind: "switch", fd, done: resolve });
    this.#write();
    await promise;
  }

  /** Writes what is there and closes the file. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.settled();
    await this.#setFd(-1);
  }

  #write(): void {
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    if (this.#running !== undefined) return;
    this.#seal();
    if (this.#queue.length === 0) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      this.#writtenAt = performance.now();
      this.flush();
    });
  }

  #seal(): void {
    if (this.position > 0) {
      this.#queue.push({ kind: "data", buffer: this.buffer, length: this.position });
      this.#queuedBytes += this.position;
    } else if (this.buffer !== EMPTY) {
      this.#pool.giveBack(this.buffer);
    }
    this.buffer = EMPTY;
    this.position = 0;
  }

  async #run(): Promise<void> {
    for (let item = this.#queue[0]; item !== undefined; item = this.#queue[0]) {
      if (item.kind === "switch") {
        this.#queue.shift();
        await this.#setFd(item.fd);
        item.done();
      } else {
        await this.#writeBatch();
      }
    }
  }

  async #setFd(fd: number): Promise<void> {
    const old = this.#fd;
    this.#fd = fd;
    if (old < 0) return;
    // A network file system reports a late write error here; there is nothing left to do about it but say so.
    await closeFd(old).catch((error: unknown) => this.#say(`close container log ${this.#path}: ${messageOf(error)}`));
  }

  /** Writes the buffers up to the next switch of files. */
  async #writeBatch(): Promise<void> {
    const buffers: Buffer[] = [];
    let views: Buffer[] = [];
    let bytes = 0;
    for (let item = this.#queue[0]; item?.kind === "data"; item = this.#queue[0]) {
      this.#queue.shift();
      buffers.push(item.buffer);
      views.push(item.buffer.subarray(0, item.length));
      bytes += item.length;
    }
    try {
      while (views.length > 0 && this.#fd >= 0) {
        const { bytesWritten } = await writeBuffers(this.#fd, views);
        this.counts.writtenBytes += bytesWritten;
        views = skipBytes(views, bytesWritten);
      }
      if (this.#failing !== undefined) this.#recovered(this.#failing);
    } catch (error) {
      await this.#failed(error, buffers, views);
    }
    this.#queuedBytes -= bytes;
    for (const buffer of buffers) this.#pool.giveBack(buffer);
    this.onRoom();
  }

  async #failed(error: unknown, buffers: Buffer[], unwritten: Buffer[]): Promise<void> {
    const first = unwritten[0];
    let records = 0;
    for (const view of unwritten) records += countNewlines(view);
    let bytes = 0;
    for (const view of unwritten) bytes += view.length;
    // The first unwritten byte may be in the middle of a record: take back what the file has of it.
    const whole = buffers.find((buffer) => first !== undefined && buffer.buffer === first.buffer);
    if (whole !== undefined && first !== undefined) bytes += await this.#cutPartial(whole, first.byteOffset - whole.byteOffset);
    this.counts.droppedBytes += bytes;
    this.counts.droppedRecords += records;
    if (this.#failing === undefined) {
      this.#failing = { code: messageOf(error), records: 0 };
      this.#say(`write container log ${this.#path}: ${messageOf(error)}; lines are dropped until writing works again`);
    }
    this.#failing.records += records;
  }

  /** `written` bytes of `buffer` are in the file. Cuts the file back to the end of the last whole record; answers how many bytes went. */
  async #cutPartial(buffer: Buffer, written: number): Promise<number> {
    if (written === 0) return 0;
    const partial = written - (buffer.subarray(0, written).lastIndexOf(NEWLINE) + 1);
    if (partial === 0) return 0;
    try {
      const { size } = await statFd(this.#fd);
      await truncateFd(this.#fd, Math.max(0, size - partial));
    } catch (error) {
      this.#say(`cut a half-written record off container log ${this.#path}: ${messageOf(error)}`);
    }
    this.counts.writtenBytes -= partial;
    return partial;
  }

  #recovered(was: { code: string; records: number }): void {
    this.#failing = undefined;
    this.#say(`write container log ${this.#path}: works again after "${was.code}"; ${was.records} lines were dropped`);
  }
}

/** Opens a log as containerd does: appended to, readable by the group, its folders made. */
async function openLog(path: string): Promise<number> {
  if (path === "") return -1;
  const append = (): Promise<number> =>
    openFd(path, constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOCTTY, 0o640);
  try {
    return await append().catch(async (error: unknown) => {
      if (!isErrno(error, "ENOENT")) throw error;
      await mkdir(dirname(path), { recursive: true, mode: 0o755 });
      return append();
    });
  } catch (error) {
    throw CridError.from(error, `open container log ${path}`);
  }
}

function skipBytes(views: Buffer[], bytes: number): Buffer[] {
  let at = 0;
  let rest = bytes;
  for (let view = views[at]; view !== undefined && rest >= view.length; view = views[at]) {
    rest -= view.length;
    at++;
  }
  const [first, ...others] = views.slice(at);
  return first === undefined ? [] : [first.subarray(rest), ...others];
}

function countNewlines(view: Buffer): number {
  let count = 0;
  for (let at = view.indexOf(NEWLINE); at >= 0; at = view.indexOf(NEWLINE, at + 1)) count++;
  return count;
}
