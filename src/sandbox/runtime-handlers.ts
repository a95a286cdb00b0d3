import { accessSync, constants, statSync } from "node:fs";
import path from "node:path";
import { CridError } from "../base/errors.ts";
import type { RuncOptions } from "../shim/task-types.ts";
import type { HandlerConfig, SandboxSettings } from "./deps.ts";

/** A runtime handler with the binaries found. */
export interface RuntimeHandler {
  name: string;
  /** The absolute path of the shim. */
  shimBinary: string;
  options: RuncOptions;
  /** Patterns of annotations that reach the OCI spec; see `passedOn`. */
  podAnnotations: readonly string[];
  containerAnnotations: readonly string[];
}

/** What of the settings concerns handlers. */
export type HandlerSettings = Pick<SandboxSettings, "handlers" | "defaultHandler" | "runtimeRoot" | "cgroupDriver">;

/**
 * The handler that a pod asks for; "" asks for the default.
 *
 * @throws invalid-argument for a handler that is not configured, failed-precondition when its shim or OCI runtime is missing.
 * Looked up each time, so that a mended machine needs no restart.
 */
export function runtimeHandler(name: string, settings: HandlerSettings): RuntimeHandler {
  const known = name === "" ? settings.defaultHandler : name;
  const config = Object.hasOwn(settings.handlers, known) ? settings.handlers[known] : undefined;
  if (config === undefined) {
    throw new CridError(
      "invalid-argument",
      `runtime_handler: "${known}" is not configured (there are: ${Object.keys(settings.handlers).join(", ")}); add it to runtime.handlers`,
    );
  }
  return {
    name: known,
    shimBinary: findBinary(config.shim, `shim of runtime handler ${known}`, `runtime.handlers.${known}.shim`),
    options: runtimeOptions(known, config, settings),
    podAnnotations: config.podAnnotations,
    containerAnnotations: config.containerAnnotations,
  };
}

function runtimeOptions(name: string, config: HandlerConfig, settings: HandlerSettings): RuncOptions {
  const { options } = config;
  return {
    binaryName: findBinary(config.binary, `OCI runtime of runtime handler ${name}`, `runtime.handlers.${name}.binary`),
    root: options.Root === "" ? settings.runtimeRoot : options.Root,
    systemdCgroup: options.SystemdCgroup ?? settings.cgroupDriver === "systemd",
    noPivotRoot: options.NoPivotRoot,
    noNewKeyring: options.NoNewKeyring,
    shimCgroup: options.ShimCgroup,
    ioUid: options.IoUid,
    ioGid: options.IoGid,
  };
}

function findBinary(name: string, what: string, key: string): string {
  if (name.includes("/")) {
    if (isExecutable(name)) return path.resolve(name);
    throw new CridError("failed-precondition", `${what}: ${name} is missing or not executable; install it or change ${key}`);
  }
  const searched = (process.env.PATH ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").split(":");
  for (const dir of searched) {
    const candidate = path.join(dir, name);
    if (path.isAbsolute(candidate) && isExecutable(candidate)) return candidate;
  }
  throw new CridError("failed-precondition", `${what}: no ${name} in ${searched.join(":")}; install it or set ${key} to its path`);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
