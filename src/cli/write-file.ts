import { randomBytes } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { CridError } from "../base/errors.ts";
import { printBytes } from "./output.ts";

/**
 * Writes a stream to a file, which appears under its name when all of it is there, or to stdout ("-").
 * @param onBytes told of the bytes so far
 */
export async function writeTo(
  file: string,
  pieces: AsyncIterable<Uint8Array>,
  onBytes: (bytes: number) => void = () => {},
): Promise<number> {
  let bytes = 0;
  const count = (piece: Uint8Array): void => {
    bytes += piece.length;
    onBytes(bytes);
  };
  if (file === "-") {
    for await (const piece of pieces) {
      await printBytes(piece);
      count(piece);
    }
    return bytes;
  }
  const partial = `${file}.${randomBytes(4).toString("hex")}.partial`;
  let handle: FileHandle | undefined;
  try {
    for await (const piece of pieces) {
      // Made with the first piece: a call that is refused leaves nothing.
      handle ??= await open(partial, "wx", 0o644);
      await handle.writeFile(piece);
      count(piece);
    }
    handle ??= await open(partial, "wx", 0o644);
    await handle.close();
    await rename(partial, file);
    return bytes;
  } catch (error) {
    await handle?.close().catch(() => undefined);
    if (handle !== undefined) await rm(partial, { force: true });
    throw CridError.from(error);
  }
}
