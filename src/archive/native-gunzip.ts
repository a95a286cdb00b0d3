import { accessSync, closeSync, constants, openSync, readSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { CridError } from "../base/errors.ts";
import { waitChild } from "../linux/child.ts";
import { closeFd, fcntlSetPipeSize, openFd, pipe } from "../linux/files.ts";
import { posixSpawn } from "../linux/posix-spawn.ts";
import type { ReadBytes, TakeBytes } from "./inflate.ts";
import { giveBuffer, takeBuffer } from "./spare-buffers.ts";

/** Programs that inflate gzip from stdin to stdout: Intel's ISA-L, about three times as fast as zlib, and pigz. */
export type GunzipProgram = "igzip" | "unpigz";

const pipeBytes = 1024 * 1024;

/** The program failed. Whether the input is damaged or the program is, its answer is not relied upon: inflate in this process. */
export class GunzipFailed extends CridError {
  constructor(program: string, why: string, options?: { cause?: unknown }) {
    super("internal", `${program}: ${why}`, options);
  }
}

/**
 * Inflates gzip in a child process, on another core and without garbage here.
 *
 * @param input a path that the child reads itself, or what to feed it with
 * @throws GunzipFailed; what `read` and `take` throw; the signal's reason
 */
export async function gunzipWith(
  program: GunzipProgram,
  input: string | ReadBytes,
  take: TakeBytes,
  o: { signal: AbortSignal },
): Promise<void> {
  o.signal.throwIfAborted();
  const output = pipe();
  const feed = typeof input === "string" ? undefined : pipe();
  let pid: number;
  try {
    const stdin = feed?.read ?? openFd(typeof input === "string" ? input : "", constants.O_RDONLY);
    for (const fd of feed === undefined ? [output.write] : [output.write, feed.write]) fcntlSetPipeSize(fd, pipeBytes);
    try {
      pid = posixSpawn({ file: locate(program), argv: [program, "-d", "-c"], env: {}, fds: [stdin, output.write, "null"] });
    } finally {
      closeFd(stdin);
      closeFd(output.write);
    }
  } catch (error) {
    closeFd(output.read);
    if (feed !== undefined) closeFd(feed.write);
    throw new GunzipFailed(program, "cannot be started", { cause: error });
  }
  const exited = waitChild(pid);
  // What fails first ends the others: the child is killed, and with it both pipes end.
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => undefined);
  const onAbort = (): void => failed.reject(o.signal.reason);
  o.signal.addEventListener("abort", onAbort, { once: true });
  const stdout = readPipe(output.read, take, failed.reject);
  const stdin = feed === undefined || typeof input === "string" ? undefined : writePipe(feed.write, input, failed.reject);
  try {
    await Promise.race([Promise.all([stdout.ended, stdin?.ended]), failed.promise]);
    const { status, signal } = await exited;
    if (status !== 0) throw new GunzipFailed(program, `it ended with ${signal ?? `status ${status}`}`);
  } finally {
    o.signal.removeEventListener("abort", onAbort);
    stdin?.socket.destroy();
    stdout.socket.destroy();
    kill(pid);
    await exited;
  }
}

const located = new Map<GunzipProgram, string>();

/** Where it is on the PATH: looked for once, as the thread stands still while a child that has just been made tries one folder after the other. */
function locate(program: GunzipProgram): string {
  const known = located.get(program);
  if (known !== undefined) return known;
  for (const folder of (process.env.PATH ?? "").split(":")) {
    const file = join(folder, program);
    try {
      accessSync(file, constants.X_OK);
    } catch {
      continue;
    }
    located.set(program, file);
    return file;
  }
  return program;
}

/** Reaped only by `waitChild`, so that the pid is the child's until then. */
function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

interface PipeEnd {
  socket: Socket;
  ended: Promise<void>;
}

/** One buffer for all that comes: what libuv allocates for each read would wait for the garbage collector. */
function readPipe(fd: number, take: TakeBytes, fail: (error: unknown) => void): PipeEnd {
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const output = takeBuffer();
  const socket = new Socket({
    fd,
    readable: true,
    writable: false,
    onread: {
      buffer: output,
      callback: (bytes, buffer) => {
        try {
          take(Buffer.from(buffer.buffer, buffer.byteOffset, bytes));
          return true;
        } catch (error) {
          fail(error);
          return false;
        }
      },
    },
  });
  socket.on("error", fail);
  socket.on("end", () => {
    giveBuffer(output);
    resolve();
  });
  socket.resume();
  return { socket, ended };
}

function writePipe(fd: number, read: ReadBytes, fail: (error: unknown) => void): PipeEnd {
  const socket = new Socket({ fd, readable: false, writable: true });
  // A child that ends early breaks the pipe; its exit status says why.
  socket.on("error", () => undefined);
  const buffer = takeBuffer();
  const written = (chunk: Buffer): Promise<boolean> => new Promise((resolve) => socket.write(chunk, (error) => resolve(error == null)));
  const ended = (async () => {
    for (let got = await read(buffer); got > 0; got = await read(buffer)) if (!(await written(buffer.subarray(0, got)))) return;
    giveBuffer(buffer);
    socket.end();
  })();
  ended.catch(fail);
  return { socket, ended };
}

const sampleBytes = 2 * 1024 * 1024;
const rounds = 3;

/**
 * The program to inflate with: one that is there, gives the right answer also for a stream of several members, and is faster than this process.
 * igzip is known to be, by three times (a measurement of milliseconds on a busy machine says nothing); unpigz has to show it. Undefined when
 * there is none.
 */
export async function probeGunzip(o: { signal: AbortSignal }): Promise<GunzipProgram | undefined> {
  const plain = sampleOf(process.execPath);
  const half = plain.length / 2;
  const members = Buffer.concat([gzipSync(plain.subarray(0, half), { level: 1 }), gzipSync(plain.subarray(half), { level: 1 })]);
  if (await inflatesTo("igzip", members, plain, o)) return "igzip";
  let ours = 0;
  let theirs = 0;
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    gunzipSync(members);
    const between = performance.now();
    if (!(await inflatesTo("unpigz", members, plain, o))) return undefined;
    ours += between - started;
    theirs += performance.now() - between;
  }
  return theirs < ours ? "unpigz" : undefined;
}

async function inflatesTo(program: GunzipProgram, compressed: Buffer, plain: Buffer, o: { signal: AbortSignal }): Promise<boolean> {
  let fed = 0;
  let same = true;
  let at = 0;
  const read: ReadBytes = (into) => {
    const taken = compressed.copy(into, 0, fed);
    fed += taken;
    return Promise.resolve(taken);
  };
  try {
    await gunzipWith(
      program,
      read,
      (chunk) => {
        same &&= chunk.equals(plain.subarray(at, at + chunk.length));
        at += chunk.length;
      },
      o,
    );
  } catch {
    return false;
  }
  return same && at === plain.length;
}

/** Machine code, as in layers. */
function sampleOf(path: string): Buffer {
  const fd = openSync(path, "r");
  try {
    const sample = Buffer.alloc(sampleBytes);
    return sample.subarray(0, readSync(fd, sample, 0, sample.length, sampleBytes) & ~1);
  } finally {
    closeSync(fd);
  }
}
