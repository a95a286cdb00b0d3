import type { Socket } from "node:net";
import { peerHasClosed } from "../linux/sockets.ts";

const CHECK_MS = 5_000;

/**
 * Ends connections whose client has gone while they were not read. As long as a process takes no more of its stdin its client's connection
 * is paused, and the end of file lies behind the unread bytes: without this such a client is missed until the process reads on, if ever.
 */
export class AbandonedSockets implements Disposable {
  readonly #sockets = new Set<Socket>();
  readonly #timer: NodeJS.Timeout;

  constructor(options: { checkMs?: number } = {}) {
    this.#timer = setInterval(() => this.#check(), options.checkMs ?? CHECK_MS);
    this.#timer.unref();
  }

  /** Watches the socket until it is closed. */
  watch(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#sockets.clear();
  }

  #check(): void {
    for (const socket of this.#sockets) {
      if (!socket.isPaused()) continue;
      const fd = descriptor(socket);
      if (fd !== undefined && peerHasClosed(fd)) socket.destroy();
    }
  }
}

/** Node has no public way to a socket's descriptor. Without one the socket is just not watched. */
export function descriptor(socket: Socket): number | undefined {
  const { _handle: handle } = socket as Socket & { _handle?: { fd?: number } | null };
  return handle?.fd !== undefined && handle.fd >= 0 ? handle.fd : undefined;
}
