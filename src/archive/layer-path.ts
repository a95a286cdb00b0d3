import { malformed } from "./tar-header.ts";

/**
 * The name of a tar entry as a path below the layer's root: no leading or trailing slash, no "." and no empty part; "" is the
 * root. Absolute names count from the root, as GNU tar and containerd take them.
 *
 * @throws invalid-argument for a name with a ".." part (no honest tool writes one into a layer), for one over PATH_MAX, and for one
 * with a part over NAME_MAX
 */
export function cleanPath(name: string): string {
  checkLength(name);
  if (name.length > nameMax && hasLongPart(name)) throw malformed(`a name with a part of more than ${nameMax} bytes (${shown(name)})`);
  if (name === "" || !needsCleaning.test(name)) return name;
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw malformed(`entry ${shown(name)} points outside of its directory`);
  return parts.join("/");
}

/** The kernel takes no longer path; it also bounds the depth of what walks a path part by part. */
const pathMax = 4096;
const nameMax = 255;
const needsCleaning = /(^|\/)\.{0,2}(\/|$)/;

/** Not by a regular expression: one tries each byte anew, 3 ms for a name of parts that are just short enough. */
function hasLongPart(name: string): boolean {
  for (let at = 0; at < name.length; ) {
    const slash = name.indexOf("/", at);
    const end = slash < 0 ? name.length : slash;
    if (end - at > nameMax) return true;
    at = end + 1;
  }
  return false;
}

/** @throws invalid-argument for a path that the kernel would not take */
export function checkLength(path: string): void {
  if (path.length >= pathMax) throw malformed(`a name of ${path.length} bytes (${shown(path)})`);
}

/** A name for a message. */
export function shown(path: string): string {
  return path.length <= 100 ? JSON.stringify(path) : `${JSON.stringify(path.slice(0, 60))}...`;
}

/** The directory part ("" for the root) and the last part. */
export function splitPath(path: string): { parent: string; base: string } {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? { parent: "", base: path } : { parent: path.slice(0, slash), base: path.slice(slash + 1) };
}

/**
 * The path of `target` seen from a link in directory `from`, with ".." stopping at the root, as in a chroot.
 * @throws invalid-argument when it is over PATH_MAX: links to links could make it as deep as they like
 */
export function resolveLink(from: string, target: string): string {
  const parts = target.startsWith("/") || from === "" ? [] : from.split("/");
  for (const part of target.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  const path = parts.join("/");
  checkLength(path);
  return path;
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
