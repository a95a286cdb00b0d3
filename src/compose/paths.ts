import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config/schema.ts";

/** Where everything is. `root` survives a reboot, `state` does not. */
export interface Paths {
  root: string;
  state: string;
  database: string;
  lock: string;
  containers: string;
  bundles: string;
  pods: string;
  netns: string;
  events: string;
  shimSockets: string;
  runc: string;
  content: string;
  snapshots: string;
  layerMounts: string;
  leases: string;
  /** Copies of the image records. */
  imageRecords: string;
  /** The list of a scrub that is not over. */
  scrub: string;
  volumes: string;
}

export function pathsOf({ root, state }: Config): Paths {
  return {
    root,
    state,
    database: join(root, "meta.db"),
    lock: join(root, "crid.lock"),
    containers: join(root, "containers"),
    bundles: join(state, "bundles"),
    pods: join(state, "pods"),
    netns: join(state, "netns"),
    events: join(state, "events.sock"),
    shimSockets: shimSocketDir(state),
    runc: join(state, "runc"),
    content: join(root, "content"),
    snapshots: join(root, "snapshots"),
    layerMounts: join(state, "l"),
    leases: join(root, "leases"),
    imageRecords: join(root, "content", "images"),
    scrub: join(root, "content", "scrub"),
    volumes: join(state, "volumes"),
  };
}

/** Shims take no directory of more than 42 characters for their sockets. Below a long state directory it is one in /run, named by it. */
function shimSocketDir(state: string): string {
  const usual = join(state, "s");
  if (usual.length <= 42) return usual;
  return join("/run", `crid-${createHash("sha256").update(state).digest("hex").slice(0, 12)}`);
}

/** The built-in pause: beside the bundle when released, in dist/ when run from source. */
export function pauseRootfs(): string {
  const places = ["pause/rootfs", "../../dist/pause/rootfs"].map((place) => join(import.meta.dirname, place));
  return places.find((place) => existsSync(place)) ?? places[0] ?? "";
}
