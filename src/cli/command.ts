import { CridError } from "../base/errors.ts";

/** One subcommand of `crid`. */
export interface Command {
  /** What stands behind `crid NAME` in the usage. */
  usage: string;
  /** One line for the list of commands. */
  summary: string;
  /** What `--help` prints, where that is more than usage and summary. */
  help?(args: string[]): Promise<string>;
  /** @returns the exit code. @throws CridError: its message is printed and the exit code is 1 */
  run(args: string[]): Promise<number>;
}

/** A wrong way to call crid. */
export function usageError(problem: string): CridError {
  return new CridError("invalid-argument", `${problem}; see crid --help`);
}
