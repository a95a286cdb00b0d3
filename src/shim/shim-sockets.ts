import { createHash } from "node:crypto";
import { unlink } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { isErrno } from "../base/errors.ts";

/** Where shims before 2.4 make their sockets, whatever they are told. */
const fixedSocketDir = "/run/containerd/s";

/** What a shim accepts as its socket directory: sun_path has 108 bytes, and the name takes 65. */
export const maxSocketDir = 42;

/**
 * The addresses at which the shim of a group may be found, new shims first. The name of the socket is the sha256 of
 * `<-address flag>/<namespace>/<group id>` (containerd's pkg/shim/util_unix.go, all versions from 1.4).
 */
export function shimAddresses(options: { socketDir: string; grpcAddress: string; namespace: string; group: string }): string[] {
  const name = createHash("sha256")
    .update(join(options.grpcAddress, options.namespace, options.group))
    .digest("hex");
  return [options.socketDir, fixedSocketDir].map((dir) => `unix://${dir}/${name}`);
}

/** The path of a `unix://` address. */
export function socketPath(address: string): string {
  return address.replace(/^unix:\/\//, "");
}

/** Removes the sockets that a killed shim left at these addresses; one that somebody listens on stays. */
export async function removeDeadSockets(addresses: readonly string[]): Promise<void> {
  for (const address of addresses) {
    const path = socketPath(address);
    if (!(await isDead(path))) continue;
    await unlink(path).catch((error: unknown) => {
      if (!isErrno(error, "ENOENT")) throw error;
    });
  }
}

async function isDead(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ path });
  socket.once("connect", () => resolve(false));
  socket.on("error", (error) => resolve(isErrno(error, "ECONNREFUSED")));
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}
