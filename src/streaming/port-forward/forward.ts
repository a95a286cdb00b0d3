import { finished, type Readable, type Writable } from "node:stream";
import { promisify } from "node:util";
import type { DirectSocket } from "../../base/direct-socket.ts";
import { moveFrom, moveInto } from "../../base/direct-streams.ts";
import { messageOf } from "../../base/errors.ts";
import type { Logger } from "../../base/log.ts";

const untilFinished = promisify(finished);

/** Connects to a port of a pod. @throws CridError with a message for the client */
export type Dial = (sandboxId: string, port: number, options: { signal: AbortSignal }) => Promise<DirectSocket>;

export interface PortForwardRequest {
  kind: "port-forward";
  sandboxId: string;
  /** What the CRI request named; used by the WebSocket channels alone, SPDY streams name their own. */
  ports: readonly number[];
}

/** One connection through to a pod, as the client's protocol offers it. */
export interface ForwardedConnection {
  input: Readable;
  output: Writable;
  /** Whether `input` can end before the connection does. If not, the pod's end is the end of both. */
  halfClose: boolean;
  /** Aborts when the client gives the connection up. */
  gone: AbortSignal;
}

/**
 * Moves bytes between the client and a port of the pod until both directions have ended; each ends apart, so a client may close its side
 * and go on reading for as long as it likes (the reference server cuts it off after a second).
 *
 * @returns undefined, or what to say on the error stream
 */
export async function forward(options: {
  sandboxId: string;
  port: number;
  dial: Dial;
  connection: ForwardedConnection;
  log: Logger;
}): Promise<string | undefined> {
  const { sandboxId, port, dial, connection, log } = options;
  const { input, output, halfClose, gone } = connection;
  let direct: DirectSocket | undefined;
  const onGone = (): void => void direct?.socket.destroy();
  try {
    direct = await dial(sandboxId, port, { signal: gone });
    gone.throwIfAborted();
    gone.addEventListener("abort", onGone, { once: true });
    const { socket } = direct;
    socket.setNoDelay(true);
    if (!halfClose) socket.on("end", () => void socket.end());
    const down = moveFrom(direct, output).then(() => void output.end());
    void moveInto(direct, input);
    await Promise.all([down, untilFinished(socket), untilFinished(output, { readable: false })]);
    return undefined;
  } catch (error) {
    direct?.socket.destroy();
    if (gone.aborted) return undefined;
    log.debug({ sandbox: sandboxId, port, err: error }, "port-forward ended with an error");
    return `error forwarding port ${port} to pod ${sandboxId}, uid : ${messageOf(error)}`;
  } finally {
    gone.removeEventListener("abort", onGone);
  }
}
