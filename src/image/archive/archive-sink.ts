import { cleanPath, splitPath } from "../../archive/layer-path.ts";
import type { TarEntry } from "../../archive/tar-entry.ts";
import type { TarSink } from "../../archive/tar-reader.ts";
import { NameMemory } from "../../archive/tree-memory.ts";
import { CridError } from "../../base/errors.ts";

/** What there is to do for a piece of an archive, in order. */
export type ArchiveStep = { do: "begin"; path: string; size: number } | { do: "data"; chunk: Buffer } | { do: "end" };

/**
 * Takes an image archive apart into steps that can wait, which a tar sink cannot: push a chunk into the reader, then do the steps.
 * Files only; links are noted. Paths are one character a byte.
 *
 * @throws invalid-argument for what no honest tool writes: links that lead out of the archive, devices, sparse files
 */
export class ArchiveSink implements TarSink {
  /** Path -> path that it stands for. */
  readonly links = new Map<string, string>();
  readonly #names = new NameMemory();
  #steps: ArchiveStep[] = [];
  #written = 0;
  #path: string | undefined;

  entry(entry: TarEntry): void {
    const path = cleanPath(entry.path);
    this.#names.take(path + entry.linkName);
    this.#path = undefined;
    switch (entry.type) {
      case "directory":
        return;
      case "file":
        this.#path = path;
        this.#written = 0;
        this.#steps.push({ do: "begin", path, size: entry.size });
        return;
      case "link":
        this.links.set(path, targetOf("", entry.linkName, path));
        return;
      case "symlink":
        this.links.set(path, targetOf(splitPath(path).parent, entry.linkName, path));
        return;
      default:
        throw refused(path, `it is a ${entry.type} device`);
    }
  }

  data(chunk: Buffer, offset: number): void {
    if (this.#path === undefined) return;
    if (offset !== this.#written) throw refused(this.#path, "it is a sparse file");
    this.#written += chunk.length;
    // The chunk lies in the one that was pushed, and whoever pushed it does the steps before it pushes another.
    this.#steps.push({ do: "data", chunk });
  }

  entryEnd(): void {
    if (this.#path !== undefined) this.#steps.push({ do: "end" });
    this.#path = undefined;
  }

  /** The steps since the last call. */
  take(): ArchiveStep[] {
    const steps = this.#steps;
    this.#steps = [];
    return steps;
  }
}

/** The path a link stands for. Unlike in a root file system, ".." does not stop at the root: such a link is an attack. */
function targetOf(from: string, target: string, path: string): string {
  const parts = from === "" ? [] : from.split("/");
  if (target.startsWith("/")) throw refused(path, `it is a link to ${JSON.stringify(target)}, outside of the archive`);
  for (const part of target.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) throw refused(path, `it is a link to ${JSON.stringify(target)}, outside of the archive`);
  }
  return parts.join("/");
}

function refused(path: string, why: string): CridError {
  return new CridError("invalid-argument", `entry ${JSON.stringify(path)} of the archive: ${why}`);
}
