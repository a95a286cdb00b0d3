import assert from "node:assert/strict";
import { once } from "node:events";
import { WebSocket } from "ws";
import { silentLogger } from "../base/log.ts";
import type { SpdyTestClient, TestStream } from "./spdy/test-client.ts";
import { StreamingServer } from "./streaming-server.ts";
import { LocalTargets } from "./test-execer.ts";

/** For tests: a server on loopback whose containers are this machine. */
export class StreamingFixture implements AsyncDisposable {
  readonly targets = new LocalTargets();
  readonly server: StreamingServer;

  constructor(idleTimeoutMs = 60_000, limits: { maxConnections?: number } = {}) {
    const { targets } = this;
    this.server = new StreamingServer({ address: "127.0.0.1", port: 0, idleTimeoutMs, targets, log: silentLogger(), ...limits });
  }

  static async make(idleTimeoutMs?: number, limits?: { maxConnections?: number }): Promise<StreamingFixture> {
    const fixture = new StreamingFixture(idleTimeoutMs, limits);
    await fixture.server.listen();
    return fixture;
  }

  exec(cmd: string[], wanted: { stdin?: boolean; stdout?: boolean; stderr?: boolean; tty?: boolean } = {}): string {
    const { stdin = false, stdout = true, stderr = false, tty = false } = wanted;
    return this.server.exec({ containerId: "c1", cmd, stdin, stdout, stderr, tty });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
  }
}

/** Opens streams by `streamType`. */
export async function openStreams(client: SpdyTestClient, kinds: string[]): Promise<Record<string, TestStream>> {
  const streams: Record<string, TestStream> = {};
  for (const kind of kinds) streams[kind] = await client.open({ streamtype: kind });
  return streams;
}

export function the<T>(value: T | undefined): T {
  assert.ok(value !== undefined);
  return value;
}

/** What a WebSocket client of the channel protocols got. */
export interface Channels {
  socket: WebSocket;
  bytes: Record<number, string>;
  closed: Promise<number>;
}

export async function dialChannels(url: string, protocol: string | undefined, base64 = false): Promise<Channels> {
  const socket = new WebSocket(url.replace("http:", "ws:"), protocol);
  const bytes: Record<number, string> = {};
  socket.on("message", (data: Buffer) => {
    const channel = base64 ? Number(data.toString("latin1", 0, 1)) : (data[0] ?? 0);
    const payload = base64 ? Buffer.from(data.toString("latin1", 1), "base64").toString("latin1") : data.toString("latin1", 1);
    bytes[channel] = (bytes[channel] ?? "") + payload;
  });
  const closed = once(socket, "close").then(([code]) => code as number);
  await once(socket, "open");
  return { socket, bytes, closed };
}
