import { type Logger, pino } from "pino";
import { CridError } from "./errors.ts";

export type { Logger } from "pino";

/** How the daemon's log looks; see `log` in the configuration. */
export interface LogOptions {
  level: "trace" | "debug" | "info" | "warn" | "error";
  format: "json" | "text";
}

/**
 * The root logger. Writes to stderr synchronously: a daemon that is killed must not lose the line that tells why, and a line
 * costs microseconds. Drivers and services take a child of it.
 */
export function createLogger(options: LogOptions): Logger {
  const settings = {
    level: options.level,
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError },
  };
  if (options.format === "json") return pino(settings, pino.destination({ dest: 2, sync: true }));
  return pino(settings, { write: (line: string) => void process.stderr.write(toText(line)) });
}

/**
 * An error as a log line shows it. A CridError's message says all: what failed, on which id, at which step, why. Anything else
 * nobody foresaw, so it comes with its stack.
 */
function describeError(error: unknown): unknown {
  if (error instanceof CridError) return error.message;
  if (!(error instanceof Error)) return String(error);
  // A system call's error names the call and the path; the stack would only say which of our lines made it.
  return "syscall" in error ? error.message : (error.stack ?? error.message);
}

/** A logger that writes nothing, for tests. */
export function silentLogger(): Logger {
  return pino({ level: "silent" });
}

/** One JSON log line as `TIME LEVEL message key=value ...`. */
function toText(line: string): string {
  const { time, level, msg, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const fields = Object.entries(rest).map(([key, value]) => ` ${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  return `${String(time)} ${String(level).toUpperCase().padEnd(5)} ${String(msg)}${fields.join("")}\n`;
}
