import { CridError } from "../base/errors.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { Descriptor } from "../registry/descriptor.ts";
import type { Assembler, Found } from "./assemble.ts";
import type { PulledImage } from "./catalog.ts";
import { localSource } from "./local-source.ts";
import { parseManifest, parseObject } from "./manifest.ts";
import type { Platform } from "./platform.ts";
import { PullProgress } from "./progress.ts";

/** A manifest that is larger is none that a pull would have taken. */
export const maxLocalManifestBytes = 4 * 1024 * 1024;

/** Makes an image, its layers and its record, out of blobs that are here. */
export class LocalImages {
  readonly #content: ContentStore;
  readonly #assembler: Assembler;
  readonly #platform: Platform;

  constructor(options: { content: ContentStore; assembler: Assembler; platform: Platform }) {
    this.#content = options.content;
    this.#assembler = options.assembler;
    this.#platform = options.platform;
  }

  /**
   * @param documents digests of the index, if any, and the manifest
   * @throws not-found when a blob is missing; data-loss when one is damaged or is no manifest; failed-precondition for another platform
   */
  async make(documents: readonly string[], record: (image: PulledImage) => ImageRecord, o: { signal: AbortSignal }): Promise<ImageRecord> {
    const found: Found["documents"] = [];
    for (const digest of documents) found.push(await this.#document(digest));
    const last = found.at(-1);
    const label = documents[0] ?? "image";
    const document = last === undefined ? undefined : parseManifest(last.body, last.descriptor.mediaType, `manifest ${label}`);
    if (last === undefined || document?.kind !== "manifest") throw new CridError("data-loss", `${label} is not a manifest`);
    return this.#assembler.assemble(
      { documents: found, manifestDigest: last.descriptor.digest, manifest: document },
      localSource(new PullProgress(label), "in the content store"),
      { key: `local ${label}`, label, platform: this.#platform, onFailure: "release", record, signal: o.signal },
    );
  }

  async #document(digest: string): Promise<{ descriptor: Descriptor; body: Buffer }> {
    const body = await this.#content.read(digest, { maxBytes: maxLocalManifestBytes });
    const { mediaType } = parseObject(body, `manifest ${digest}`);
    return { body, descriptor: { mediaType: typeof mediaType === "string" ? mediaType : "", digest, size: body.length } };
  }
}
