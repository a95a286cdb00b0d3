import { spawn } from "node:child_process";

export interface CommandResult {
  /** Exit status; 128 + n for a signal, 124 when it ran into its time limit. */
  status: number;
  stdout: string;
  stderr: string;
}

export interface CommandOptions {
  /** Goes to the command's standard input, which is empty otherwise. */
  input?: string;
  timeoutMs?: number;
  env?: NodeJS.ProcessEnv;
}

/** Runs a command to its end; a failing one does not throw. Output is kept whole. */
export function run(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [file = "", ...args] = argv;
  const { promise, resolve } = Promise.withResolvers<CommandResult>();
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"], env: options.env ?? process.env });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, options.timeoutMs ?? 60_000);
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  const end = (status: number, extra = ""): void => {
    clearTimeout(timer);
    resolve({ status, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() + extra });
  };
  child.once("error", (error) => end(127, error.message));
  child.once("close", (code, signal) => {
    if (late) end(124, `\nkilled after ${(options.timeoutMs ?? 60_000) / 1000} s`);
    else end(code ?? (signal === null ? 1 : 128));
  });
  return promise;
}

/** Runs a command and answers its standard output. @throws with what it printed when it fails */
export async function must(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { status, stdout, stderr } = await run(argv, options);
  if (status !== 0) throw new Error(`${argv.join(" ").slice(0, 300)}: status ${status}: ${(stderr + stdout).trim().slice(-3000)}`);
  return stdout;
}

/**
 * Asks until the answer is not undefined. @throws after `timeoutMs`, with what `state` says then
 */
export async function until<T>(
  what: string,
  timeoutMs: number,
  ask: () => Promise<T | undefined>,
  state?: () => Promise<string>,
): Promise<T> {
  const end = Date.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) break;
    await pause(300);
  }
  const detail = state === undefined ? "" : `: ${await state().catch(String)}`;
  throw new Error(`waited ${timeoutMs / 1000} s for ${what}${detail}${last === undefined ? "" : ` (last: ${String(last)})`}`);
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
