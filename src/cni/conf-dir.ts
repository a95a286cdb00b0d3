import { type FSWatcher, readdirSync, readFileSync, watch } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { isErrno, messageOf } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { type NetworkConf, type PluginConf, parseNetworkConf, parsePluginConf } from "./conf.ts";

/** What the configuration folder holds at the moment. */
export interface ConfState {
  /** The network in use: the first readable file by name. */
  network: NetworkConf | undefined;
  /** Its path. */
  file: string | undefined;
  /** Files that cannot be used, with the reason; `kept` when its last readable content is still in use. */
  broken: { file: string; reason: string; kept: boolean }[];
  /** Why the folder itself cannot be read. */
  problem: string | undefined;
}

const extensions = new Set([".conflist", ".conf", ".json"]);
// Editors write a file in several steps (write aside, rename away, rename in): look only once it is quiet.
const settleMs = 150;

/**
 * Watches the folder of network configurations. inotify tells of changes at once; a look every few seconds finds them where
 * inotify is exhausted or blind (a folder made later, network file systems, the sub-folders of plugins).
 *
 * A file that cannot be read never takes a working network away: when it is the one in use, its last readable content stays in
 * use until it is mended or deleted; any other one is passed over.
 */
export class ConfDir {
  readonly #dir: string;
  readonly #log: Logger;
  readonly #pollMs: number;
  readonly #onChange: () => void;
  readonly #lastGood = new Map<string, NetworkConf>();
  #state: ConfState = { network: undefined, file: undefined, broken: [], problem: "not read yet" };
  #seen: string | undefined;
  #watcher: { handle: FSWatcher; inode: bigint } | undefined;
  #poll: NodeJS.Timeout | undefined;
  #settle: NodeJS.Timeout | undefined;
  #work: Promise<void> = Promise.resolve();
  #watchFailed = false;
  #closed = false;

  constructor(options: { dir: string; log: Logger; pollMs?: number; onChange: () => void }) {
    this.#dir = options.dir;
    this.#log = options.log;
    this.#pollMs = options.pollMs ?? 3_000;
    this.#onChange = options.onChange;
  }

  get state(): ConfState {
    return this.#state;
  }

  /** Reads the folder, then goes on watching it. */
  async start(): Promise<void> {
    await this.look();
    this.#poll = setInterval(() => void this.look(), this.#pollMs).unref();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#poll);
    clearTimeout(this.#settle);
    this.#watcher?.handle.close();
    this.#watcher = undefined;
    await this.#work;
  }

  /** Looks for changes now; one look at a time. */
  look(): Promise<void> {
    this.#work = this.#work.then(() => this.#look());
    return this.#work;
  }

  async #look(): Promise<void> {
    if (this.#closed) return;
    try {
      await this.#watchDir();
      const found = await this.#list();
      if (found.signature === this.#seen) return;
      const state = await this.#read(found.names);
      this.#seen = found.signature;
      this.#publish(state);
    } catch (error) {
      if (isErrno(error, "ENOENT")) this.#lastGood.clear();
      const seen = `! ${messageOf(error)}`;
      if (seen === this.#seen) return;
      this.#seen = seen;
      const problem = isErrno(error, "ENOENT")
        ? `the folder ${this.#dir} does not exist`
        : `cannot read the folder ${this.#dir}: ${messageOf(error)}`;
      // A folder that is there but cannot be read for a while is no reason to drop a working network.
      const kept = isErrno(error, "ENOENT")
        ? { network: undefined, file: undefined }
        : { network: this.#state.network, file: this.#state.file };
      this.#publish({ ...kept, broken: [], problem });
    }
  }

  #publish(state: ConfState): void {
    const before = this.#state;
    this.#state = state;
    for (const { file, reason, kept } of state.broken) this.#log.warn({ file, reason, kept }, "CNI configuration cannot be used");
    if (before.file !== state.file || before.network?.name !== state.network?.name) {
      this.#log.info({ file: state.file, network: state.network?.name, problem: state.problem }, "CNI network in use");
    }
    this.#onChange();
  }

  /** The usable names in order, and a text that changes when any of the files does. */
  async #list(): Promise<{ names: string[]; signature: string }> {
    const names: string[] = [];
    const parts: string[] = [];
    for (const entry of await readdir(this.#dir, { withFileTypes: true })) {
      if (entry.name.startsWith(".")) continue;
      const path = join(this.#dir, entry.name);
      if (entry.isDirectory()) {
        for (const name of await readdir(path)) if (name.endsWith(".conf")) parts.push(await mark(join(path, name)));
      } else if (extensions.has(extname(entry.name))) {
        names.push(entry.name);
        parts.push(await mark(path));
      }
    }
    names.sort(byBytes);
    return { names, signature: parts.toSorted(byBytes).join("\n") };
  }

  async #read(names: string[]): Promise<ConfState> {
    const state: ConfState = { network: undefined, file: undefined, broken: [], problem: undefined };
    for (const known of this.#lastGood.keys()) if (!names.includes(known)) this.#lastGood.delete(known);
    for (const name of names) {
      const file = join(this.#dir, name);
      let network: NetworkConf | undefined;
      try {
        network = parseNetworkConf(await readFile(file, "utf8"), (folder) => pluginsBeside(join(this.#dir, folder)));
        this.#lastGood.set(name, network);
      } catch (error) {
        // Only of the file in use: an older text of another one must not come back to life.
        network = file === this.#state.file ? this.#lastGood.get(name) : undefined;
        state.broken.push({ file, reason: messageOf(error), kept: network !== undefined });
      }
      if (network !== undefined && state.network === undefined) {
        state.network = network;
        state.file = file;
      }
    }
    return state;
  }

  /** (Re)starts inotify for the folder that is there now; another folder of the same name has another inode. */
  async #watchDir(): Promise<void> {
    const { ino } = await stat(this.#dir, { bigint: true });
    if (this.#watcher?.inode === ino || this.#closed) return;
    this.#watcher?.handle.close();
    this.#watcher = undefined;
    try {
      const handle = watch(this.#dir, { persistent: false }, () => this.#lookSoon());
      handle.on("error", () => this.#dropWatcher(handle));
      this.#watcher = { handle, inode: ino };
    } catch (error) {
      if (!this.#watchFailed)
        this.#log.warn({ err: error, dir: this.#dir }, "no inotify for the CNI folder; it is looked at every few seconds instead");
      this.#watchFailed = true;
    }
  }

  #dropWatcher(handle: FSWatcher): void {
    handle.close();
    if (this.#watcher?.handle === handle) this.#watcher = undefined;
  }

  #lookSoon(): void {
    if (this.#closed) return;
    clearTimeout(this.#settle);
    this.#settle = setTimeout(() => void this.look(), settleMs).unref();
  }
}

/** The order of Go's sort.Strings, so that crid and its peers choose the same file. */
function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** A text that changes with the file: name, inode, size and time of change; "?" when it vanished just now. */
async function mark(path: string): Promise<string> {
  try {
    const at = await stat(path, { bigint: true });
    return `${path} ${at.ino} ${at.size} ${at.mtimeNs} ${at.ctimeNs}`;
  } catch (error) {
    return `${path} ? ${messageOf(error)}`;
  }
}

/** The plugins in a network's own folder, in the order of their file names; none when there is no such folder. */
function pluginsBeside(folder: string): PluginConf[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ENOTDIR")) return [];
    throw error;
  }
  return names
    .filter((name) => name.endsWith(".conf"))
    .sort(byBytes)
    .map((name) => parsePluginConf(readFileSync(join(folder, name), "utf8")));
}
