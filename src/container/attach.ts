import { CridError } from "../base/errors.ts";
import type { ContainerContext } from "./context.ts";
import type { ContainerEntry } from "./entry.ts";
import { expectRunning, resizeLoop } from "./exec.ts";
import { InputFifo } from "./exec-io.ts";
import { stdioPaths } from "./start.ts";
import type { StreamIo } from "./stream-io.ts";

/**
 * Connects streams to a running container's process: its output from now on, through the logger, and its stdin. Several may be attached at once.
 * Resolves when the output ends, or when `signal` aborts (the client is gone). The process lives on; with stdinOnce its stdin ends with this client's.
 *
 * @throws failed-precondition (not running)
 */
export async function attachContainer(
  context: ContainerContext,
  entry: ContainerEntry,
  io: StreamIo,
  options: { signal: AbortSignal },
): Promise<void> {
  const { id, record } = entry;
  const { config } = record;
  try {
    expectRunning(entry);
    const shim = await context.pods.get(record.sandboxId).shim(options);
    const ended = new AbortController();
    const signal = AbortSignal.any([options.signal, ended.signal]);
    using stdin = config.stdin && io.stdin !== undefined ? new InputFifo(stdioPaths(context, id, config).stdin, false) : undefined;
    const input = async (): Promise<void> => {
      if (stdin === undefined || io.stdin === undefined) return;
      await stdin.pump(io.stdin, { signal });
      stdin[Symbol.dispose]();
      // A terminal that goes away is no end of input: the next one attaches to the same shell.
      if (config.stdinOnce && !config.tty) await shim.closeIO(id, {}, { signal: context.shutdown });
    };
    void resizeLoop(shim, id, {}, io.resize, signal).catch(() => {});
    try {
      await context.logger.attach(id, {
        ...(io.stdout !== undefined && { stdout: io.stdout }),
        ...(io.stderr !== undefined && !config.tty && { stderr: io.stderr }),
        // Not before: a process that answers the first line and ends would do so unheard.
        onAttached: () => void input().catch(() => {}),
        signal: options.signal,
      });
    } catch (error) {
      if (!options.signal.aborted) throw error;
    } finally {
      ended.abort();
      io.stdin?.destroy();
      for (const sink of [io.stdout, io.stderr]) if (sink?.writable === true) sink.end();
    }
  } catch (error) {
    throw CridError.from(error, `failed to attach to container ${id}`);
  }
}
