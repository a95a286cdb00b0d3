import { type Transform, Writable } from "node:stream";
import { constants, createGunzip, createZstdDecompress } from "node:zlib";
import { CridError } from "../base/errors.ts";

export type Compression = "none" | "gzip" | "zstd";

/** Windows above 128 MiB (zstd's own default bound, `--long=27`) would let a layer choose our memory. */
const zstdWindowLogMax = 27;
const outputChunk = 256 * 1024;

/** The compression, told by the first bytes: media types in manifests are wrong often enough. */
export function detectCompression(head: Buffer): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return "gzip";
  if (head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528) return "zstd";
  // zstd's skippable frames, 0x184D2A50 to 0x184D2A5F, may come first (zstd:chunked, pzstd).
  if (head.length >= 4 && (head.readUInt32LE(0) & 0xfffffff0) >>> 0 === 0x184d2a50) return "zstd";
  return "none";
}

/** A transform from compressed to plain bytes; undefined for "none". Several gzip members count as one stream. */
export function decompressor(compression: Compression): Transform | undefined {
  switch (compression) {
    case "none":
      return undefined;
    case "gzip":
      return createGunzip({ chunkSize: outputChunk });
    case "zstd":
      return createZstdDecompress({ chunkSize: outputChunk, params: { [constants.ZSTD_d_windowLogMax]: zstdWindowLogMax } });
  }
}

/** A writable that hands each chunk to a function; what that throws ends the pipeline. */
export function chunkSink(onChunk: (chunk: Buffer) => void): Writable {
  return new Writable({
    highWaterMark: 4 * outputChunk,
    write(chunk: Buffer, _encoding, done) {
      try {
        onChunk(chunk);
        done();
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)));
      }
    },
  });
}

/** What node:zlib throws for damaged input, as an error of ours. */
export function decompressionError(error: unknown): CridError | undefined {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") return undefined;
  if (!error.code.startsWith("Z_") && !error.code.startsWith("ZSTD_") && !error.code.startsWith("ERR_ZSTD")) return undefined;
  return new CridError("invalid-argument", `damaged compressed data: ${error.message}`, { cause: error });
}
