import type { ContainerContext } from "./context.ts";
import type { ContainerEntry } from "./entry.ts";
import { runExec } from "./exec.ts";
import { CappedBuffer } from "./exec-io.ts";

/** The CRI's limit for each output (ExecSyncResponse; CVE-2022-1708). What is beyond is dropped and the command goes on. */
const OUTPUT_LIMIT = 16 * 1024 * 1024;

export interface ExecSyncResult {
  stdout: Buffer;
  stderr: Buffer;
  exitCode: number;
}

export async function execSync(
  context: ContainerContext,
  entry: ContainerEntry,
  request: { cmd: readonly string[]; timeoutMs: number },
  options: { signal: AbortSignal },
): Promise<ExecSyncResult> {
  const stdout = new CappedBuffer(OUTPUT_LIMIT);
  const stderr = new CappedBuffer(OUTPUT_LIMIT);
  const { exitCode } = await runExec(context, entry, { ...request, tty: false, stdout, stderr }, options);
  return { stdout: stdout.content(), stderr: stderr.content(), exitCode };
}
