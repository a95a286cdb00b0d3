import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ErofsSink } from "../archive/erofs/erofs-sink.ts";
import { CridError, messageOf } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { detachAll, MS_RDONLY, mount } from "../linux/mount.ts";
import { OverlaySnapshotter } from "./overlay.ts";
import type { Snapshotter } from "./snapshotter.ts";

/**
 * Opens the store of layers in the form that the configuration names; "auto" is EROFS where the kernel mounts an EROFS image
 * from a file on this file system (6.12 and later, not from a tmpfs), else directories. Layers of either form that are there stay in use.
 *
 * @param options.root survives a reboot · @param options.mounts gone at reboot
 * @throws failed-precondition when erofs is asked for and the kernel has it not
 */
export async function openSnapshotter(options: {
  root: string;
  mounts: string;
  choice: "auto" | "erofs" | "overlayfs";
  log: Logger;
}): Promise<Snapshotter> {
  const { root, mounts, choice, log } = options;
  const missing = choice === "overlayfs" ? "" : await whyNoErofs(root);
  if (choice === "erofs" && missing !== undefined) {
    throw new CridError(
      "failed-precondition",
      `image.snapshotter is erofs, but no EROFS image file can be mounted from ${root} (${missing}): set it to auto`,
    );
  }
  const form = missing === undefined ? "erofs" : "directory";
  if (choice === "auto") log.info({ form, why: missing ?? "EROFS image files can be mounted from there" }, "form of layers chosen");
  return OverlaySnapshotter.open({ root, mounts, form, log });
}

/** Tries it, with an empty image; undefined when it works, else the reason. */
async function whyNoErofs(root: string): Promise<string | undefined> {
  mkdirSync(root, { recursive: true, mode: 0o711 });
  const directory = mkdtempSync(join(root, "probe-"));
  const point = join(directory, "point");
  try {
    const sink = new ErofsSink(join(directory, "image"), Buffer.alloc(16), { maxEntries: 1 });
    await sink.finish();
    mkdirSync(point);
    mount(join(directory, "image"), point, "erofs", MS_RDONLY);
    return undefined;
  } catch (error) {
    return messageOf(error);
  } finally {
    detachAll(point);
    rmSync(directory, { recursive: true, force: true });
  }
}
