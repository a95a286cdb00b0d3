import type { Transform } from "node:stream";
import { constants, createGunzip, createZstdDecompress } from "node:zlib";
import { CridError } from "../base/errors.ts";
import { giveBuffer, takeBuffer } from "./spare-buffers.ts";

export type Compression = "none" | "gzip" | "zstd";

/** Windows above 128 MiB (zstd's own default bound, `--long=27`) would let a layer choose our memory. */
const zstdWindowLogMax = 27;
const outputChunk = 256 * 1024;
const smallestChunk = 16 * 1024;

/** Gives the next bytes into the buffer and answers how many; 0 at the end. */
export type ReadBytes = (into: Buffer) => Promise<number>;
/** Takes plain bytes; the chunk is only valid during the call. */
export type TakeBytes = (chunk: Buffer) => void;

/** The compression, told by the first bytes: media types in manifests are wrong often enough. */
export function detectCompression(head: Buffer): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return "gzip";
  if (head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528) return "zstd";
  // zstd's skippable frames, 0x184D2A50 to 0x184D2A5F, may come first (zstd:chunked, pzstd).
  if (head.length >= 4 && (head.readUInt32LE(0) & 0xfffffff0) >>> 0 === 0x184d2a50) return "zstd";
  return "none";
}

/**
 * Inflates in this process, several gzip members or zstd frames as one stream. Memory stays at a few buffers, whatever the
 * input: each is given back the moment it is used.
 *
 * @param o.bytes how much there is to read, about
 * @throws what `take` throws; invalid-argument for damaged input
 */
export async function inflate(compression: Compression, read: ReadBytes, take: TakeBytes, o: { bytes?: number } = {}): Promise<void> {
  const input = takeBuffer();
  if (compression === "none") {
    for (let got = await read(input); got > 0; got = await read(input)) take(input.subarray(0, got));
    return giveBuffer(input);
  }
  // The last one is left to the garbage collector: for small layers, of which there may be many, small ones.
  const chunkSize = Math.max(smallestChunk, Math.min(outputChunk, (o.bytes ?? outputChunk) * 2));
  const stream = inflater(compression, chunkSize);
  const ended = Promise.withResolvers<never>();
  ended.promise.catch(() => undefined);
  const finished = Promise.withResolvers<void>();
  stream.on("error", (error) => ended.reject(damaged(error)));
  const taken = (chunk: Buffer): void => {
    try {
      if (!stream.destroyed) take(chunk);
    } catch (error) {
      ended.reject(error);
      stream.destroy();
    }
    release(chunk, chunkSize);
  };
  // Not at once: when this event is over zlib goes on with the next chunk, on another thread, and does so while this one is taken.
  stream.on("data", (chunk: Buffer) => queueMicrotask(() => taken(chunk)));
  const written = (chunk: Buffer): Promise<void> => new Promise((resolve) => stream.write(chunk, () => resolve()));
  stream.once("end", finished.resolve);
  try {
    for (let got = await read(input); got > 0; got = await read(input)) {
      await Promise.race([written(input.subarray(0, got)), ended.promise]);
    }
    stream.end();
    await Promise.race([finished.promise, ended.promise]);
    giveBuffer(input);
  } finally {
    stream.destroy();
  }
}

function inflater(compression: "gzip" | "zstd", chunkSize: number): Transform {
  if (compression === "gzip") return createGunzip({ chunkSize });
  return createZstdDecompress({ chunkSize, params: { [constants.ZSTD_d_windowLogMax]: zstdWindowLogMax } });
}

/**
 * Frees an output buffer that zlib has filled to its end and will not use again. Left to the garbage collector, which counts them little,
 * hundreds of megabytes of them wait at a time.
 */
function release({ buffer, byteOffset, length }: Buffer, chunkSize: number): void {
  if (buffer instanceof ArrayBuffer && length > 0 && byteOffset + length === buffer.byteLength && buffer.byteLength === chunkSize) {
    buffer.transfer(0);
  }
}

function damaged(error: unknown): CridError {
  return new CridError("invalid-argument", `damaged compressed data: ${CridError.from(error).message}`, { cause: error });
}
