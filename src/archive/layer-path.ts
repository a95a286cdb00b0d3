import { malformed } from "./tar-header.ts";

/**
 * The name of a tar entry as a path below the layer's root: no leading or trailing slash, no "." and no empty part; "" is the
 * root. Absolute names count from the root, as GNU tar and containerd take them.
 *
 * @throws invalid-argument for a name with a ".." part (no honest tool writes one into a layer) and for one over PATH_MAX
 */
export function cleanPath(name: string): string {
  if (name.length > pathMax) throw malformed(`a name of ${name.length} bytes (${JSON.stringify(name.slice(0, 60))}...)`);
  if (name === "" || !needsCleaning.test(name)) return name;
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw malformed(`entry ${JSON.stringify(name)} points outside of its directory`);
  return parts.join("/");
}

/** The kernel takes no longer path; it also bounds the depth of what walks a path part by part. */
const pathMax = 4096;
const needsCleaning = /(^|\/)\.{0,2}(\/|$)/;

/** The directory part ("" for the root) and the last part. */
export function splitPath(path: string): { parent: string; base: string } {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? { parent: "", base: path } : { parent: path.slice(0, slash), base: path.slice(slash + 1) };
}

/** The path of `target` seen from a link in directory `from`, with ".." stopping at the root, as in a chroot. */
export function resolveLink(from: string, target: string): string {
  const parts = target.startsWith("/") || from === "" ? [] : from.split("/");
  for (const part of target.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** What an entry of a layer means for the layers below (OCI image spec, "Layer", whiteouts). */
export type Whiteout = { kind: "none" } | { kind: "opaque" } | { kind: "ignored" } | { kind: "remove"; base: string };

const none: Whiteout = { kind: "none" };

/** @throws invalid-argument for a whiteout of the directory itself or its parent */
export function whiteoutOf(base: string): Whiteout {
  if (!base.startsWith(".wh.")) return none;
  if (base === ".wh..wh..opq") return { kind: "opaque" };
  // AUFS' own bookkeeping (.wh..wh.plnk, .wh..wh.aufs) is in old layers; it names nothing.
  if (base.startsWith(".wh..wh.")) return { kind: "ignored" };
  const hidden = base.slice(4);
  if (hidden === "" || hidden === "." || hidden === "..") throw malformed(`whiteout ${JSON.stringify(base)} names no file`);
  return { kind: "remove", base: hidden };
}
