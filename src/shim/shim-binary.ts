import { stat } from "node:fs/promises";
import { containerd } from "../../api/shim/task.js";
import { CridError, isErrno, messageOf } from "../base/errors.ts";
import { nowNanos } from "../base/time.ts";
import { type SpawnResult, spawnProcess } from "../linux/spawn.ts";
import { type BootstrapAnswer, encodeBootstrapParams, encodeOptions, parseBootstrapAnswer } from "./bootstrap.ts";
import type { DeletedTask, RuncOptions } from "./task-types.ts";
import { toNanos } from "./wire.ts";

/** What all shims of one daemon have in common. */
export interface ShimSetting {
  namespace: string;
  /** The `-address` flag. The shim never connects to it; it only tells the sockets of two daemons apart. */
  grpcAddress: string;
  /** The path of the event server's socket. */
  eventsAddress: string;
  socketDir: string;
  debug: boolean;
}

/** `start` forks the shim and answers in some 15 ms; `delete` runs the OCI runtime and unmounts. */
const startTimeoutMs = 30_000;
const deleteTimeoutMs = 30_000;

/**
 * What shim binaries take on the standard input of `start`, learnt by trying. "params": BootstrapParams, needed from 2.4 on, taken
 * since 2.3. "options": the runc options as an Any, which those before 2.3 understand; 1.6 fails on anything else.
 */
type StdinForm = "params" | "options";

/** Runs `start` of shim binaries, and remembers what each takes. */
export class ShimStarter {
  readonly #setting: ShimSetting;
  readonly #forms = new Map<string, StdinForm>();

  constructor(setting: ShimSetting) {
    this.#setting = setting;
  }

  /**
   * There is a shim for the id's group after it: a new one, or the one that runs already.
   *
   * @param shim.bundle the working directory of the shim; it holds config.json and the fifo `log`, open for reading.
   * @throws CridError failed-precondition when there is no such binary, internal with the shim's words.
   */
  async start(
    shim: { id: string; bundle: string; binary: string; runtimeOptions: RuncOptions },
    options: { signal?: AbortSignal },
  ): Promise<BootstrapAnswer> {
    const form = this.#forms.get(shim.binary) ?? "params";
    let result = await this.#try(shim, form, options);
    // A binary may also be replaced by another version while the daemon runs.
    if (result.status !== 0 && wantsOtherStdin(result)) result = await this.#try(shim, form === "params" ? "options" : "params", options);
    if (result.status !== 0) throw new CridError("internal", `${shim.binary} start ${ending(result)}`);
    const answer = parseBootstrapAnswer(result.stdout);
    this.#forms.set(shim.binary, answer.form === "protobuf" ? "params" : "options");
    return answer;
  }

  #try(
    shim: { id: string; bundle: string; binary: string; runtimeOptions: RuncOptions },
    form: StdinForm,
    options: { signal?: AbortSignal },
  ): Promise<SpawnResult> {
    const { id, runtimeOptions } = shim;
    const stdin = form === "params" ? encodeBootstrapParams({ ...this.#setting, id, runtimeOptions }) : encodeOptions(runtimeOptions);
    return run(this.#setting, shim, "start", { stdin, timeoutMs: startTimeoutMs, ...options });
  }
}

/** 1.6 finds a type that it does not know where the id stands; from 2.4 on an Any is not what was expected. */
function wantsOtherStdin(result: SpawnResult): boolean {
  return /type with url .*not found|deprecated API|failed to unmarshal bootstrap|do not match command-line/.test(result.stderr.toString());
}

/**
 * Runs a shim binary's `delete`, which cleans up after a shim that is gone: it kills the container, removes the OCI runtime's
 * state of it and unmounts its root file system. The exit status is 137 unless the shim had written down the true one.
 *
 * @throws CridError not-found when there is no such bundle.
 */
export async function runShimDelete(
  setting: ShimSetting,
  task: { id: string; bundle: string; binary: string },
  options: { signal?: AbortSignal },
): Promise<DeletedTask> {
  const result = await run(setting, task, "delete", { timeoutMs: deleteTimeoutMs, ...options });
  // Shims of 1.6 and 1.7 fail where no Create has come as far as to write down the runtime; nothing is mounted before that, and no runtime was run.
  if (result.status !== 0 && /open .*\/runtime: no such file/.test(result.stderr.toString()))
    return { pid: 0, exitStatus: 137, exitedAt: nowNanos() };
  if (result.status !== 0) throw new CridError("internal", `${task.binary} delete ${ending(result)}`);
  try {
    const { pid, exitStatus, exitedAt } = containerd.task.v3.DeleteResponse.decode(result.stdout);
    return { pid, exitStatus, exitedAt: toNanos(exitedAt) };
  } catch (error) {
    throw new CridError("internal", `the answer of ${task.binary} delete cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

async function run(
  setting: ShimSetting,
  shim: { id: string; bundle: string; binary: string },
  action: "start" | "delete",
  options: { stdin?: Buffer; timeoutMs: number; signal?: AbortSignal },
): Promise<SpawnResult> {
  const args = ["-namespace", setting.namespace, "-address", setting.grpcAddress, "-publish-binary", process.execPath, "-id", shim.id];
  if (action === "delete") args.push("-bundle", shim.bundle);
  if (setting.debug) args.push("-debug");
  args.push(action);
  try {
    return await spawnProcess({ file: shim.binary, args, env: environment(setting), cwd: shim.bundle, pgroup: true, ...options });
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "EACCES") || isErrno(error, "ENOTDIR")) throw await whyNotStarted(shim, error);
    throw error;
  }
}

/** A start fails alike for a missing program and a missing working directory. */
async function whyNotStarted(shim: { bundle: string; binary: string }, error: unknown): Promise<CridError> {
  const bundle = await stat(shim.bundle).catch(() => undefined);
  if (bundle?.isDirectory() !== true) return new CridError("not-found", `there is no bundle ${shim.bundle}`, { cause: error });
  return new CridError(
    "failed-precondition",
    `the shim ${shim.binary} cannot be started (${messageOf(error)}): install it, or set runtime.handlers.<name>.shim to its path`,
    { cause: error },
  );
}

/** The OCI runtime is found by PATH; nothing else of the daemon's own environment is the shim's business. */
function environment(setting: ShimSetting): Record<string, string> {
  const env: Record<string, string> = {
    TTRPC_ADDRESS: setting.eventsAddress,
    GRPC_ADDRESS: setting.grpcAddress,
    NAMESPACE: setting.namespace,
    GOMAXPROCS: "2",
    MAX_SHIM_VERSION: "2",
  };
  for (const name of ["PATH", "HOME", "TMPDIR"]) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  return env;
}

/** "failed with status 1: no such runtime"; a shim prints one line of its own, after its name. */
function ending(result: SpawnResult): string {
  const words = result.stderr
    .toString()
    .trim()
    .replace(/^(io\.containerd\.)?[\w.-]+: /, "");
  const how = result.signal === null ? `failed with status ${result.status}` : `was killed by ${result.signal}`;
  return words === "" ? how : `${how}: ${words.slice(-1000)}`;
}
