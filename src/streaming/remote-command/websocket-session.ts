import type { Readable, Writable } from "node:stream";
import { CridError } from "../../base/errors.ts";
import type { ChannelCodec, ChannelSocket } from "../websocket/channel-socket.ts";
import type { RemoteSession, WantedStreams } from "./session.ts";
import { endOf } from "./spdy-session.ts";
import { encodeOutcome, type Outcome } from "./status.ts";
import { TerminalSizes } from "./terminal-sizes.ts";

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const ERROR = 3;
const RESIZE = 4;

/** Subprotocols for exec and attach, and how each is coded. A client that names none gets the first of all. */
export const webSocketRemoteProtocols: ReadonlyMap<string, ChannelCodec & { json: boolean }> = new Map([
  ["v5.channel.k8s.io", { base64: false, halfClose: true, json: true }],
  ["v4.channel.k8s.io", { base64: false, halfClose: false, json: true }],
  ["v4.base64.channel.k8s.io", { base64: true, halfClose: false, json: true }],
  ["channel.k8s.io", { base64: false, halfClose: false, json: false }],
  ["base64.channel.k8s.io", { base64: true, halfClose: false, json: false }],
  ["", { base64: false, halfClose: false, json: false }],
]);

/** A remote command over WebSocket channels. */
export class WebSocketSession implements RemoteSession {
  readonly stdin: Readable | undefined;
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  readonly sizes: TerminalSizes | undefined;
  readonly #socket: ChannelSocket;
  readonly #json: boolean;
  readonly #gone = new AbortController();
  #finishing = false;

  constructor(options: { socket: ChannelSocket; json: boolean; wanted: WantedStreams }) {
    const { socket, wanted } = options;
    this.#socket = socket;
    this.#json = options.json;
    this.stdin = wanted.stdin ? socket.input(STDIN) : undefined;
    this.stdout = wanted.stdout ? socket.output(STDOUT) : undefined;
    this.stderr = wanted.stderr ? socket.output(STDERR) : undefined;
    this.sizes = wanted.tty ? this.#readSizes(socket.input(RESIZE)) : undefined;
    void socket.closed.then(() => {
      this.sizes?.end();
      if (!this.#finishing) this.#gone.abort(new CridError("canceled", "the client went away"));
    });
    // An empty message on the lowest output tells old clients that the connection stands.
    socket.send(wanted.stdout ? STDOUT : wanted.stderr ? STDERR : ERROR, Buffer.alloc(0));
  }

  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  async finish(outcome: Outcome): Promise<void> {
    this.#finishing = true;
    await Promise.all([this.stdout, this.stderr].map((output) => endOf(output)));
    const text = encodeOutcome(outcome, { json: this.#json });
    if (text !== "" && !this.gone.aborted) this.#socket.send(ERROR, Buffer.from(text), () => {});
    this.#socket.close();
    await this.#socket.closed;
  }

  #readSizes(input: Readable): TerminalSizes {
    const sizes = new TerminalSizes();
    input.on("data", (chunk: Buffer) => sizes.push(chunk));
    input.on("end", () => sizes.end());
    return sizes;
  }
}
