import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { WebSocket } from "ws";
import { dataHeader, FLAG_FIN, FrameParser, synStream } from "../src/streaming/spdy/frames.ts";
import { HeaderCompressor } from "../src/streaming/spdy/test-client.ts";

/** What came on one stream. The bytes are only good during the call. */
export type OnData = (payload: Buffer) => void;

/**
 * A SPDY client as lean as it can be made, so that what is measured is the server: reads go into one buffer, nothing is queued. Like Go's
 * it does no flow control.
 */
export class LeanSpdyClient {
  readonly #socket: Socket;
  readonly #compressor = new HeaderCompressor();
  readonly #onData = new Map<number, OnData>();
  #nextId = 1;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  static async dial(url: string, protocol: string): Promise<LeanSpdyClient> {
    const { hostname, port, pathname } = new URL(url);
    const buffer = Buffer.allocUnsafeSlow(256 * 1024);
    let onBytes = (_bytes: Buffer): void => {};
    const socket = connect({
      host: hostname,
      port: Number(port),
      noDelay: true,
      onread: {
        buffer,
        callback: (length) => {
          onBytes(buffer.subarray(0, length));
          return true;
        },
      },
    });
    socket.on("error", () => {});
    const client = new LeanSpdyClient(socket);
    const parser = new FrameParser((frame) => {
      if (frame.type === "data") client.#onData.get(frame.streamId)?.(frame.payload);
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let head = Buffer.alloc(0);
    onBytes = (bytes) => {
      head = Buffer.concat([head, bytes]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      if (!head.toString("latin1").startsWith("HTTP/1.1 101")) reject(new Error(`the upgrade was refused: ${head.toString("latin1")}`));
      onBytes = (rest) => parser.push(rest);
      parser.push(head.subarray(end + 4));
      resolve();
    };
    socket.on("close", () => reject(new Error("closed during the upgrade")));
    const lines = ["Connection: Upgrade", "Upgrade: SPDY/3.1", `X-Stream-Protocol-Version: ${protocol}`];
    socket.write(`POST ${pathname} HTTP/1.1\r\nHost: ${hostname}:${port}\r\n${lines.join("\r\n")}\r\n\r\n`);
    await promise;
    return client;
  }

  /** Opens a stream and answers its id. */
  async open(headers: Readonly<Record<string, string>>, onData: OnData = () => {}): Promise<number> {
    const id = this.#nextId;
    this.#nextId += 2;
    this.#onData.set(id, onData);
    this.#socket.write(synStream(id, await this.#compressor.block(headers)));
    return id;
  }

  /** One data frame. Answers false when it is better to wait for `drained`. */
  send(id: number, payload: Uint8Array): boolean {
    this.#socket.cork();
    this.#socket.write(dataHeader(id, payload.length));
    const room = this.#socket.write(payload);
    this.#socket.uncork();
    return room;
  }

  async drained(): Promise<void> {
    if (this.#socket.writableNeedDrain) await once(this.#socket, "drain");
  }

  /** Half-closes a stream. */
  finish(id: number): void {
    this.#socket.write(dataHeader(id, 0, FLAG_FIN));
  }

  close(): void {
    this.#socket.destroy();
    this.#compressor.close();
  }
}

/** One exec: what is typed in, what comes out, the end of it. */
export interface ExecSession {
  /** Set by who waits for the output. */
  onOutput: OnData;
  type(keys: Uint8Array): void;
  close(): void;
}

/** An exec with stdin and stdout, over SPDY. */
export async function execOverSpdy(url: string, options: { tty: boolean }): Promise<ExecSession> {
  const client = await LeanSpdyClient.dial(url, "v4.channel.k8s.io");
  let stdin = 0;
  const session: ExecSession = {
    onOutput: () => {},
    type: (keys) => void client.send(stdin, keys),
    close: () => client.close(),
  };
  await client.open({ streamtype: "error" });
  stdin = await client.open({ streamtype: "stdin" });
  await client.open({ streamtype: "stdout" }, (payload) => session.onOutput(payload));
  if (options.tty) await client.open({ streamtype: "resize" });
  return session;
}

/** The same over WebSocket; v4, as containerd knows no v5. */
export async function execOverWebSocket(url: string): Promise<ExecSession> {
  const socket = new WebSocket(url.replace(/^http/, "ws"), "v4.channel.k8s.io", { perMessageDeflate: false });
  const session: ExecSession = {
    onOutput: () => {},
    type: (keys) => socket.send(Buffer.concat([Buffer.from([0]), keys])),
    close: () => socket.terminate(),
  };
  socket.on("message", (data: Buffer) => {
    if (data[0] === 1 && data.length > 1) session.onOutput(data.subarray(1));
  });
  socket.on("error", () => {});
  await once(socket, "open");
  return session;
}
