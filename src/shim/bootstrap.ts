import { containerd, google } from "../../api/shim/task.js";
import { CridError, messageOf } from "../base/errors.ts";
import type { RuncOptions } from "./task-types.ts";
import { packRuncOptions } from "./wire.ts";

const { BootstrapParams, BootstrapResult, LogLevel } = containerd.runtime.bootstrap.v1;

/** What `start` is told on its standard input. */
export interface BootstrapInput {
  id: string;
  namespace: string;
  debug: boolean;
  eventsAddress: string;
  grpcAddress: string;
  socketDir: string;
  runtimeOptions: RuncOptions;
}

/** The standard input of `start` for shims from 2.3 on: BootstrapParams in protobuf. */
export function encodeBootstrapParams(input: BootstrapInput): Buffer {
  const bytes = BootstrapParams.encode({
    instanceId: input.id,
    namespace: input.namespace,
    logLevel: input.debug ? LogLevel.LOG_LEVEL_DEBUG : LogLevel.LOG_LEVEL_INFO,
    containerdTtrpcAddress: input.eventsAddress,
    containerdGrpcAddress: input.grpcAddress,
    extensions: [{ value: packRuncOptions(input.runtimeOptions) }],
    socketDir: input.socketDir,
  }).finish();
  return Buffer.from(bytes);
}

/** The standard input of `start` for shims before 2.3, which only look for the shim's cgroup in it: the runc options as an Any. */
export function encodeOptions(options: RuncOptions): Buffer {
  return Buffer.from(google.protobuf.Any.encode(packRuncOptions(options)).finish());
}

export interface BootstrapAnswer {
  /** `unix:///...` */
  address: string;
  version: 2 | 3;
  /** The form of the answer, which tells the generation of the shim. */
  form: "text" | "json" | "protobuf";
}

/**
 * Reads the standard output of a shim's `start`. Its first byte tells the form: `u`, plain text of the address (shims before
 * 2.0, task API 2); `{`, JSON (2.0 to 2.2); 0x08, the tag of field 1, protobuf (from 2.3).
 *
 * @throws CridError internal when it is none of these, or not a ttrpc shim on a unix socket.
 */
export function parseBootstrapAnswer(stdout: Buffer): BootstrapAnswer {
  const { version, address, protocol, form } = readAnswer(stdout);
  if (!address.startsWith("unix:///"))
    throw new CridError("internal", `the shim answers at ${JSON.stringify(address)}, which is no unix socket`);
  if (protocol !== "ttrpc") throw new CridError("internal", `the shim speaks ${JSON.stringify(protocol)}; crid needs ttrpc`);
  if (version !== 2 && version !== 3) throw new CridError("internal", `the shim has task API ${version}; crid knows 2 and 3`);
  return { address, version, form };
}

function readAnswer(stdout: Buffer): { version: number; address: string; protocol: string; form: BootstrapAnswer["form"] } {
  try {
    if (stdout[0] === 0x08) {
      const { version, address, protocol } = BootstrapResult.decode(stdout);
      return { version, address, protocol, form: "protobuf" };
    }
    const text = stdout.toString().trim();
    if (text.startsWith("{")) {
      const { version, address, protocol } = JSON.parse(text) as Record<string, unknown>;
      return { version: Number(version), address: String(address), protocol: String(protocol), form: "json" };
    }
    if (text.startsWith("unix://")) return { version: 2, address: text, protocol: "ttrpc", form: "text" };
  } catch (error) {
    throw new CridError("internal", `the shim's answer cannot be read: ${messageOf(error)}`, { cause: error });
  }
  throw new CridError("internal", `the shim's answer is in no known form: ${JSON.stringify(stdout.toString("latin1").slice(0, 200))}`);
}
