import { join } from "node:path";
import { parseArgs } from "node:util";
import { isErrno } from "../base/errors.ts";
import { type Command, usageError } from "./command.ts";

export const command: Command = {
  usage: "--state DIR [--stop]",
  summary: "Writes the containers' logs. The daemon starts it; --stop ends the one of a state directory.",
  async run(args) {
    const { values } = parseArgs({ args, options: { state: { type: "string" }, stop: { type: "boolean", default: false } } });
    if (values.state === undefined) throw usageError("logger needs --state DIR");
    if (values.stop) {
      await stopLogger(values.state);
      return 0;
    }
    const { runLogger } = await import("../logger/process/run-logger.ts");
    await runLogger({ stateDir: values.state });
    return 0;
  },
};

/** Ends the logger of a state directory; one that does not run is fine. */
async function stopLogger(stateDir: string): Promise<void> {
  const { LoggerConnection } = await import("../logger/logger-connection.ts");
  const { LOGGER_SOCKET } = await import("../logger/protocol.ts");
  let connection: Awaited<ReturnType<typeof LoggerConnection.open>>;
  try {
    connection = await LoggerConnection.open(join(stateDir, LOGGER_SOCKET));
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ECONNREFUSED")) return;
    throw error;
  }
  await connection.call("shutdown", {}).catch(() => {});
  await connection.closed;
}
