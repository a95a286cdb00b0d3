import type { ParseArgsConfig } from "node:util";
import { CridError } from "../../base/errors.ts";
import { AdminClient } from "./admin-client.ts";

/** Options of every command that talks to the daemon. */
export const connectionOptions = {
  address: { type: "string" },
  config: { type: "string" },
} as const satisfies ParseArgsConfig["options"];

/** How the options stand in a usage line. */
export const connectionUsage = "[--address SOCKET | --config FILE]";

/** The daemon's socket: as told, from $CRID_ADDRESS, or from the configuration. */
export async function socketOf(values: { address?: string | undefined; config?: string | undefined }): Promise<string> {
  const address = values.address ?? (values.config === undefined ? process.env.CRID_ADDRESS : undefined);
  if (address !== undefined && address !== "") return address.replace(/^unix:(\/\/)?/, "");
  const { loadConfig } = await import("../../config/load.ts");
  return loadConfig(values.config === undefined ? {} : { file: values.config }).grpc.address;
}

/** Runs a command against the daemon. An interrupt (Ctrl-C) ends its calls. */
export async function withDaemon<T>(
  values: { address?: string | undefined; config?: string | undefined },
  run: (client: AdminClient, o: { signal: AbortSignal }) => Promise<T>,
): Promise<T> {
  using interrupts = untilInterrupted();
  using client = await AdminClient.connect(await socketOf(values));
  return await run(client, { signal: interrupts.signal });
}

function untilInterrupted(): Disposable & { signal: AbortSignal } {
  const controller = new AbortController();
  const onSignal = (): void => controller.abort(new CridError("canceled", "interrupted"));
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, onSignal);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      for (const name of ["SIGINT", "SIGTERM"] as const) process.off(name, onSignal);
    },
  };
}
