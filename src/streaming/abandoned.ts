import { readFile } from "node:fs/promises";
import { isIPv4, type Socket } from "node:net";
import { peerHasClosed } from "../linux/sockets.ts";

const CHECK_MS = 5_000;

/**
 * Ends connections whose client has gone while they were not read. As long as a process takes no more of its stdin its client's connection
 * is paused, and the end of file lies behind the unread bytes: without this such a client is missed until the process reads on, if ever.
 *
 * When the buffers of both ends are full the end of file does not even get here: it waits at the client's end, in a connection that no process holds. On
 * this machine, where kubelet and crictl are, the kernel's table shows those.
 */
export class AbandonedSockets implements Disposable {
  readonly #sockets = new Set<Socket>();
  readonly #timer: NodeJS.Timeout;
  #checking = false;

  constructor(options: { checkMs?: number } = {}) {
    this.#timer = setInterval(() => void this.#check(), options.checkMs ?? CHECK_MS);
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

  async #check(): Promise<void> {
    if (this.#checking) return;
    this.#checking = true;
    const paused: [string, Socket][] = [];
    for (const socket of this.#sockets) {
      if (!socket.isPaused()) continue;
      const fd = descriptor(socket);
      if (fd !== undefined && peerHasClosed(fd)) socket.destroy();
      else paused.push([otherEnd(socket), socket]);
    }
    if (paused.length > 0) {
      const orphans = await orphaned();
      for (const [end, socket] of paused) if (orphans.has(end)) socket.destroy();
    }
    this.#checking = false;
  }
}

/** The client's end of a connection as the kernel's table names it: its own address and ours. */
function otherEnd({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${tableAddress(remoteAddress, remotePort)} ${tableAddress(localAddress, localPort)}`;
}

/** "0100007F:1F90". Words of an address stand in the machine's order, the port does not. */
function tableAddress(address = "", port = 0): string {
  const plain = address.replace(/^::ffff:/, "");
  const hexPort = port.toString(16).padStart(4, "0");
  // The only IPv6 address that matters: others are not on this machine's loopback.
  if (!isIPv4(plain)) return `00000000000000000000000001000000:${hexPort}`.toUpperCase();
  const bytes = plain.split(".").map((part) => Number(part).toString(16).padStart(2, "0"));
  return `${bytes.toReversed().join("")}:${hexPort}`.toUpperCase();
}

/** Connections in FIN_WAIT1 that belong to no process (inode 0), of /proc/net/tcp. */
async function orphaned(): Promise<Set<string>> {
  const found = new Set<string>();
  for (const table of ["tcp", "tcp6"]) {
    // Of the reading thread: the main thread visits the pods' networks.
    const text = await readFile(`/proc/thread-self/net/${table}`, "latin1").catch(() => "");
    for (const [, local, remote] of text.matchAll(/^ *\d+: ([0-9A-F:]+) ([0-9A-F:]+) 04 \S+ \S+ \S+ +\d+ +\d+ 0 /gm))
      found.add(`${local} ${remote}`);
  }
  return found;
}

/** Node has no public way to a socket's descriptor. Without one the socket is just not watched. */
export function descriptor(socket: Socket): number | undefined {
  const { _handle: handle } = socket as Socket & { _handle?: { fd?: number } | null };
  return handle?.fd !== undefined && handle.fd >= 0 ? handle.fd : undefined;
}
