import { CridError } from "../base/errors.ts";
import { mergeEnv } from "./image-config.ts";
import type { OciProcess } from "./spec.ts";

/**
 * The process of an exec: the container's own (user, groups, capabilities, environment, directory, limits) with another command.
 *
 * @throws invalid-argument for an empty command
 */
export function execProcess(container: OciProcess, options: { cmd: readonly string[]; tty: boolean }): OciProcess {
  if (options.cmd.length === 0) throw new CridError("invalid-argument", "cmd: the command is empty");
  for (const word of options.cmd) {
    if (word.includes("\0")) throw new CridError("invalid-argument", "cmd: an argument contains a NUL byte");
  }
  return {
    ...container,
    terminal: options.tty,
    args: [...options.cmd],
    env: options.tty ? mergeEnv(container.env, ["TERM=xterm"]) : container.env,
  };
}
