import { spawn } from "node:child_process";
import { once } from "node:events";
import { CridError } from "../base/errors.ts";
import type { StreamTargets } from "./streaming-server.ts";

/** For tests: runs commands on this machine, as a container's exec would. Small, and real: processes, pipes, exit codes. */
export class LocalTargets implements StreamTargets {
  /** Sizes that execs were resized to, as "WxH". */
  readonly sizes: string[] = [];
  running = 0;

  async exec(id: string, options: Parameters<StreamTargets["exec"]>[1]): Promise<{ exitCode: number }> {
    if (id !== "c1") throw new CridError("not-found", `container ${id}: not found`);
    const [file = "", ...args] = options.cmd;
    this.running++;
    try {
      const child = spawn(file, args, { stdio: "pipe" });
      child.on("error", () => {});
      child.stdin.on("error", () => {});
      const onAbort = (): void => void child.kill("SIGHUP");
      options.signal.addEventListener("abort", onAbort, { once: true });
      if (options.stdin === undefined) child.stdin.end();
      else options.stdin.pipe(child.stdin);
      for (const [from, to] of [
        [child.stdout, options.stdout],
        [child.stderr, options.stderr],
      ] as const) {
        if (to === undefined) {
          from.resume();
          continue;
        }
        to.on("close", () => from.unpipe(to).resume());
        from.pipe(to);
      }
      if (options.resize !== undefined) void this.#resize(options.resize);
      const [code, signal] = (await once(child, "close")) as [number | null, string | null];
      options.signal.removeEventListener("abort", onAbort);
      return { exitCode: code ?? (signal === "SIGHUP" ? 129 : 137) };
    } catch (error) {
      throw new CridError("internal", `failed to start: ${String(error)}`, { cause: error });
    } finally {
      this.running--;
    }
  }

  async attach(id: string, options: Parameters<StreamTargets["attach"]>[1]): Promise<void> {
    await this.exec(id, { ...options, cmd: ["sh", "-c", "echo attached; cat"] });
  }

  /** The host's own loopback. */
  podNetns(sandboxId: string): string {
    if (sandboxId !== "p1") throw new CridError("not-found", `sandbox ${sandboxId}: not found`);
    return "";
  }

  async #resize(sizes: AsyncIterable<{ width: number; height: number }>): Promise<void> {
    for await (const { width, height } of sizes) this.sizes.push(`${width}x${height}`);
  }
}
