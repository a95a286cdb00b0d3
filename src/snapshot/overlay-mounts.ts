import type { RootfsMount } from "./snapshotter.ts";

/**
 * The mount of a root file system, as the shim's mount code takes it.
 *
 * @param options.lowers directories, lowest first; at least one
 * @param options.writable the directory that holds `fs` (upper) and `work`; undefined = read-only
 */
export function overlayMounts(options: { lowers: readonly string[]; writable: string | undefined }): RootfsMount[] {
  const { lowers, writable } = options;
  const [only] = lowers;
  // overlayfs wants two lower directories or an upper one.
  if (writable === undefined && lowers.length === 1 && only !== undefined) {
    return [{ type: "bind", source: only, target: "", options: ["rbind", "ro"] }];
  }
  return [{ type: "overlay", source: "overlay", target: "", options: overlayOptions(options) }];
}

/** The options of an overlay; see `overlayMounts`. */
export function overlayOptions({ lowers, writable }: { lowers: readonly string[]; writable: string | undefined }): string[] {
  const upper = writable === undefined ? [] : [`workdir=${writable}/work`, `upperdir=${writable}/fs`];
  return ["index=off", ...upper, `lowerdir=${lowers.toReversed().join(":")}`];
}
