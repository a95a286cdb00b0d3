import { spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import { join } from "node:path";
import type { CommandResult, TestNode } from "./node.ts";

/** The built `crid`. */
export const cridProgram = join(import.meta.dirname, "../../../dist/bin/crid");

/** Runs a program with a file as its stdin; does not throw when it fails. */
export async function runWithInput(file: string, args: readonly string[], input?: string): Promise<CommandResult> {
  const child = spawn(file, args, { stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"] });
  if (input !== undefined && child.stdin !== null) {
    child.stdin.on("error", () => undefined);
    createReadStream(input).pipe(child.stdin);
  }
  const read = async (stream: AsyncIterable<Buffer> | null): Promise<string> => {
    const chunks: Buffer[] = [];
    for await (const chunk of stream ?? []) chunks.push(chunk);
    return Buffer.concat(chunks).toString("utf8");
  };
  const exited = new Promise<number>((resolve) => child.once("close", (code) => resolve(code ?? 1)));
  const [stdout, stderr, status] = await Promise.all([read(child.stdout), read(child.stderr), exited]);
  return { status, stdout, stderr };
}

/** Runs a program that must succeed; answers its output without the last newline. */
export async function runs(file: string, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await runWithInput(file, args);
  if (status !== 0) throw new Error(`${file} ${args.join(" ")}: ${stderr}${stdout}`);
  return stdout.trimEnd();
}

/** `crid ARGS` against the node's daemon; does not throw when it fails. */
export async function tryCrid(node: TestNode, args: readonly string[], input?: string): Promise<CommandResult> {
  return runWithInput(cridProgram, [...args, "--address", node.socket], input);
}

/** `crid ARGS` that must succeed; answers its output without the last newline. */
export async function crid(node: TestNode, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await tryCrid(node, args);
  if (status !== 0) throw new Error(`crid ${args.join(" ")}: ${stderr}${stdout}`);
  return stdout.trimEnd();
}

/** `crid ARGS --json`, parsed. */
export async function cridJson<T>(node: TestNode, ...args: string[]): Promise<T> {
  return JSON.parse(await crid(node, ...args, "--json")) as T;
}
