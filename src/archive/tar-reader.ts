import { checkEntry } from "./entry-rules.ts";
import { shown } from "./layer-path.ts";
import type { TarEntry } from "./tar-entry.ts";
import {
  blockSize,
  isZeroBlock,
  malformed,
  parseHeader,
  parseOldSparse,
  parseSparseExtension,
  type RawHeader,
  type SparseRegion,
  type TarType,
} from "./tar-header.ts";
import { type PaxRecords, parsePax, parseSparseList, paxNumber, paxTime, paxXattrs } from "./tar-pax.ts";

/** Takes what the reader finds, in the archive's order: entry, its data, entryEnd. */
export interface TarSink {
  entry(entry: TarEntry): void;
  /** Data at a byte offset of the file; a gap is a hole. The chunk is only valid during the call. */
  data(chunk: Buffer, offset: number): void;
  entryEnd(): void;
}

/** Longest PAX header, long name or sparse map taken; GNU tar and Go's reader stop at 1 MiB too. */
const maxMetaBytes = 1024 * 1024;
const maxSparseRegions = 1_000_000;
const maxGlobalRecords = 1000;
/** They stay for the rest of the archive, and each of them may be as long as a header. */
const maxGlobalBytes = 1024 * 1024;

type State =
  | { at: "header" }
  | { at: "meta"; header: RawHeader; parts: Buffer[]; left: number }
  | { at: "old-sparse"; header: RawHeader; map: SparseRegion[]; realSize: number }
  | { at: "sparse-map"; entry: TarEntry; numbers: number[]; rest: string; left: number }
  | { at: "data"; left: number; map: SparseRegion[] | undefined; region: number; regionDone: number; offset: number }
  | { at: "end" };

/**
 * A push parser of tar streams: feed it chunks cut anywhere. It keeps one block, or one extension header, at a time.
 *
 * @throws invalid-argument (from push and finish) for a malformed archive
 */
export class TarReader {
  readonly #sink: TarSink;
  readonly #maxEntries: number;
  readonly #maxFileBytes: number;
  #fileBytes = 0;
  #state: State = { at: "header" };
  #block = Buffer.allocUnsafe(blockSize);
  #blockFill = 0;
  #skip = 0;
  #zeroBlocks = 0;
  #entries = 0;
  readonly #global: PaxRecords["values"] = new Map();
  #local: PaxRecords | undefined;
  #longName: string | undefined;
  #longLink: string | undefined;

  /** @param options.maxFileBytes of all files together, holes included: a tar of a kilobyte may describe a file of exabytes */
  constructor(sink: TarSink, options: { maxEntries: number; maxFileBytes?: number }) {
    this.#sink = sink;
    this.#maxFileBytes = options.maxFileBytes ?? Number.MAX_SAFE_INTEGER;
    this.#maxEntries = options.maxEntries;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, chunk.length - at);
        this.#skip -= skipped;
        at += skipped;
        continue;
      }
      switch (this.#state.at) {
        case "end":
          return;
        case "data":
          at += this.#takeData(this.#state, chunk.subarray(at));
          break;
        case "meta":
          at += this.#takeMeta(this.#state, chunk.subarray(at));
          break;
        default:
          at += this.#takeBlock(chunk.subarray(at));
      }
    }
  }

  /** The stream is over. Archives without the two closing zero blocks are accepted, as GNU tar and Go do; cut ones are not. */
  finish(): void {
    const clean = this.#state.at === "end" || (this.#state.at === "header" && this.#blockFill === 0 && this.#skip === 0);
    if (!clean) throw malformed("the archive ends in the middle of an entry");
    if (this.#local !== undefined || this.#longName !== undefined) throw malformed("the archive ends after an extension header");
  }

  #takeBlock(chunk: Buffer): number {
    if (this.#blockFill === 0 && chunk.length >= blockSize) {
      this.#onBlock(chunk.subarray(0, blockSize));
      return blockSize;
    }
    const taken = Math.min(blockSize - this.#blockFill, chunk.length);
    chunk.copy(this.#block, this.#blockFill, 0, taken);
    this.#blockFill += taken;
    if (this.#blockFill === blockSize) {
      this.#blockFill = 0;
      this.#onBlock(this.#block);
    }
    return taken;
  }

  #onBlock(block: Buffer): void {
    const state = this.#state;
    if (state.at === "old-sparse") return this.#onOldSparse(state, parseSparseExtension(block));
    if (state.at === "sparse-map") return this.#onSparseMap(state, block);
    if (isZeroBlock(block)) {
      if (++this.#zeroBlocks === 2) this.#state = { at: "end" };
      return;
    }
    if (this.#zeroBlocks > 0) throw malformed("a single zero block between entries");
    const header = parseHeader(block);
    switch (header.kind) {
      case "pax":
      case "pax-global":
      case "gnu-long-name":
      case "gnu-long-link":
        if (header.size > maxMetaBytes) throw malformed(`an extension header of ${header.size} bytes`);
        this.#state = { at: "meta", header, parts: [], left: header.size };
        if (header.size === 0) this.#onMeta(header, Buffer.alloc(0));
        return;
      case "gnu-sparse": {
        // The map lies where others have the name's prefix. As Go; GNU tar takes it for a whole file.
        if (header.format !== "gnu") throw malformed(`a sparse entry ${shown(header.name)} with a header that is not GNU's`);
        const sparse = parseOldSparse(block);
        return this.#onOldSparse({ at: "old-sparse", header, map: [], realSize: sparse.realSize }, sparse);
      }
      case "volume-label":
        this.#skip = padded(header.size);
        return;
      default:
        this.#onEntry(header, header.kind, undefined, undefined);
    }
  }

  #onOldSparse(state: State & { at: "old-sparse" }, more: { map: SparseRegion[]; extended: boolean }): void {
    state.map.push(...more.map);
    if (state.map.length > maxSparseRegions) throw malformed("too many sparse regions");
    if (more.extended) this.#state = state;
    else this.#onEntry(state.header, "file", state.map, state.realSize);
  }

  #takeMeta(state: State & { at: "meta" }, chunk: Buffer): number {
    const taken = Math.min(state.left, chunk.length);
    state.parts.push(Buffer.from(chunk.subarray(0, taken)));
    state.left -= taken;
    if (state.left === 0) {
      this.#skip = padded(state.header.size) - state.header.size;
      this.#onMeta(state.header, Buffer.concat(state.parts));
    }
    return taken;
  }

  #onMeta(header: RawHeader, body: Buffer): void {
    this.#state = { at: "header" };
    if (header.kind === "pax-global") {
      this.#countEntry();
      // Regions of a sparse file are of one entry: those of all say nothing.
      parsePax(body, { values: this.#global, sparse: [] });
      // They are looked through for every entry.
      if (this.#global.size > maxGlobalRecords) throw malformed(`more than ${maxGlobalRecords} global records`);
      const bytes = [...this.#global].reduce((sum, [key, value]) => sum + key.length + value.length, 0);
      if (bytes > maxGlobalBytes) throw malformed(`more than ${maxGlobalBytes} bytes of global records`);
    } else if (header.kind === "pax") this.#local = parsePax(body);
    else {
      const end = body.indexOf(0);
      const name = body.toString("latin1", 0, end < 0 ? body.length : end);
      if (header.kind === "gnu-long-name") this.#longName = name;
      else this.#longLink = name;
    }
  }

  #countEntry(): void {
    if (++this.#entries > this.#maxEntries) throw malformed(`more than ${this.#maxEntries} entries (image.maxLayerEntries)`);
  }

  /** @param sparse the map of an old GNU sparse file, and its size */
  #onEntry(header: RawHeader, type: TarType, sparse: SparseRegion[] | undefined, realSize: number | undefined): void {
    this.#countEntry();
    const own = this.#local?.values;
    const pax = joined(this.#global, own);
    const paxSparse = this.#local?.sparse ?? [];
    const longName = this.#longName;
    const longLink = this.#longLink;
    this.#local = this.#longName = this.#longLink = undefined;

    const number = (key: string, otherwise: number): number => {
      const value = pax.get(key);
      return value === undefined ? otherwise : paxNumber(value, key);
    };
    const bytes = (key: string): string | undefined => pax.get(key)?.toString("latin1");
    // Only files have data; what a link or directory claims as its size is not in the archive (as in Go's reader).
    const stored = type === "file" ? number("size", header.size) : 0;
    const mtime = pax.get("mtime");
    // Old writers mark a directory by a slash at its end alone. A sparse entry with one is a file, as for GNU tar, whose type that is.
    const isDirectory = type === "file" && sparse === undefined && (bytes("path") ?? longName ?? header.name).endsWith("/");
    const entry: TarEntry = {
      path: bytes("GNU.sparse.name") ?? bytes("path") ?? longName ?? header.name,
      type: isDirectory ? "directory" : type,
      linkName: bytes("linkpath") ?? longLink ?? header.linkName,
      mode: header.mode,
      uid: number("uid", header.uid),
      gid: number("gid", header.gid),
      size: realSize ?? number("GNU.sparse.realsize", number("GNU.sparse.size", stored)),
      mtime: mtime === undefined ? { seconds: header.mtimeSeconds, nanos: 0 } : paxTime(mtime, "mtime"),
      devMajor: header.devMajor,
      devMinor: header.devMinor,
      // Not those of global records: nobody else gives one file's attributes to all.
      xattrs: own === undefined || own.size === 0 ? new Map() : paxXattrs(own),
    };
    checkEntry(entry);
    this.#fileBytes += entry.size;
    if (this.#fileBytes > this.#maxFileBytes) throw malformed(`files of more than ${this.#maxFileBytes} bytes (image.maxLayerBytes)`);
    if (pax.get("GNU.sparse.major")?.toString("latin1") === "1" && type === "file") {
      this.#state = { at: "sparse-map", entry, numbers: [], rest: "", left: stored };
      return;
    }
    const list = pax.get("GNU.sparse.map");
    const map = sparse ?? (paxSparse.length > 0 ? paxSparse : list === undefined ? undefined : parseSparseList(list));
    this.#begin(entry, stored, map);
  }

  /** GNU sparse format 1.0: the map stands before the data, as decimal numbers a line, padded to a block. */
  #onSparseMap(state: State & { at: "sparse-map" }, block: Buffer): void {
    state.left -= blockSize;
    const lines = (state.rest + block.toString("latin1")).split("\n");
    state.rest = lines.pop() ?? "";
    const { numbers } = state;
    for (const line of lines) {
      if (numbers.length > 0 && numbers.length >= 1 + 2 * (numbers[0] ?? 0)) break;
      numbers.push(sparseNumber(line));
    }
    if (state.left < 0 || state.rest.length > blockSize) throw malformed("a sparse map that does not end");
    const [count] = numbers;
    if (count === undefined) return;
    if (count > maxSparseRegions) throw malformed("too many sparse regions");
    if (numbers.length < 1 + 2 * count) return;
    const map: SparseRegion[] = [];
    for (let at = 1; at <= 2 * count; at += 2) map.push({ offset: numbers[at] ?? 0, length: numbers[at + 1] ?? 0 });
    this.#begin(state.entry, state.left, map);
  }

  #begin(entry: TarEntry, stored: number, map: SparseRegion[] | undefined): void {
    if (map !== undefined) checkSparse(map, stored, entry.size);
    this.#sink.entry(entry);
    if (stored === 0) {
      this.#state = { at: "header" };
      this.#sink.entryEnd();
      return;
    }
    this.#state = { at: "data", left: stored, map, region: 0, regionDone: 0, offset: 0 };
    this.#skip = 0;
  }

  #takeData(state: State & { at: "data" }, chunk: Buffer): number {
    const region = state.map?.[state.region];
    const wanted = region === undefined ? state.left : region.length - state.regionDone;
    if (wanted === 0) {
      state.region++;
      state.regionDone = 0;
      return 0;
    }
    const taken = Math.min(wanted, state.left, chunk.length);
    this.#sink.data(chunk.subarray(0, taken), region === undefined ? state.offset : region.offset + state.regionDone);
    state.offset += taken;
    state.regionDone += taken;
    state.left -= taken;
    if (state.left === 0) {
      this.#skip = padded(state.offset) - state.offset;
      this.#state = { at: "header" };
      this.#sink.entryEnd();
    }
    return taken;
  }
}

/** The local records win. Most entries have none. */
function joined(global: ReadonlyMap<string, Buffer>, local: ReadonlyMap<string, Buffer> | undefined): ReadonlyMap<string, Buffer> {
  if (local === undefined || local.size === 0) return global;
  return global.size === 0 ? local : new Map([...global, ...local]);
}

function padded(size: number): number {
  return Math.ceil(size / blockSize) * blockSize;
}

function sparseNumber(text: string): number {
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(value)) throw malformed("a sparse map with a bad number");
  return value;
}

/** Regions ascend, don't overlap, end within the file, and hold just the bytes that are stored. */
function checkSparse(map: readonly SparseRegion[], stored: number, size: number): void {
  let end = 0;
  let total = 0;
  for (const { offset, length } of map) {
    if (offset < end || offset + length > size) throw malformed("sparse regions overlap or leave the file");
    end = offset + length;
    total += length;
  }
  if (total !== stored) throw malformed("sparse regions do not add up to the stored size");
}
