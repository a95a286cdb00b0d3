import { flushCompileCache } from "node:module";
import { parseArgs } from "node:util";
import type { Command } from "./command.ts";

export const command: Command = {
  usage: "[--config FILE]",
  summary: "Serves the CRI. SIGTERM stops it and leaves pods running.",
  async run(args) {
    const { values } = parseArgs({ args, options: { config: { type: "string" } } });
    const [{ loadConfig }, { createLogger }, { startDaemon }, { sdNotify }] = await Promise.all([
      import("../config/load.ts"),
      import("../base/log.ts"),
      import("../daemon.ts"),
      import("../linux/sdnotify.ts"),
    ]);
    const config = loadConfig(values.config === undefined ? {} : { file: values.config });
    const log = createLogger(config.log);
    // Modes of files are what the code says, whatever the caller's shell had.
    process.umask(0o022);
    // One call that nobody waited for must not end the daemon; a throw out of nowhere must, as nothing can be relied on after it.
    process.on("unhandledRejection", (error) => log.error({ err: error }, "a failure that nobody waited for"));
    process.on("uncaughtException", (error) => {
      log.error({ err: error }, "fatal; pods keep running");
      process.exit(1);
    });
    const stop = untilSignal();
    const daemon = await startDaemon({ config, log, self: [process.execPath, ...process.execArgv, process.argv[1] ?? ""] });
    tell("READY=1");
    // See main.ts. Node keeps it at the exit only, and a daemon's may be a kill.
    setTimeout(flushCompileCache, 10_000).unref();
    log.info(`stopping: ${await stop}`);
    tell("STOPPING=1");
    await daemon.close();
    log.info("stopped; pods keep running");
    return 0;

    function tell(state: string): void {
      try {
        sdNotify(state);
      } catch (error) {
        log.warn({ err: error, state }, "the service manager was not told");
      }
    }
  },
};

/** Resolves with the name of the first signal that asks the daemon to stop. A second one ends it at once. */
function untilSignal(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.once(name, () => {
      resolve(name);
      process.once(name, () => process.exit(1));
    });
  }
  return promise;
}
