import type { Logger } from "../base/log.ts";
import type { Descriptor } from "./descriptor.ts";
import type { Endpoint } from "./endpoints/endpoint.ts";
import type { Penalties } from "./endpoints/penalties.ts";
import { allFailed, EndpointError, type Failure, failureOf, lie, printable } from "./failure.ts";
import { type HttpResponse, statusFailure } from "./http/send.ts";
import { attemptsOf, pause, pauseAfter } from "./rounds.ts";

/** Where a blob is written. */
export interface BlobSink {
  /** Bytes that are there. */
  readonly offset: number;
  /** The chunk is only valid until the promise settles. */
  write(chunk: Buffer): Promise<void>;
  /** Drops what is there. */
  restart(): Promise<void>;
  /** Whether what is there has the digest. */
  verify(): Promise<boolean>;
}

export interface DownloadResult {
  /** URL of the endpoint that sent the last byte. */
  endpoint: string;
  /** Bytes that were there before. */
  resumedFrom: number;
  /** Times that the connection was cut, or an endpoint failed. */
  interruptions: number;
}

export interface DownloadOptions {
  what: string;
  penalties: Penalties;
  log: Logger;
  signal: AbortSignal;
  request(endpoint: Endpoint, headers: Record<string, string>, o: { signal: AbortSignal }): Promise<HttpResponse>;
}

/** How often in a row each endpoint may bring next to nothing. */
const maxIdleRounds = 4;
/** Less than this before a cut is no progress: a server may not keep us busy with a byte at a time. */
const progressBytes = 64 * 1024;
const maxRestarts = 2;

/** What the sink threw: not the endpoint's fault, so no other endpoint helps. */
class SinkError extends Error {}

/**
 * Brings a blob into the sink, beginning where the sink stands, and goes on from there (by Range) after every cut, from the
 * next endpoint if the first has failed. An endpoint that sends something else than the descriptor says is not asked again; the
 * blob is then fetched anew from the next.
 *
 * @throws what the sink throws; the signal's reason; else CridError listing every endpoint (data-loss: only lies were told)
 */
export async function downloadBlob(
  endpoints: readonly Endpoint[],
  blob: Descriptor,
  sink: BlobSink,
  o: DownloadOptions,
): Promise<DownloadResult> {
  const failures = new Map<Endpoint, Failure>();
  const dropped = new Set<Endpoint>();
  const resumedFrom = sink.offset;
  // Whether the bytes are of more than one origin; then a wrong digest says nothing about the last.
  let mixed = resumedFrom > 0;
  let restarts = 0;
  let idle = 0;
  for (let interruptions = 0; ; interruptions++) {
    const candidates = endpoints.filter((endpoint) => !dropped.has(endpoint));
    const endpoint = o.penalties.order(candidates)[0];
    if (endpoint === undefined) throw allFailed(o.what, attemptsOf(endpoints, failures));
    const before = sink.offset;
    const failure = await tryEndpoint(endpoint, blob, sink, o);
    if (failure === undefined) {
      if (await sink.verify()) {
        o.penalties.succeeded(endpoint.url);
        return { endpoint: endpoint.url, resumedFrom, interruptions };
      }
      await sink.restart();
      if (mixed && restarts++ < maxRestarts) {
        mixed = false;
        continue;
      }
    }
    const actual = failure ?? lie("sent content with another digest").failure;
    o.log.debug({ endpoint: endpoint.url, failure: actual, offset: sink.offset, what: o.what }, "blob interrupted");
    failures.set(endpoint, actual);
    if (actual.penalty) o.penalties.failed(endpoint.url, actual.retryAfterMs);
    if (!actual.transient) {
      if (actual.kind === "data-loss" && sink.offset > 0) await sink.restart();
      dropped.add(endpoint);
      continue;
    }
    mixed = sink.offset > 0;
    idle = sink.offset - before >= progressBytes ? 0 : idle + 1;
    if (idle >= maxIdleRounds * candidates.length) throw allFailed(o.what, attemptsOf(endpoints, failures));
    // The next candidate has not failed of late: no reason to wait.
    if (candidates.some((candidate) => o.penalties.remaining(candidate.url) === 0) && idle > 0) continue;
    const pauseMs = pauseAfter(Math.floor(idle / candidates.length), [actual]);
    if (pauseMs === undefined) throw allFailed(o.what, attemptsOf(endpoints, failures));
    await pause(pauseMs, o);
  }
}

async function tryEndpoint(endpoint: Endpoint, blob: Descriptor, sink: BlobSink, o: DownloadOptions): Promise<Failure | undefined> {
  if (sink.offset === blob.size) return undefined;
  try {
    await stream(endpoint, blob, sink, o);
    return undefined;
  } catch (error) {
    o.signal.throwIfAborted();
    if (error instanceof SinkError) throw error.cause;
    return failureOf(error);
  }
}

async function stream(endpoint: Endpoint, blob: Descriptor, sink: BlobSink, o: DownloadOptions): Promise<void> {
  const offset = sink.offset;
  const headers: Record<string, string> = { accept: "*/*", "accept-encoding": "identity" };
  if (offset > 0) headers.range = `bytes=${offset}-`;
  const response = await o.request(endpoint, headers, o);
  try {
    // A server that ignores Range sends it all again: what we have is skipped.
    let skip = await startOf(response, offset, blob);
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      const rest = skip === 0 ? chunk : chunk.subarray(Math.min(skip, chunk.length));
      skip -= chunk.length - rest.length;
      if (sink.offset + rest.length > blob.size) throw lie(`sends more than the ${blob.size} bytes that the manifest says`);
      if (rest.length > 0) await writeTo(sink, rest);
      release(chunk);
    }
  } finally {
    response.body.destroy();
  }
  if (sink.offset === blob.size) return;
  const detail = `the body ended after ${sink.offset} of ${blob.size} bytes`;
  throw new EndpointError({ kind: "unavailable", detail, transient: true, penalty: true });
}

/**
 * Frees a piece of a body that has been written, if it is all that came in one read of the socket, so that nothing else lies in its memory.
 * Left to the garbage collector, which counts such memory little, tens of megabytes of them wait.
 */
function release(chunk: Buffer): void {
  const { buffer } = chunk;
  if (buffer instanceof ArrayBuffer && chunk.byteOffset === 0 && chunk.length === buffer.byteLength) buffer.transfer(0);
}

/** Checks status and announced lengths. @returns how many bytes at the start of the body are known already */
async function startOf(response: HttpResponse, offset: number, blob: Descriptor): Promise<number> {
  const { status, headers } = response;
  if (status === 200) {
    const length = headers["content-length"];
    if (typeof length === "string" && Number(length) !== blob.size) throw lie(`has ${length} bytes, the manifest says ${blob.size}`);
    return offset;
  }
  if (status === 206 && offset > 0) {
    const said = headers["content-range"];
    const range = parseContentRange(said);
    if (range?.first !== offset)
      throw lie(`answered Range bytes=${offset}- with ${said === undefined ? "no Content-Range" : printable(said, 100)}`);
    if (range.total !== undefined && range.total !== blob.size) throw lie(`has ${range.total} bytes, the manifest says ${blob.size}`);
    return 0;
  }
  if (status === 416) throw lie(`has no byte ${offset}, the manifest says ${blob.size}`);
  throw await statusFailure(response);
}

/** RFC 9110, 14.4. @returns undefined when it is not one of bytes; total is undefined when the server does not know it */
export function parseContentRange(header: string | undefined): { first: number; total: number | undefined } | undefined {
  const [, first, last, total] = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(header ?? "") ?? [];
  if (first === undefined || Number(last) < Number(first)) return undefined;
  return { first: Number(first), total: total === "*" ? undefined : Number(total) };
}

async function writeTo(sink: BlobSink, chunk: Buffer): Promise<void> {
  try {
    await sink.write(chunk);
  } catch (error) {
    throw new SinkError("write", { cause: error });
  }
}
