import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { CridError, isErrno } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { type SpawnResult, spawnProcess } from "../linux/spawn.ts";
import type { Descriptor } from "../registry/descriptor.ts";
import { formatReference, type Reference } from "../registry/reference.ts";

/** Called with what a reference resolved to. @throws permission-denied when the image must not be pulled */
export type VerifyImage = (ref: Reference, descriptor: Descriptor, o: { signal: AbortSignal }) => Promise<void>;

/** off: not asked. warn: asked, and a refusal is only logged. enforce: a refusal refuses the pull. */
export type VerifierPolicy = "off" | "warn" | "enforce";

export interface VerifierOptions {
  /** Every file in it is a verifier; they are asked in the order of their names. */
  dir: string;
  /** For each. */
  timeoutMs: number;
  /** How many are asked; negative = all. */
  maxVerifiers: number;
  /** By registry host; `*` for the others. Without any, "enforce" as far as there are verifiers. */
  policies: Readonly<Record<string, VerifierPolicy>>;
  log: Logger;
}

/** What is kept of what a verifier writes. */
const maxOutput = 32 * 1024;
const descriptorType = "application/vnd.oci.descriptor.v1+json";

/**
 * Asks programs whether an image may be pulled, as containerd's "bindir" image verifier does (containerd,
 * docs/image-verification.md): `-name REF -digest DIGEST -stdin-media-type TYPE`, the descriptor as JSON on stdin; exit code 0 allows,
 * any other refuses; what it writes to stdout is the reason. All have to allow. One that cannot be run, or takes too long, refuses.
 *
 * Where containerd lets everything through when there is no verifier, a registry whose policy is set to enforce is refused then: a
 * directory that is not mounted must not turn the check off.
 */
export class ImageVerifiers {
  readonly #options: VerifierOptions;

  constructor(options: VerifierOptions) {
    this.#options = options;
  }

  readonly verify: VerifyImage = async (ref, descriptor, o) => {
    const { policies, log } = this.#options;
    const name = formatReference(ref);
    const chosen = policies[ref.domain] ?? policies["*"];
    if (chosen === "off") return;
    try {
      const reason = await this.#ask(name, descriptor, { mustHave: chosen === "enforce", signal: o.signal });
      if (reason !== undefined) log.info({ ref: name, digest: descriptor.digest, reason }, "verified");
    } catch (error) {
      o.signal.throwIfAborted();
      if (chosen !== "warn") throw CridError.from(error, "verify image");
      log.warn({ ref: name, digest: descriptor.digest, err: error }, "an image that its verifiers refuse is pulled: the policy is warn");
    }
  };

  /** @returns why it is allowed; undefined when there is nobody to ask */
  async #ask(name: string, descriptor: Descriptor, o: { mustHave: boolean; signal: AbortSignal }): Promise<string | undefined> {
    const { dir, maxVerifiers, log } = this.#options;
    const all = await this.#programs();
    if (all.length === 0) {
      if (!o.mustHave) return undefined;
      throw new CridError("failed-precondition", `the policy is enforce, and there is no verifier in ${dir}`);
    }
    const asked = maxVerifiers < 0 ? all : all.slice(0, maxVerifiers);
    if (asked.length < all.length)
      log.warn({ dir, skipped: all.slice(asked.length) }, "image.verifier.maxVerifiers: not all verifiers are asked");
    const reasons: string[] = [];
    for (const program of asked) reasons.push(`${program} => ${await this.#run(program, name, descriptor, o)}`);
    return reasons.join(", ");
  }

  async #programs(): Promise<string[]> {
    try {
      return (await readdir(this.#options.dir)).sort();
    } catch (error) {
      if (isErrno(error, "ENOENT")) return [];
      throw CridError.from(error, `list the verifiers in ${this.#options.dir}`);
    }
  }

  async #run(program: string, name: string, { mediaType, digest, size }: Descriptor, o: { signal: AbortSignal }): Promise<string> {
    const { dir, timeoutMs, log } = this.#options;
    let result: SpawnResult;
    try {
      result = await spawnProcess({
        file: join(dir, program),
        args: ["-name", name, "-digest", digest, "-stdin-media-type", descriptorType],
        env: environment(),
        stdin: Buffer.from(`${JSON.stringify({ mediaType, digest, size })}\n`),
        pgroup: true,
        timeoutMs,
        maxOutput,
        signal: o.signal,
      });
    } catch (error) {
      o.signal.throwIfAborted();
      const failed = CridError.from(error);
      const kind = failed.kind === "deadline-exceeded" ? "deadline-exceeded" : "failed-precondition";
      throw new CridError(kind, `verifier ${program}: ${failed.message}`, { cause: error });
    }
    if (result.stderr.length > 0) log.debug({ verifier: program, stderr: result.stderr.toString("utf8") }, "a verifier's stderr");
    const reason = `${result.stdout.toString("utf8").trim()}${result.truncated ? "(output truncated)" : ""}`;
    if (result.status === 0) return reason;
    const how = result.status === null ? `ended by ${result.signal ?? "a signal"}` : `exit code ${result.status}`;
    throw new CridError("permission-denied", `verifier ${program} rejected ${name}@${digest} (${how}): ${reason}`);
  }
}

function environment(): Record<string, string> {
  return Object.fromEntries(Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
