import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Code, Server, TtrpcError } from "../src/index.ts";

/** The service that the Go program in go/ and `testServer` both offer. Arguments and results are StringValue messages. */
export const service = "ttrpcnode.test.v1.Peer";

/** A google.protobuf.StringValue. */
export function text(value: string): Uint8Array {
  const body = Buffer.from(value);
  if (body.length === 0) return new Uint8Array(0);
  const length: number[] = [];
  let rest = body.length;
  for (; rest > 0x7f; rest >>>= 7) length.push((rest & 0x7f) | 0x80);
  return Buffer.concat([Uint8Array.from([0x0a, ...length, rest]), body]);
}

/** What `text` encoded. */
export function untext(message: Uint8Array): string {
  if (message.length === 0) return "";
  let at = 1;
  while (((message[at] ?? 0) & 0x80) !== 0) at++;
  return Buffer.from(message.subarray(at + 1)).toString();
}

export function testServer(): Server {
  const server = new Server();
  server.register(service, {
    Echo: (request) => request,
    Context: (_request, { metadata, signal }) => {
      const keys = [...metadata].map(([key, values]) => `${key}=${values.join("|")}`);
      return text(`${keys.join(",")} ${signal.aborted}`);
    },
    Fail: (request) => {
      throw new TtrpcError(Code.NOT_FOUND, untext(request));
    },
    Plain: (request) => {
      throw new Error(untext(request));
    },
    Wait: (_request, { signal }) => new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    Big: (request) => text("x".repeat(Number(untext(request)))),
    Join: {
      clientStreaming: true,
      serverStreaming: false,
      handle: async (stream) => {
        const all: string[] = [];
        for await (const message of stream) all.push(untext(message));
        return text(all.join("+"));
      },
    },
    Count: {
      clientStreaming: false,
      serverStreaming: true,
      handle: async (stream) => {
        const count = Number(untext((await stream.receive()) ?? text("0")));
        for (let i = 0; i < count; i++) await stream.send(text(String(i)));
        return undefined;
      },
    },
    Upper: {
      clientStreaming: true,
      serverStreaming: true,
      handle: async (stream) => {
        for await (const message of stream) await stream.send(text(untext(message).toUpperCase()));
        return undefined;
      },
    },
    Broken: {
      clientStreaming: true,
      serverStreaming: true,
      handle: async (stream) => {
        await stream.send(text("first"));
        throw new TtrpcError(Code.DATA_LOSS, "broke");
      },
    },
  });
  return server;
}

/** A directory for one test's sockets. */
export async function temporaryDir(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), "ttrpc-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Builds the Go peer; undefined where there is no Go. */
export async function buildGoPeer(dir: string): Promise<string | undefined> {
  const binary = join(dir, "peer");
  try {
    await promisify(execFile)("go", ["build", "-o", binary, "."], { cwd: join(import.meta.dirname, "go") });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  return binary;
}
