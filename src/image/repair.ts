import { CridError, messageOf } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import type { Logger } from "../base/log.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { Catalog } from "./catalog.ts";
import { checkImages, checkLayer, type ImageFault, type SumFiles } from "./check.ts";
import type { Collector } from "./collector.ts";
import type { LocalImages } from "./local-images.ts";

/**
 * What became of a damaged image.
 * - repaired: everything is there again.
 * - archives-dropped: its layers are fine, so that containers start; some blobs are lost, which only an export needs.
 * - dropped: it cannot be had again; it is gone, so that the next pull brings it.
 * - in use: a damaged layer is under a container that runs. Nothing was done.
 */
export type RepairOutcome = "repaired" | "archives-dropped" | "dropped" | "in-use";

export interface Repair {
  imageId: string;
  /** Its names, as they were. */
  repoTags: string[];
  outcome: RepairOutcome;
  /** Why it was not repaired; which container uses it. */
  detail: string;
}

export interface RepairRun {
  /** Ask no registry. */
  offline?: boolean;
  signal: AbortSignal;
}

export interface RepairerOptions {
  summer: SumFiles;
  content: ContentStore;
  snapshotter: Snapshotter;
  catalog: Catalog;
  collector: Collector;
  local: LocalImages;
  pull: (ref: string, o: { signal: AbortSignal }) => Promise<ImageRecord>;
  remove: (id: string, o: { signal: AbortSignal }) => Promise<void>;
  log: Logger;
}

/** Mends what `checkImages` has found: out of the blobs that are here if they suffice, else from the registry, else by giving up the image. */
export class Repairer {
  readonly #options: RepairerOptions;

  constructor(options: RepairerOptions) {
    this.#options = options;
  }

  /** Repairs each of the images that the faults are of. The first of them that shares a part mends it for the others. */
  async *repair(faults: readonly ImageFault[], o: RepairRun): AsyncGenerator<Repair> {
    for (const [imageId, own] of Map.groupBy(faults, (fault) => fault.imageId)) {
      const record = this.#options.catalog.record(imageId);
      if (record === undefined) continue;
      const { repoTags } = record;
      const repair = { imageId, repoTags, ...(await this.#one(record, own, o)) };
      this.#options.log.info(repair, "repaired an image");
      yield repair;
    }
  }

  async #one(record: ImageRecord, known: readonly ImageFault[], o: RepairRun): Promise<Pick<Repair, "outcome" | "detail">> {
    // What else is wrong with it stands in the way of making it anew.
    const faults = [...known, ...(await this.#faultsOf(record, o))];
    const user = this.#userOf(faults);
    if (user !== undefined) return { outcome: "in-use", detail: `${user} runs on a damaged layer: remove it, then repair again` };
    await this.#drop(faults, o);
    await failpoint("image.repair.after-drop", o);
    const reasons: string[] = [];
    for (const attempt of this.#attempts(record, o)) {
      if ((await this.#faultsOf(record, o)).length === 0) break;
      try {
        await attempt();
      } catch (error) {
        o.signal.throwIfAborted();
        reasons.push(messageOf(error));
      }
    }
    const left = await this.#faultsOf(record, o);
    await failpoint("image.repair.before-outcome", o);
    if (left.length === 0) return { outcome: "repaired", detail: "" };
    const detail = reasons.join("; ") || (o.offline === true ? "the next pull brings it" : "it has no name to pull it by");
    if (left.every(({ kind }) => kind === "blob-missing" || kind === "blob-damaged")) {
      this.#options.catalog.forgetBlobs(record.id, new Set(left.map(({ name }) => name)));
      return { outcome: "archives-dropped", detail };
    }
    await this.#options.remove(record.id, o);
    return { outcome: "dropped", detail };
  }

  /** By digest: the image that is here is wanted, not the one that its tag names by now. */
  #attempts(record: ImageRecord, o: RepairRun): (() => Promise<unknown>)[] {
    const { catalog, local, pull } = this.#options;
    const again = (): ImageRecord => {
      const current = catalog.record(record.id);
      if (current === undefined) throw new CridError("not-found", "it was removed meanwhile");
      return current;
    };
    const here = (): Promise<unknown> => local.make([record.manifestDigest], again, o);
    return o.offline === true ? [here] : [here, ...record.repoDigests.map((ref) => async () => void (await pull(ref, o)))];
  }

  async #faultsOf({ id }: ImageRecord, o: { signal: AbortSignal }): Promise<ImageFault[]> {
    const record = this.#options.catalog.record(id);
    return record === undefined ? [] : checkImages([record], this.#options, o);
  }

  async #drop(faults: readonly ImageFault[], o: { signal: AbortSignal }): Promise<void> {
    const { content, collector } = this.#options;
    for (const { kind, name } of faults) {
      if (kind === "blob-damaged") await collector.guard(name, () => content.remove(name), o);
      // Looked at again: another image's repair may have mended it by now.
      if (kind === "layer-damaged") await collector.guard(name, () => this.#dropLayer(name, o), o);
    }
  }

  async #dropLayer(chainId: string, o: { signal: AbortSignal }): Promise<void> {
    const { snapshotter } = this.#options;
    if ((await checkLayer(chainId, this.#options, o))?.kind === "layer-damaged") await snapshotter.removeLayer(chainId);
  }

  /** A root file system on a damaged layer, if any. */
  #userOf(faults: readonly ImageFault[]): string | undefined {
    const { snapshotter } = this.#options;
    const damaged = new Set(faults.filter(({ kind }) => kind === "layer-damaged").map(({ name }) => name));
    return snapshotter.keys().find((key) => snapshotter.chainIdsOf(key).some((chainId) => damaged.has(chainId)));
  }
}
