import { randomBytes } from "node:crypto";
import { chmod, chown, lstat, mkdir, rename, rm } from "node:fs/promises";
import { connect } from "node:net";
import { basename, dirname, join } from "node:path";
import { CridError, isErrno } from "./errors.ts";

/** Where a listener listens before its socket is shown to callers, and how to show it. */
export interface SocketPlace {
  /** Listen here. */
  readonly hidden: string;
  /** Gives the socket its owner and mode and puts it in its place, in one step: no caller ever meets it half-made. */
  publish(): Promise<void>;
  /** Removes the published socket, unless another daemon has put its own there since. */
  remove(): Promise<void>;
}

/**
 * Prepares a unix socket of mode 0660, root and `gid`, at `path`. Its directories are made (mode 0755). A socket that nobody
 * answers on is taken over.
 *
 * @param options.key the key of the configuration that says where, for messages
 * @throws failed-precondition when another process answers there, or when something else than a socket is there
 */
export async function claimSocket(path: string, options: { gid: number; key: string }): Promise<SocketPlace> {
  const directory = dirname(path);
  await mkdir(directory, { recursive: true, mode: 0o755 });
  await assertFree(path, options.key);
  // As short as a socket's path must be, and beside the final place, so that a rename gets it there.
  const hidden = join(directory, `.${basename(path).slice(0, 4)}${randomBytes(3).toString("hex")}`);
  let inode: bigint | undefined;
  return {
    hidden,
    async publish() {
      try {
        await chown(hidden, process.getuid?.() ?? 0, options.gid);
        await chmod(hidden, 0o660);
        ({ ino: inode } = await lstat(hidden, { bigint: true }));
        await rename(hidden, path);
      } catch (error) {
        await rm(hidden, { force: true });
        throw CridError.from(error, `put the socket at ${path}`);
      }
    },
    async remove() {
      try {
        const { ino } = await lstat(path, { bigint: true });
        if (ino === inode) await rm(path, { force: true });
      } catch (error) {
        if (!isErrno(error, "ENOENT")) throw CridError.from(error, `remove the socket ${path}`);
      }
    },
  };
}

async function assertFree(path: string, key: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (isErrno(error, "ENOENT")) return undefined;
    throw CridError.from(error, `look at ${path}`);
  });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new CridError("failed-precondition", `listen on ${path}: it exists and is not a socket; remove it or set another ${key}`);
  }
  if (await answers(path)) {
    throw new CridError("failed-precondition", `listen on ${path}: another process serves it; stop it or set another ${key}`);
  }
}

/** Whether someone accepts connections on the socket. */
export async function answers(path: string): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const socket = connect(path, () => resolve(true));
  socket.on("error", (error) => {
    if (isErrno(error, "ECONNREFUSED") || isErrno(error, "ENOENT")) resolve(false);
    // EAGAIN: its backlog is full, so there is a listener.
    else if (isErrno(error, "EAGAIN")) resolve(true);
    else reject(CridError.from(error, `try the socket ${path}`));
  });
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}
