import { createHash } from "node:crypto";
import { closeSync, createReadStream, openSync, readSync } from "node:fs";
import { pipeline } from "node:stream/promises";
import { CridError, isErrno } from "../base/errors.ts";
import { chunkSink, decompressionError, decompressor, detectCompression } from "./decompress.ts";
import { DirectorySink } from "./directory-sink.ts";
import { ErofsSink } from "./erofs/erofs-sink.ts";
import type { LayerSink } from "./layer-sink.ts";
import { TarReader } from "./tar-reader.ts";
import type { UnpackJob, UnpackResult } from "./unpack-job.ts";

const readChunk = 1024 * 1024;

/**
 * Unpacks a layer and checks its diff id. Runs on a worker thread (layer-unpacker.ts), since all file calls are synchronous.
 * When it returns, everything is on disk.
 *
 * @throws invalid-argument for a malformed or lying layer, resource-exhausted when the disk is full
 */
export async function unpackLayer(job: UnpackJob): Promise<UnpackResult> {
  const started = performance.now();
  const sink = openSink(job);
  const hash = createHash("sha256");
  let tarBytes = 0;
  try {
    const reader = new TarReader(sink, { maxEntries: job.limits.maxEntries });
    await readPlain(job.file, (chunk) => {
      tarBytes += chunk.length;
      if (tarBytes > job.limits.maxBytes)
        throw new CridError("invalid-argument", `the layer unpacks to more than ${job.limits.maxBytes} bytes`);
      hash.update(chunk);
      reader.push(chunk);
    });
    reader.finish();
    const diffId = `sha256:${hash.digest("hex")}`;
    if (diffId !== job.expectedDiffId) {
      throw new CridError("invalid-argument", `the layer's diff id is ${diffId}, but the image's config says ${job.expectedDiffId}`);
    }
    const written = performance.now();
    const result = sink.finish();
    return { tarBytes, ...result, unpackMs: written - started, syncMs: performance.now() - written };
  } catch (error) {
    sink.abandon();
    throw layerError(error);
  }
}

/** Reads a blob and hands on its plain bytes, in chunks. */
async function readPlain(file: string, onChunk: (chunk: Buffer) => void): Promise<void> {
  const compression = detectCompression(readHead(file));
  const source = createReadStream(file, { highWaterMark: readChunk });
  const inflate = decompressor(compression);
  if (inflate === undefined) await pipeline(source, chunkSink(onChunk));
  else await pipeline(source, inflate, chunkSink(onChunk));
}

function readHead(file: string): Buffer {
  const fd = openSync(file, "r");
  try {
    const head = Buffer.alloc(4);
    return head.subarray(0, readSync(fd, head, 0, head.length, 0));
  } finally {
    closeSync(fd);
  }
}

function openSink({ target, expectedDiffId }: UnpackJob): LayerSink {
  if (target.kind === "directory") return new DirectorySink(target.path);
  return new ErofsSink(target.path, Buffer.from(expectedDiffId.slice(-32), "hex"));
}

function layerError(error: unknown): CridError {
  if (error instanceof CridError) return error;
  const damaged = decompressionError(error);
  if (damaged !== undefined) return damaged;
  // Only a name in the archive can be too long, or ask for a directory below a file.
  if (isErrno(error, "ENAMETOOLONG") || isErrno(error, "ENOTDIR") || isErrno(error, "EINVAL")) {
    return new CridError("invalid-argument", CridError.from(error).message, { cause: error });
  }
  return CridError.from(error);
}
