import type { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants, createGunzip, createZstdDecompress } from "node:zlib";
import { type Compression, detectCompression } from "../../archive/inflate.ts";
import { CridError } from "../../base/errors.ts";

const chunkSize = 256 * 1024;
/** As for layers: a larger window would let an archive choose our memory. */
const zstdWindowLogMax = 27;

/**
 * Hands the plain bytes of a stream to `use`, which may wait; the stream may be gzip or zstd, which its first bytes tell. Inflating
 * is done on the thread pool.
 *
 * @throws invalid-argument when it is empty or damaged; what `use` throws; the signal's reason
 */
export async function withPlainBytes(
  source: AsyncIterable<Buffer>,
  use: (plain: AsyncIterable<Buffer>) => Promise<void>,
  o: { signal: AbortSignal },
): Promise<void> {
  const { head, all } = await withHead(source, o);
  if (head.length === 0) throw new CridError("invalid-argument", "it is empty");
  const compression = detectCompression(head);
  if (compression === "none") return use(all);
  let failure: unknown;
  try {
    // pipeline() may report that a stream was closed instead of why.
    await pipeline(all, inflater(compression), (plain: AsyncIterable<Buffer>) => use(plain).catch((error: unknown) => fail(error)));
  } catch (error) {
    throw damaged(failure ?? error) ?? failure ?? error;
  }

  function fail(error: unknown): never {
    failure = error;
    throw error;
  }
}

function inflater(compression: Exclude<Compression, "none">): Transform {
  if (compression === "gzip") return createGunzip({ chunkSize });
  return createZstdDecompress({ chunkSize, params: { [constants.ZSTD_d_windowLogMax]: zstdWindowLogMax } });
}

/** What node:zlib throws for damaged input, as an error of ours. */
function damaged(error: unknown): CridError | undefined {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") return undefined;
  if (!/^(Z_|ZSTD_|ERR_ZSTD)/.test(error.code)) return undefined;
  return new CridError("invalid-argument", `damaged compressed data: ${error.message}`, { cause: error });
}

/** The first bytes of a stream, and all of it. */
async function withHead(source: AsyncIterable<Buffer>, o: { signal: AbortSignal }): Promise<{ head: Buffer; all: AsyncIterable<Buffer> }> {
  const iterator = source[Symbol.asyncIterator]();
  const next = async (): Promise<Buffer | undefined> => {
    o.signal.throwIfAborted();
    const { value, done } = await iterator.next();
    return done === true ? undefined : value;
  };
  let head: Buffer = Buffer.alloc(0);
  let ended = false;
  while (head.length < 4 && !ended) {
    const chunk = await next();
    if (chunk === undefined) ended = true;
    else head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
  }
  async function* all(): AsyncGenerator<Buffer> {
    try {
      if (head.length > 0) yield head;
      for (let chunk = ended ? undefined : await next(); chunk !== undefined; chunk = await next()) yield chunk;
    } finally {
      await iterator.return?.();
    }
  }
  return { head, all: all() };
}
