import { appendFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { isErrno } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import { checkBlob, checkLayer, type Finding, type ImageFault, type SumFiles } from "./check.ts";
import type { Collector } from "./collector.ts";
import type { Repair } from "./repair.ts";

/** What is counted of a scrub; see `metrics/`. */
export interface ScrubMetrics {
  verified(kind: "blob" | "layer", result: "ok" | "damaged"): void;
}

export interface ScrubOptions {
  /** Says by being there that a pass is not over, and lists what it has found right so far. */
  file: string;
  content: ContentStore;
  snapshotter: Snapshotter;
  collector: Collector;
  list: () => readonly ImageRecord[];
  /** Reads slowly, in a thread of its own. */
  summer: SumFiles;
  repair: (faults: readonly ImageFault[], o: { signal: AbortSignal }) => AsyncIterable<Repair>;
  metrics?: ScrubMetrics;
  log: Logger;
}

/** What came of a pass. */
export interface ScrubResult {
  verified: number;
  damaged: number;
}

/**
 * Reads every blob and layer once after a stop that was not clean, compares it with its digest or sum, and takes away what is damaged, so
 * that the next pull brings it. A pass that is broken off goes on where it was: what was found right since it began is on the list.
 */
export class Scrub {
  readonly #options: ScrubOptions;

  constructor(options: ScrubOptions) {
    this.#options = options;
  }

  /** A pass has to be made. One that was not over stays what it is: only what came since is new to it. */
  async begin(): Promise<void> {
    const { file } = this.#options;
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    await writeFile(file, "", { flag: "a", mode: 0o600 });
  }

  /** Whether a pass is not over, maybe one of an earlier process. */
  async isPending(): Promise<boolean> {
    return (await this.#done()) !== undefined;
  }

  /** Makes the pass, or the rest of it. @throws the signal's reason: the next call goes on */
  async run(o: { signal: AbortSignal }): Promise<ScrubResult> {
    const { content, snapshotter, file, metrics, log } = this.#options;
    const done = (await this.#done()) ?? new Set<string>();
    const result: ScrubResult = { verified: 0, damaged: 0 };
    const one = async (kind: "blob" | "layer", name: string): Promise<void> => {
      const key = kind === "blob" ? name : `layer ${name}`;
      if (done.has(key)) return;
      o.signal.throwIfAborted();
      const found = await (kind === "blob" ? checkBlob(name, this.#options, o) : checkLayer(name, this.#options, o));
      // Removed meanwhile.
      if (found?.kind === "blob-missing" || found?.kind === "layer-missing") return;
      result.verified++;
      metrics?.verified(kind, found === undefined ? "ok" : "damaged");
      if (found === undefined) return appendFile(file, `${key}\n`);
      result.damaged++;
      await (kind === "blob" ? this.#damagedBlob(name, found, o) : this.#damagedLayer(name, found, o));
    };
    for await (const { digest } of content.list()) await one("blob", digest);
    for (const chainId of snapshotter.layers()) await one("layer", chainId);
    await rm(file, { force: true });
    log.info(result, "blobs and layers are verified after a stop that was not clean");
    return result;
  }

  async #damagedBlob(digest: string, { kind, detail }: Finding, o: { signal: AbortSignal }): Promise<void> {
    const { collector, content, log } = this.#options;
    const faults = this.#faults(({ blobs = [] }) => blobs.includes(digest), { kind, name: digest, detail });
    log.error({ digest, images: faults.map(({ imageId }) => imageId), detail }, "a blob is damaged on disk");
    if (faults.length > 0) return this.#repair(faults, o);
    await collector.guard(
      digest,
      async () => {
        // Looked at again: it may have come anew meanwhile.
        if ((await checkBlob(digest, this.#options, o)) !== undefined) await content.remove(digest);
      },
      o,
    );
  }

  async #damagedLayer(chainId: string, { kind, detail }: Finding, o: { signal: AbortSignal }): Promise<void> {
    const faults = this.#faults(({ chainIds }) => chainIds.includes(chainId), { kind, name: chainId, detail });
    this.#options.log.error({ chainId, images: faults.map(({ imageId }) => imageId), detail }, "a layer is damaged on disk");
    await this.#repair(faults, o);
  }

  async #repair(faults: readonly ImageFault[], o: { signal: AbortSignal }): Promise<void> {
    // Each repair says in the log what became of it.
    for await (const _ of this.#options.repair(faults, o)) o.signal.throwIfAborted();
  }

  #faults(has: (image: ImageRecord) => boolean, fault: Pick<ImageFault, "kind" | "name" | "detail">): ImageFault[] {
    return this.#options
      .list()
      .filter(has)
      .map(({ id: imageId, repoTags }) => ({ imageId, repoTags, ...fault }));
  }

  /** What the pass that is not over has found right; undefined when there is none. */
  async #done(): Promise<Set<string> | undefined> {
    try {
      // A cut may leave a part of a name at the end: it is nobody's.
      return new Set((await readFile(this.#options.file, "utf8")).split("\n"));
    } catch (error) {
      if (isErrno(error, "ENOENT")) return undefined;
      throw error;
    }
  }
}
