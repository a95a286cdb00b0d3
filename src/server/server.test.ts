import assert from "node:assert/strict";
import { mkdir, mkdtemp, rename, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Client, credentials, type ServiceError, status } from "@grpc/grpc-js";
import { runtime } from "../../api/cri/runtime/v1/api.js";
import { CridError } from "../base/errors.ts";
import { silentLogger } from "../base/log.ts";
import { nowNanos } from "../base/time.ts";
import type { Call } from "./call.ts";
import type { ImageHandlers, RuntimeHandlers } from "./grpc-services.ts";
import { CriServer } from "./server.ts";

const { v1 } = runtime;
let directory: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "crid-server-"));
});
after(() => rm(directory, { recursive: true }));

const unimplemented = () => {
  throw new CridError("unimplemented", "not in this test");
};

/** A server with the given handlers; every other RPC fails. */
async function serve(name: string, runtimeHandlers: Partial<RuntimeHandlers>, graceMs = { finish: 200, undo: 1000 }) {
  const seen: { method: string; code: string }[] = [];
  const handlers = new Proxy(runtimeHandlers, { get: (target, key: keyof RuntimeHandlers) => target[key] ?? unimplemented });
  const address = join(directory, name, "crid.sock");
  const server = new CriServer({
    address,
    gid: process.getgid?.() ?? 0,
    runtime: handlers as RuntimeHandlers,
    images: new Proxy({}, { get: () => unimplemented }) as ImageHandlers,
    log: silentLogger(),
    observe: ({ method, code }) => seen.push({ method, code }),
    graceMs,
  });
  await server.listen();
  const client = new Client(`unix:${address}`, credentials.createInsecure());
  return {
    address,
    server,
    client,
    seen,
    async [Symbol.asyncDispose]() {
      client.close();
      await server.close();
    },
  };
}

/** Calls a method; the request and the response are what the codec of `Version` makes of them, which every test here can do with. */
function call(
  client: Client,
  method: string,
  options: { deadline?: number; cancelAfter?: number; request?: Buffer } = {},
): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const rpc = client.makeUnaryRequest(
    `/runtime.v1.RuntimeService/${method}`,
    (bytes: Buffer) => bytes,
    (bytes) => bytes,
    options.request ?? Buffer.alloc(0),
    options.deadline === undefined ? {} : { deadline: options.deadline },
    (error, answer) => (error === null ? resolve(answer ?? Buffer.alloc(0)) : reject(error)),
  );
  if (options.cancelAfter !== undefined) setTimeout(() => rpc.cancel(), options.cancelAfter);
  return promise;
}

const untilAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));

test("answers messages and kept bytes, on a socket of mode 0660", async () => {
  const bytes = v1.VersionResponse.encode({ runtimeName: "kept" }).finish();
  await using it = await serve("answers", { Version: () => ({ runtimeName: "crid" }), ListPodSandbox: () => bytes });
  assert.equal(v1.VersionResponse.decode(await call(it.client, "Version")).runtimeName, "crid");
  assert.deepEqual(await call(it.client, "ListPodSandbox"), bytes);
  const { mode } = await stat(it.address);
  assert.equal(mode & 0o777, 0o660);
  assert.deepEqual(it.seen, [
    { method: "Version", code: "OK" },
    { method: "ListPodSandbox", code: "OK" },
  ]);
});

test("kinds of errors become codes, and a foreign error is UNKNOWN", async () => {
  await using it = await serve("codes", {
    StopContainer: () => Promise.reject(new CridError("not-found", "no container abc")),
    StartContainer: () => {
      throw new TypeError("oops");
    },
  });
  await assert.rejects(call(it.client, "StopContainer"), { code: status.NOT_FOUND, details: "no container abc" });
  await assert.rejects(call(it.client, "StartContainer"), { code: status.UNKNOWN, details: "oops" });
  await assert.rejects(call(it.client, "Exec"), { code: status.UNIMPLEMENTED });
  await assert.rejects(call(it.client, "NoSuchMethod"), { code: status.UNIMPLEMENTED });
  assert.deepEqual(
    it.seen.map((call) => call.code),
    ["NotFound", "Unknown", "Unimplemented"],
  );
});

test("any message of an error reaches the caller: half a character, and more than a header can hold", async () => {
  const messages = ["half \ud83d", "\udca9", "\u20ac".repeat(40_000), `${"a".repeat(5_999)}\u{1f600}`, "50% \u0000\n"];
  let message = "";
  await using it = await serve("messages", {
    StopContainer: async () => {
      throw new CridError("not-found", message);
    },
    GetContainerEvents: async function* () {
      yield* [];
      throw new CridError("not-found", message);
    },
  });
  for (message of messages) {
    const failed = await call(it.client, "StopContainer", { deadline: Date.now() + 10_000 }).catch((error: ServiceError) => error);
    assert.ok(failed instanceof Error);
    assert.equal(failed.code, status.NOT_FOUND, failed.message);
    assert.ok(failed.details.isWellFormed());
    assert.ok(failed.details.startsWith(message.toWellFormed().slice(0, 5_990)), failed.details);
    assert.ok(failed.details.length < 6_200);
    const stream = it.client.makeServerStreamRequest(
      "/runtime.v1.RuntimeService/GetContainerEvents",
      (bytes: Buffer) => bytes,
      (bytes) => bytes,
      Buffer.alloc(0),
      { deadline: Date.now() + 10_000 },
    );
    const error = await new Promise<ServiceError>((resolve) => stream.on("error", resolve).resume());
    assert.equal(error.code, status.NOT_FOUND, error.message);
  }
});

test("the handler's signal aborts when the caller cancels and when its deadline passes", async () => {
  const reasons: unknown[] = [];
  const handler = async (_: unknown, { signal }: Call): Promise<never> => {
    try {
      return await untilAborted(signal);
    } catch (error) {
      reasons.push(error);
      throw error;
    }
  };
  await using it = await serve("signals", { RunPodSandbox: handler });
  await assert.rejects(call(it.client, "RunPodSandbox", { cancelAfter: 50 }), { code: status.CANCELLED });
  await assert.rejects(call(it.client, "RunPodSandbox", { deadline: Date.now() + 300 }), { code: status.DEADLINE_EXCEEDED });
  while (reasons.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(
    reasons.map((reason) => (reason as CridError).kind),
    ["canceled", "deadline-exceeded"],
  );
});

test("a stream sends its parts, reports its error, and ends when the client goes", async () => {
  const ended = Promise.withResolvers<void>();
  await using it = await serve("streams", {
    StreamContainers: async function* () {
      yield { containers: [{ id: "a" }] };
      yield { containers: [{ id: "b" }] };
      throw new CridError("unavailable", "gone");
    },
    GetContainerEvents: async function* (_, { signal }) {
      yield { containerId: "first", createdAt: nowNanos() };
      try {
        await untilAborted(signal);
      } finally {
        ended.resolve();
      }
    },
  });
  const open = (method: string) =>
    it.client.makeServerStreamRequest(
      `/runtime.v1.RuntimeService/${method}`,
      (b: Buffer) => b,
      (b) => b,
      Buffer.alloc(0),
    );
  const ids: string[] = [];
  await assert.rejects(
    async () => {
      for await (const part of open("StreamContainers"))
        ids.push(...v1.StreamContainersResponse.decode(part as Buffer).containers.map((c) => c.id));
    },
    (error: ServiceError) => error.code === status.UNAVAILABLE && error.details === "gone",
  );
  assert.deepEqual(ids, ["a", "b"]);
  const events = open("GetContainerEvents");
  events.on("error", () => {});
  events.once("data", () => events.cancel());
  await ended.promise;
});

test("close ends streams, lets calls finish, aborts the slow ones and removes the socket", async () => {
  const aborted = Promise.withResolvers<string>();
  const started = Promise.withResolvers<void>();
  const it = await serve("close", {
    Version: async () => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      return { runtimeName: "in time" };
    },
    CreateContainer: async (_, { signal }) => {
      started.resolve();
      return await untilAborted(signal).catch((error: unknown) => {
        aborted.resolve((error as CridError).kind);
        throw error;
      });
    },
  });
  const inTime = call(it.client, "Version");
  const tooSlow = call(it.client, "CreateContainer");
  await started.promise;
  const closing = it.server.close();
  assert.equal(v1.VersionResponse.decode(await inTime).runtimeName, "in time");
  await assert.rejects(tooSlow, { code: status.UNAVAILABLE });
  assert.equal(await aborted.promise, "unavailable");
  await closing;
  it.client.close();
  await assert.rejects(stat(it.address), { code: "ENOENT" });
});

test("a stale socket is taken over; a served one, or a file, is not", async () => {
  const it = await serve("stale", { Version: () => ({}) });
  await assert.rejects(serve("stale", {}), /another process serves it/);
  it.client.close();
  await it.server.close();
  const stale = createServer().listen(it.address);
  await new Promise((resolve) => stale.once("listening", resolve));
  // A killed process leaves its socket behind; so does one whose listener's file was renamed over.
  await rename(it.address, `${it.address}.kept`);
  await new Promise((resolve) => stale.close(resolve));
  await rename(`${it.address}.kept`, it.address);
  await using again = await serve("stale", { Version: () => ({ version: "again" }) });
  assert.equal(v1.VersionResponse.decode(await call(again.client, "Version")).version, "again");
  await writeFile(join(directory, "file"), "");
  await mkdir(join(directory, "plain"), { recursive: true });
  await writeFile(join(directory, "plain", "crid.sock"), "");
  await assert.rejects(serve("plain", {}), /is not a socket/);
});

test("a request that is too big or no protobuf fails by itself", async () => {
  await using it = await serve("big", { Version: () => ({ version: "fine" }) });
  await assert.rejects(call(it.client, "Version", { request: Buffer.alloc(17 * 1024 * 1024) }), { code: status.RESOURCE_EXHAUSTED });
  await assert.rejects(call(it.client, "Version", { request: Buffer.from([0xff, 0xff, 0xff]) }), { code: status.INTERNAL });
  assert.equal(v1.VersionResponse.decode(await call(it.client, "Version")).version, "fine");
});
