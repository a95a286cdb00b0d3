import { setTimeout as delay } from "node:timers/promises";
import { DirectSocket } from "../../base/direct-socket.ts";
import { CridError, isErrno, messageOf } from "../../base/errors.ts";
import { closeFd } from "../../linux/files.ts";
import { enterNetnsSync } from "../../linux/namespaces.ts";
import { connectLoopback, connectState } from "../../linux/sockets.ts";

/** On loopback a connection is made or refused at once; it takes longer only while the server's backlog is full. */
const CONNECT_TIMEOUT_MS = 30_000;
const MAX_DELAY_MS = 50;

/**
 * Connects to a port on a pod's localhost, IPv4 first, then IPv6. The socket is made inside the pod's network namespace by one synchronous
 * call of the main thread, and stays there; no thread or process is needed.
 *
 * @param options.netnsPath "" = the host's network.
 * @throws CridError `unavailable` in the words of the reference server; the signal's reason when it aborts
 */
export async function dialPod(options: { sandboxId: string; netnsPath: string; port: number; signal: AbortSignal }): Promise<DirectSocket> {
  const { sandboxId, netnsPath, port, signal } = options;
  const said: string[] = [];
  for (const family of [4, 6] as const) {
    try {
      const fd = await connect(netnsPath, family, port, signal);
      return new DirectSocket({ fd, readable: true, writable: true, allowHalfOpen: true });
    } catch (error) {
      signal.throwIfAborted();
      const address = family === 4 ? `tcp4 127.0.0.1:${port}` : `tcp6 [::1]:${port}`;
      said.push(`IPv${family}: dial ${address}: connect: ${reasonOf(error)}`);
    }
  }
  throw new CridError(
    "unavailable",
    `failed to execute portforward in network namespace "${netnsPath === "" ? "host" : netnsPath}": ` +
      `failed to connect to localhost:${port} inside namespace "${sandboxId}", ${said.join(" ")}`,
  );
}

async function connect(netnsPath: string, family: 4 | 6, port: number, signal: AbortSignal): Promise<number> {
  const begin = (): number => connectLoopback(family, port);
  const fd = netnsPath === "" ? begin() : enterNetnsSync(netnsPath, begin);
  try {
    const deadline = performance.now() + CONNECT_TIMEOUT_MS;
    for (let wait = 1; connectState(fd) === "pending"; wait = Math.min(wait * 2, MAX_DELAY_MS)) {
      if (performance.now() > deadline) throw new CridError("deadline-exceeded", "i/o timeout");
      await delay(wait, undefined, { signal });
    }
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

function reasonOf(error: unknown): string {
  if (isErrno(error, "ECONNREFUSED")) return "connection refused";
  if (isErrno(error, "ENOENT")) return "the pod's network namespace is gone";
  if (isErrno(error, "EAFNOSUPPORT") || isErrno(error, "EADDRNOTAVAIL")) return "cannot assign requested address";
  return messageOf(error);
}
