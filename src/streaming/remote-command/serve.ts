import type { Readable, Writable } from "node:stream";
import { isAbort, isKind } from "../../base/errors.ts";
import type { Logger } from "../../base/log.ts";
import type { RemoteSession, WantedStreams } from "./session.ts";
import { failed, type Outcome } from "./status.ts";
import type { TerminalSize } from "./terminal-sizes.ts";

/** The streams that an exec or attach moves. The callee ends the outputs when the process' output ends. */
export interface ProcessStreams {
  tty: boolean;
  stdin?: Readable;
  stdout?: Writable;
  stderr?: Writable;
  resize?: AsyncIterable<TerminalSize>;
}

/** What runs commands in containers, and connects to their own processes. */
export interface Execer {
  /**
   * Runs a command to its end. An abort of `signal` ends it: hung up with a terminal, killed without.
   *
   * @throws CridError when it cannot be started
   */
  exec(containerId: string, options: ProcessStreams & { cmd: readonly string[]; signal: AbortSignal }): Promise<{ exitCode: number }>;
  /** Resolves when the process' output ends, or `signal` aborts. The process lives on. */
  attach(containerId: string, options: ProcessStreams & { signal: AbortSignal }): Promise<void>;
}

export interface ExecRequest extends WantedStreams {
  kind: "exec";
  containerId: string;
  cmd: readonly string[];
}

export interface AttachRequest extends WantedStreams {
  kind: "attach";
  containerId: string;
}

/**
 * Runs a request over a client's session and tells the client how it ended.
 *
 * When the client goes away stdin ends and `signal` aborts: the command is ended with it, as under containerd, since nobody would see
 * its end and its output would have nowhere to go. An attached process lives on.
 */
export async function serveRemoteCommand(options: {
  session: RemoteSession;
  request: ExecRequest | AttachRequest;
  execer: Execer;
  log: Logger;
}): Promise<void> {
  const { session, request, execer, log } = options;
  const streams: ProcessStreams = {
    tty: request.tty,
    ...(session.stdin !== undefined && { stdin: session.stdin }),
    ...(session.stdout !== undefined && { stdout: session.stdout }),
    ...(session.stderr !== undefined && { stderr: session.stderr }),
    ...(session.sizes !== undefined && { resize: session.sizes }),
  };
  const signal = session.gone;
  let outcome: Outcome;
  try {
    outcome =
      request.kind === "exec"
        ? { kind: "exited", cmd: request.cmd, ...(await execer.exec(request.containerId, { ...streams, cmd: request.cmd, signal })) }
        : await execer.attach(request.containerId, { ...streams, signal }).then(() => ({ kind: "exited", cmd: [], exitCode: 0 }) as const);
  } catch (error) {
    outcome = failed(request.kind, error);
    const expected = session.gone.aborted || isAbort(error) || isKind(error, "canceled");
    log[expected ? "debug" : "info"]({ container: request.containerId, err: error }, `${request.kind} failed`);
  }
  await session.finish(outcome);
}
