import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Summer } from "../archive/summer.ts";
import { isErrno } from "../base/errors.ts";
import type { LayerForm } from "./snapshotter.ts";

const fileName = "layer.sum";

/** What a layer was when it was first read; undefined when it never was, or a power cut has taken the note of it. */
export async function readSum(directory: string): Promise<string | undefined> {
  try {
    const text = await readFile(join(directory, fileName), "utf8");
    return /^crc32:[0-9a-f]{8}$/.test(text) ? text : undefined;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/**
 * Reads a layer and compares it with its sum, or notes the sum where there is none. It is noted apart from layer.json and after the
 * commit, so that a pull need not wait for it.
 *
 * @returns what is wrong
 */
export async function verifyLayerSum(
  layer: { directory: string; path: string; form: LayerForm },
  summer: Pick<Summer, "sum">,
  o: { signal: AbortSignal },
): Promise<string | undefined> {
  const { directory, path, form } = layer;
  const sum = await summer.sum({ what: form === "erofs" ? "file" : "tree", path }, o);
  if (sum === undefined) return `${path} cannot be read whole`;
  const before = await readSum(directory);
  if (before === sum) return undefined;
  if (before !== undefined) return `${path} has the sum ${sum} instead of ${before}`;
  try {
    await writeFile(join(directory, `${fileName}.new`), sum, { mode: 0o600 });
    await rename(join(directory, `${fileName}.new`), join(directory, fileName));
  } catch (error) {
    // The layer was removed meanwhile.
    if (!isErrno(error, "ENOENT")) throw error;
  }
  return undefined;
}
