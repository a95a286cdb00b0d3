import { createHash } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { CridError, isErrno } from "../base/errors.ts";
import { DirectorySink } from "./directory-sink.ts";
import { ErofsSink } from "./erofs/erofs-sink.ts";
import { GrowingBlob } from "./growing-blob.ts";
import { detectCompression, inflate } from "./inflate.ts";
import type { LayerSink } from "./layer-sink.ts";
import { GunzipFailed, type GunzipProgram, gunzipWith } from "./native-gunzip.ts";
import { TarReader } from "./tar-reader.ts";
import type { UnpackJob, UnpackResult, UnpackTarget } from "./unpack-job.ts";
import { MemoryBudget, zstdWindow } from "./zstd-window.ts";

/** Below this, starting a program costs more than it saves. */
const nativeGunzipMinBytes = 2 * 1024 * 1024;

/** For the windows of all zstd layers that this thread unpacks by turns. */
const zstdMemory = new MemoryBudget(8 * 1024 * 1024);

/**
 * What the last layer of each form went through, closed and empty. V8 keeps the code that it has compiled for a shape of objects as long as there is one
 * of them: after the next collection it would begin anew, which costs a pull of 45,000 files 150 ms of its 1,250.
 */
const kept = new Map<UnpackTarget["kind"], [GrowingBlob, TarReader, LayerSink]>();

const archiveErrnos = ["ENAMETOOLONG", "ENOTDIR", "EINVAL", "EMLINK", "EFBIG", "ELOOP"];

export interface UnpackContext {
  signal: AbortSignal;
  /** What inflates gzip faster than this process. */
  gunzip?: GunzipProgram | undefined;
  /** Gets the blob, to tell it when more of it has come. */
  onOpen?: (blob: GrowingBlob) => void;
}

/**
 * Unpacks a layer and checks its diff id. Runs on a worker thread (layer-unpacker.ts), since most file calls are synchronous.
 * When it returns, a directory is on disk; an EROFS image is written, and the snapshotter syncs it.
 *
 * @throws invalid-argument for a malformed or lying layer, resource-exhausted when the disk is full, the signal's reason
 */
export async function unpackLayer(job: UnpackJob, o: UnpackContext): Promise<UnpackResult> {
  try {
    await using blob = await GrowingBlob.open(job.file, job.extent ?? { bytes: job.blobBytes, complete: true }, o);
    o.onOpen?.(blob);
    try {
      return await unpackFrom(blob, job, o);
    } catch (error) {
      // Whether the layer is damaged or the program does not understand it: what this process finds counts.
      if (!(error instanceof GunzipFailed)) throw error;
      await clear(job.target);
      blob.rewind();
      return await unpackFrom(blob, job, { ...o, gunzip: undefined });
    }
  } catch (error) {
    throw layerError(error);
  }
}

async function unpackFrom(blob: GrowingBlob, job: UnpackJob, o: UnpackContext): Promise<UnpackResult> {
  const started = performance.now();
  const sink = openSink(job);
  const hash = createHash("sha256");
  const waitedBefore = blob.waitedMs;
  let tarBytes = 0;
  let writeMs = 0;
  try {
    const reader = new TarReader(sink, { maxEntries: job.limits.maxEntries, maxFileBytes: job.limits.maxBytes });
    await readPlain(blob, job, o, (chunk) => {
      tarBytes += chunk.length;
      if (tarBytes > job.limits.maxBytes)
        throw new CridError("invalid-argument", `the layer unpacks to more than ${job.limits.maxBytes} bytes (image.maxLayerBytes)`);
      const before = performance.now();
      hash.update(chunk);
      reader.push(chunk);
      writeMs += performance.now() - before;
    });
    reader.finish();
    const diffId = `sha256:${hash.digest("hex")}`;
    if (diffId !== job.expectedDiffId) {
      throw new CridError("invalid-argument", `the layer's diff id is ${diffId}, but the image's config says ${job.expectedDiffId}`);
    }
    const written = performance.now();
    const result = await sink.finish();
    kept.set(job.target.kind, [blob, reader, sink]);
    o.signal.throwIfAborted();
    // A program inflates while this process waits and writes: what is left over may be less than nothing.
    const inflateMs = Math.max(0, written - started - writeMs - (blob.waitedMs - waitedBefore));
    return { tarBytes, ...result, inflateMs, writeMs, syncMs: performance.now() - written };
  } catch (error) {
    sink.abandon();
    throw error;
  }
}

/** Hands on the blob's plain bytes, in chunks. */
async function readPlain(blob: GrowingBlob, job: UnpackJob, o: UnpackContext, take: (chunk: Buffer) => void): Promise<void> {
  const compression = detectCompression(await blob.head(4));
  const read = (into: Buffer): Promise<number> => blob.read(into);
  const native = compression === "gzip" && job.blobBytes >= nativeGunzipMinBytes ? o.gunzip : undefined;
  if (compression === "zstd") {
    using _ = await zstdMemory.take(zstdWindow(await blob.head(18)), o);
    return await inflate(compression, read, take, { bytes: job.blobBytes });
  }
  if (native === undefined) return inflate(compression, read, take, { bytes: job.blobBytes });
  let plainBytes = 0;
  const counted = (chunk: Buffer): void => {
    plainBytes += chunk.length;
    take(chunk);
  };
  await gunzipWith(native, blob.complete ? job.file : read, counted, o);
  // igzip says nothing of garbage behind the last member, which ends in its own size (RFC 1952). What looks so is told by this process.
  if ((await blob.tail(4)).readUInt32LE(0) > plainBytes) throw new GunzipFailed(native, "there is more behind the end of the gzip");
}

function openSink({ target, expectedDiffId, limits }: UnpackJob): LayerSink {
  if (target.kind === "directory") return new DirectorySink(target.path, limits);
  return new ErofsSink(target.path, Buffer.from(expectedDiffId.slice(-32), "hex"), limits);
}

/** As it was before the first try. */
async function clear({ kind, path }: UnpackTarget): Promise<void> {
  await rm(path, { recursive: true, force: true });
  if (kind === "directory") await mkdir(path, { mode: 0o755 });
}

function layerError(error: unknown): CridError {
  if (error instanceof CridError) return error;
  // What only the archive can be the reason of: names that are too long, files below files, too many links, too large a file.
  if (archiveErrnos.some((errno) => isErrno(error, errno))) {
    return new CridError("invalid-argument", CridError.from(error).message, { cause: error });
  }
  return CridError.from(error);
}
