import { createHash } from "node:crypto";
import { closeSync, constants, lstatSync, openSync, readdirSync, readlinkSync, readSync } from "node:fs";
import { crc32 } from "node:zlib";

/** What is read: a blob as its digest is made, or a layer. */
export interface SumJob {
  what: "sha256" | "sha512" | "file" | "tree";
  path: string;
}

const chunkBytes = 1024 * 1024;
const slash = Buffer.from("/");

/**
 * A sum over a file, or over a whole tree: names, types, modes, owners, links and contents, not the times. For finding damage, not for
 * telling forgeries: layers have a CRC-32, which costs a quarter of a digest.
 *
 * @param read called with the number of bytes after each piece, so that the caller can take its time
 * @throws what the file system says: ENOENT, EIO
 */
export function sumOf(job: SumJob, read: (bytes: number) => void): string {
  const buffer = Buffer.allocUnsafeSlow(chunkBytes);
  const path = Buffer.from(job.path);
  if (job.what === "sha256" || job.what === "sha512") {
    const hash = createHash(job.what);
    readFile(path, buffer, (chunk) => hash.update(chunk), read);
    return `${job.what}:${hash.digest("hex")}`;
  }
  let crc = 0;
  const add = (chunk: Buffer): void => {
    crc = crc32(chunk, crc);
  };
  if (job.what === "file") readFile(path, buffer, add, read);
  else sumTree(path, buffer, add, read);
  return `crc32:${crc.toString(16).padStart(8, "0")}`;
}

function sumTree(root: Buffer, buffer: Buffer, add: (chunk: Buffer) => void, read: (bytes: number) => void): void {
  const pending = [root];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const { mode, uid, gid, size, rdev } = lstatSync(path);
    const type = mode & constants.S_IFMT;
    add(path.subarray(root.length));
    add(Buffer.from(`\0${mode} ${uid} ${gid} ${type === constants.S_IFREG ? size : 0} ${rdev}\0`));
    if (type === constants.S_IFLNK) add(readlinkSync(path, "buffer"));
    else if (type === constants.S_IFREG) readFile(path, buffer, add, read);
    else if (type === constants.S_IFDIR) {
      // The order of a directory is the file system's own.
      const names = readdirSync(path, "buffer").sort(Buffer.compare);
      for (const name of names) pending.push(Buffer.concat([path, slash, name]));
    }
    // What has no content takes its time all the same.
    read(512);
  }
}

function readFile(path: Buffer, buffer: Buffer, add: (chunk: Buffer) => void, read: (bytes: number) => void): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    for (let got = readSync(fd, buffer); got > 0; got = readSync(fd, buffer)) {
      add(buffer.subarray(0, got));
      read(got);
    }
  } finally {
    closeSync(fd);
  }
}
