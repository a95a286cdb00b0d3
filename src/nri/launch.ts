import { Socket } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { CridError } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { waitChild } from "../linux/child.ts";
import { closeFd, pipe } from "../linux/files.ts";
import { posixSpawn } from "../linux/posix-spawn.ts";
import { socketPair } from "../linux/sockets.ts";
import type { Preinstalled } from "./preinstalled.ts";

const SIGTERM_GRACE_MS = 1_000;
const MAX_LINE = 4_096;

/** A plugin's process, and our end of its connection. */
export interface LaunchedPlugin {
  readonly connection: Socket;
  readonly pid: number;
  /** SIGTERM, and SIGKILL when it does not go; resolves when it is gone. */
  end(): Promise<void>;
}

/**
 * Starts a plugin with one end of a socket pair as its descriptor 3. What it prints goes to the log.
 *
 * @throws failed-precondition when it cannot be run
 */
export function launchPlugin(plugin: Preinstalled, log: Logger): LaunchedPlugin {
  const [ours, theirs] = socketPair();
  const output = pipe();
  let pid: number;
  try {
    pid = posixSpawn({
      file: plugin.file,
      argv: [plugin.file],
      // Just these, as other runtimes do.
      env: { NRI_PLUGIN_NAME: plugin.name, NRI_PLUGIN_IDX: plugin.index, NRI_PLUGIN_SOCKET: "3" },
      fds: ["null", output.write, output.write, theirs],
      group: "pgroup",
    });
  } catch (error) {
    closeFd(ours);
    closeFd(output.read);
    throw new CridError("failed-precondition", `start the NRI plugin ${plugin.file}: ${String(error)}`, { cause: error });
  } finally {
    closeFd(theirs);
    closeFd(output.write);
  }
  const who = `${plugin.index}-${plugin.name}`;
  const printed = new Socket({ fd: output.read, readable: true, writable: false });
  printed.on("error", () => {});
  createInterface({ input: printed }).on("line", (line) =>
    log.debug({ plugin: who, line: line.slice(0, MAX_LINE) }, "an NRI plugin prints"),
  );
  let running = true;
  const exited = waitChild(pid).then(
    (state) => {
      running = false;
      printed.destroy();
      log.info({ plugin: who, ...state }, "the process of a pre-installed NRI plugin has ended");
    },
    (error: unknown) => log.error({ plugin: who, err: error }, "waiting for an NRI plugin's process failed"),
  );
  const signal = (name: NodeJS.Signals): void => {
    // Not reaped yet, so the group cannot be someone else's.
    if (running) process.kill(-pid, name);
  };
  return {
    connection: new Socket({ fd: ours }),
    pid,
    end: async () => {
      signal("SIGTERM");
      const over = new AbortController();
      const grace = sleep(SIGTERM_GRACE_MS, undefined, { signal: over.signal }).catch(() => {});
      await Promise.race([exited, grace]);
      over.abort();
      signal("SIGKILL");
      await exited;
    },
  };
}
