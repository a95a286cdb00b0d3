import { CridError } from "../base/errors.ts";
import type { ContainerConfig } from "../records/container-config.ts";
import type { ImageConfig } from "../records/image-record.ts";

const DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * The argument vector: the CRI's command replaces the image's entrypoint *and* its cmd; the CRI's args replace only the cmd.
 *
 * @throws invalid-argument when nothing is left to run
 */
export function processArgs(config: Pick<ContainerConfig, "command" | "args">, image: Pick<ImageConfig, "entrypoint" | "cmd">): string[] {
  let command = config.command;
  let args = config.args;
  if (command.length === 0) {
    if (args.length === 0) args = image.cmd;
    // An entrypoint of one empty string is how a Dockerfile clears that of its base image.
    if (!(image.entrypoint.length === 1 && image.entrypoint[0] === "")) command = image.entrypoint;
  }
  const all = [...command, ...args];
  if (all.length === 0) {
    throw new CridError("invalid-argument", "no command specified: neither the request nor the image has a command, and there are no args");
  }
  return all;
}

/**
 * The environment, later ones winning: PATH, TERM (with a terminal), HOSTNAME, the image's, the request's. A name without "=" removes it.
 *
 * The specification is JSON, so bytes that are not UTF-8 arrive as U+FFFD; their names are in `lossy`.
 *
 * @throws invalid-argument for a name or value that execve(2) could not carry
 */
export function processEnv(input: { env: ContainerConfig["env"]; image: Pick<ImageConfig, "env">; hostname: string; terminal: boolean }): {
  env: string[];
  lossy: string[];
} {
  const lossy: string[] = [];
  const own = input.env.map(({ name, valueBase64 }) => {
    const bytes = Buffer.from(valueBase64, "base64");
    if (name === "" || name.includes("=") || name.includes("\0")) {
      throw new CridError("invalid-argument", `env: the name ${JSON.stringify(name)} is empty or contains "=" or NUL`);
    }
    if (bytes.includes(0)) throw new CridError("invalid-argument", `env ${name}: the value contains a NUL byte`);
    const value = bytes.toString("utf8");
    if (!Buffer.from(value, "utf8").equals(bytes)) lossy.push(name);
    return `${name}=${value}`;
  });
  const defaults = [DEFAULT_PATH, ...(input.terminal ? ["TERM=xterm"] : []), `HOSTNAME=${input.hostname}`];
  return { env: mergeEnv(defaults, [...input.image.env, ...own]), lossy };
}

/** Puts `changes` over `base`: `K=V` replaces in place or appends, `K` removes. */
export function mergeEnv(base: readonly string[], changes: readonly string[]): string[] {
  const byName = new Map<string, string>();
  for (const entry of [...base, ...changes]) {
    const at = entry.indexOf("=");
    if (at < 0) byName.delete(entry);
    else byName.set(entry.slice(0, at), entry);
  }
  return [...byName.values()];
}

/** The working directory: the request's, else the image's, else the root. */
export function processCwd(config: Pick<ContainerConfig, "workingDir">, image: Pick<ImageConfig, "workingDir">): string {
  const cwd = config.workingDir || image.workingDir || "/";
  if (!cwd.startsWith("/")) throw new CridError("invalid-argument", `working directory "${cwd}" is not an absolute path`);
  return cwd;
}
