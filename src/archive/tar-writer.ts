import { CridError } from "../base/errors.ts";
import { blockSize } from "./tar-header.ts";

/** One entry of an archive that is written. */
export interface TarHeader {
  /** ASCII, at most 100 characters; a directory's ends in a slash. */
  name: string;
  type: "file" | "directory";
  size: number;
}

/**
 * A header block with nothing in it that depends on when, where or by whom it is written: times are 0, the owner is root.
 * Sizes of 8 GiB and more are in base 256 (GNU), which every tar since 2000 reads.
 */
export function encodeTarHeader({ name, type, size }: TarHeader): Buffer {
  if (name.length > 100 || /[^ -~]/.test(name)) throw new CridError("internal", `tar: ${JSON.stringify(name)} is no name for an entry`);
  const block = Buffer.alloc(blockSize);
  block.write(name, 0, "latin1");
  block.write(type === "file" ? "0000644\0" : "0000755\0", 100, "latin1");
  for (const at of [108, 116]) block.write("0000000\0", at, "latin1");
  if (size < 8 ** 11) block.write(`${size.toString(8).padStart(11, "0")}\0`, 124, "latin1");
  else {
    block.writeUInt8(0x80, 124);
    block.writeBigUInt64BE(BigInt(size), 128);
  }
  block.write("00000000000\0", 136, "latin1");
  block.write(" ".repeat(8), 148, "latin1");
  block.write(type === "file" ? "0" : "5", 156, "latin1");
  block.write("ustar\x0000", 257, "latin1");
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

/** What follows the data of an entry of this size. */
export function tarPadding(size: number): Buffer {
  return Buffer.alloc((blockSize - (size % blockSize)) % blockSize);
}

/** The end of an archive. */
export const tarEnd: Buffer = Buffer.alloc(2 * blockSize);
