import { digestOf } from "../../base/digest.ts";
import { silentLogger } from "../../base/log.ts";
import type { BlobSink } from "../download.ts";
import type { RegistryAuth, RegistryConfig } from "../options.ts";
import { parseReference } from "../reference.ts";
import { Registry } from "../registry.ts";
import type { Repository } from "../repository.ts";

/** The repository of a reference, seen through a registry client of its own. */
export async function openRepository(
  text: string,
  o: { config?: Partial<RegistryConfig>; auth?: RegistryAuth; progressTimeoutMs?: number } = {},
): Promise<Repository & AsyncDisposable> {
  const registry = new Registry({
    config: { configPath: [], mirrors: {}, ...o.config },
    progressTimeoutMs: o.progressTimeoutMs ?? 60_000,
    log: silentLogger(),
    env: {},
  });
  const repository = await registry.open(parseReference(text), { auth: o.auth });
  return Object.assign(repository, { [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose]() });
}

/** A blob's place in memory. */
export class MemorySink implements BlobSink {
  chunks: Uint8Array[] = [];
  restarts = 0;
  readonly #digest: string;
  constructor(digest: string, start: Uint8Array = Buffer.alloc(0)) {
    this.#digest = digest;
    if (start.length > 0) this.chunks.push(start);
  }
  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
  get offset(): number {
    return this.bytes.length;
  }
  async write(chunk: Buffer): Promise<void> {
    this.chunks.push(Buffer.from(chunk));
  }
  async restart(): Promise<void> {
    this.restarts++;
    this.chunks = [];
  }
  async verify(): Promise<boolean> {
    return digestOf(this.bytes) === this.#digest;
  }
}
