import { constants } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import { isErrno } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { mkfifo, openFd } from "../linux/files.ts";

/** A line this long without an end is logged in pieces. */
const maxLine = 16 << 10;

/**
 * The fifo `log` of a bundle, which the shim takes as its stderr. It must be there and open for reading before the shim
 * starts: the shim's own open waits for a reader. Held open for reading and writing, so it never ends.
 */
export class ShimLog {
  readonly #socket: Socket;
  #rest = "";

  /**
   * Makes the fifo if it is not there and starts reading. What the shim says goes to `log`.
   *
   * @throws the errno error when the bundle does not exist.
   */
  constructor(bundle: string, log: Logger) {
    const path = join(bundle, "log");
    try {
      mkfifo(path, 0o600);
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
    }
    // Not through fs: a read of a fifo would hold a thread of the pool until the shim says something.
    const fd = openFd(path, constants.O_RDWR | constants.O_NONBLOCK);
    this.#socket = new Socket({ fd, readable: true, writable: false });
    this.#socket.on("error", (error) => log.debug({ err: error }, "the shim's log cannot be read any more"));
    this.#socket.setEncoding("utf8");
    this.#socket.on("data", (text: string) => {
      for (const line of this.#lines(text)) writeLine(line, log);
    });
    this.#socket.unref();
  }

  /** What is in the fifo now is still logged. */
  close(): void {
    setImmediate(() => this.#socket.destroy());
  }

  #lines(text: string): string[] {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > maxLine) {
      lines.push(this.#rest);
      this.#rest = "";
    }
    return lines;
  }
}

export interface ShimLogLine {
  /** "" when the line is not in the shim's log format: a Go panic, or words of the OCI runtime. */
  level: string;
  message: string;
  fields: Record<string, string>;
}

/** Takes one line of logrus' text format apart: `time="..." level=info msg="..." key=value`. */
export function parseShimLogLine(line: string): ShimLogLine {
  const fields: Record<string, string> = {};
  for (const [, key, quoted, bare] of line.matchAll(/([A-Za-z_][\w.-]*)=(?:"((?:[^"\\]|\\.)*)"|(\S*))/g)) {
    if (key !== undefined) fields[key] = quoted === undefined ? (bare ?? "") : unquote(quoted);
  }
  const { level = "", msg = "", time: _time, ...rest } = fields;
  if (!/^(trace|debug|info|warning|error|fatal|panic)$/.test(level)) return { level: "", message: line, fields: {} };
  return { level, message: msg, fields: rest };
}

function unquote(text: string): string {
  return text.replace(/\\(.)/g, (_all, char: string) => (char === "n" ? "\n" : char === "t" ? "\t" : char));
}

/** What is routine for a shim is only of interest when looking for a fault. */
function writeLine(line: string, log: Logger): void {
  if (line === "") return;
  const { level, message, fields } = parseShimLogLine(line);
  if (level === "trace" || level === "debug" || level === "info") log.debug(fields, `shim: ${message}`);
  else if (level === "warning") log.info(fields, `shim: ${message}`);
  else log.warn(fields, `shim: ${message}`);
}
