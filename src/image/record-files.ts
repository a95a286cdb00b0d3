import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { isDigest, parseDigest } from "../base/digest.ts";
import { syncDirectory } from "../base/durable.ts";
import { isErrno } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import type { Logger } from "../base/log.ts";
import type { ImageRecord } from "../records/image-record.ts";

const digest = z.string().refine(isDigest);
const schema = z.object({
  id: digest,
  repoTags: z.array(z.string()),
  repoDigests: z.array(z.string()),
  manifestDigest: digest,
  sizeBytes: z.number(),
  diffIds: z.array(digest),
  chainIds: z.array(digest),
  config: z.object({
    user: z.string(),
    env: z.array(z.string()),
    entrypoint: z.array(z.string()),
    cmd: z.array(z.string()),
    workingDir: z.string(),
    stopSignal: z.string(),
    labels: z.record(z.string(), z.string()),
    volumes: z.array(z.string()),
    os: z.string(),
    architecture: z.string(),
    variant: z.string(),
  }),
  pinned: z.boolean(),
  blobs: z.array(digest).optional(),
});

/**
 * A copy of each image record beside the blobs, from which the store's are made again when the database is lost: blobs alone
 * don't say what an image was called. Behind the store, never ahead of it in importance: nothing is synced, and what cannot be
 * written is logged.
 */
export class RecordFiles {
  readonly #directory: string;
  readonly #log: Logger;
  /** What the file of an id holds, so that only changes are written. */
  readonly #written = new Map<string, string>();
  /** Writes go one after the other: the last state of a record is what stays. */
  #tail: Promise<void> = Promise.resolve();

  constructor(options: { directory: string; log: Logger }) {
    this.#directory = options.directory;
    this.#log = options.log;
  }

  /** All copies that can be read. */
  async load(): Promise<ImageRecord[]> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const records = await Promise.all((await readdir(this.#directory)).map((name) => this.#read(name)));
    return records.filter((record) => record !== undefined);
  }

  /** Makes the copies be those of these records. Returns at once; `settled` waits. */
  sync(records: readonly ImageRecord[]): void {
    const wanted = new Map(records.map((record) => [record.id, JSON.stringify(record)]));
    for (const id of this.#written.keys()) {
      if (!wanted.has(id)) this.#later(id, undefined);
    }
    for (const [id, text] of wanted) {
      if (this.#written.get(id) !== text) this.#later(id, text);
    }
  }

  async settled(): Promise<void> {
    await this.#tail;
  }

  /** Waits until what was written is on the disk, as far as names go: a copy that was removed does not come back. */
  async durable(): Promise<void> {
    await this.#tail;
    await syncDirectory(this.#directory);
  }

  #later(id: string, text: string | undefined): void {
    if (text === undefined) this.#written.delete(id);
    else this.#written.set(id, text);
    this.#tail = this.#tail
      .then(() => this.#write(id, text))
      .catch((error: unknown) => this.#log.warn({ id, err: error }, "write the copy of an image record"));
  }

  async #write(id: string, text: string | undefined): Promise<void> {
    const file = join(this.#directory, `${parseDigest(id).hex}.json`);
    if (text === undefined) return rm(file, { force: true });
    await failpoint("image.copy.before-write");
    await writeFile(`${file}.new`, text, { mode: 0o600 });
    await failpoint("image.copy.before-rename");
    await rename(`${file}.new`, file);
    await failpoint("image.copy.after-rename");
  }

  async #read(name: string): Promise<ImageRecord | undefined> {
    const file = join(this.#directory, name);
    try {
      const text = await readFile(file, "utf8");
      const { blobs, ...record } = schema.parse(JSON.parse(text));
      if (name !== `${parseDigest(record.id).hex}.json`) throw new Error("it is the copy of another image");
      this.#written.set(record.id, text);
      return blobs === undefined ? record : { ...record, blobs };
    } catch (error) {
      if (!isErrno(error, "ENOENT")) {
        this.#log.warn({ file, err: error }, "removed a copy of an image record that cannot be read");
        await rm(file, { recursive: true, force: true });
      }
      return undefined;
    }
  }
}
