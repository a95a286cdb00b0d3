import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { CridError, isErrno } from "../base/errors.ts";
import type { SecurityProfile } from "../records/pod-config.ts";

/** The largest profile that is read; the longest in use have some 50 KB. */
const MAX_BYTES = 4 << 20;

/**
 * The text of a localhost profile; "" for the other types.
 *
 * @throws not-found, invalid-argument (no absolute path, no regular file, too large)
 */
export async function readSeccompProfile(profile: SecurityProfile | undefined): Promise<string> {
  if (profile?.type !== "localhost") return "";
  // Old kubelets wrote the prefix into the reference.
  const path = profile.localhostRef.replace(/^localhost\//, "");
  if (!path.startsWith("/")) throw new CridError("invalid-argument", `seccomp: localhost_ref "${path}" is not an absolute path`);
  try {
    // A fifo or a terminal must not hold up a thread.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    const stats = await file.stat();
    if (!stats.isFile()) throw new CridError("invalid-argument", `seccomp profile "${path}" is not a regular file`);
    if (stats.size > MAX_BYTES)
      throw new CridError("invalid-argument", `seccomp profile "${path}" has ${stats.size} bytes, more than ${MAX_BYTES}`);
    return await file.readFile("utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) {
      throw new CridError("not-found", `seccomp profile "${path}" does not exist on this node; put it there or change the pod`, {
        cause: error,
      });
    }
    throw CridError.from(error, `seccomp profile "${path}"`);
  }
}
