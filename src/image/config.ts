import { createHash } from "node:crypto";
import * as z from "zod";
import { isDigest } from "../base/digest.ts";
import { CridError } from "../base/errors.ts";
import type { ImageConfig } from "../records/image-record.ts";
import { check, malformed, parseObject } from "./manifest.ts";
import { formatPlatform, type Platform, rank } from "./platform.ts";

/**
 * JSON can name half of a character that takes two. Such a text is no UTF-8, and one image that has it makes the kubelet refuse the whole list of
 * images; Go's decoder puts U+FFFD in its place, and so do we.
 */
const wellFormed = z.string().transform((value) => value.toWellFormed());
const text = wellFormed.nullish().transform((value) => value ?? "");
const list = z
  .array(wellFormed)
  .nullish()
  .transform((value) => value ?? []);
const configSchema = z.object({
  os: text,
  architecture: text,
  variant: text,
  config: z
    .object({
      User: text,
      Env: list,
      Entrypoint: list,
      Cmd: list,
      WorkingDir: text,
      StopSignal: text,
      Labels: z.record(wellFormed, wellFormed).nullish(),
      Volumes: z.record(wellFormed, z.unknown()).nullish(),
    })
    .nullish(),
  rootfs: z.object({
    type: z.literal("layers"),
    diff_ids: z.array(z.string().refine((id) => isDigest(id) && id.startsWith("sha256:"), "is not a digest")),
  }),
});

/** Far above any real one. Looked at before the rest: a million labels in a few megabytes take a second of everybody's time. */
const maxItems = 10_000;

/** @throws data-loss for lists that are longer than any image needs */
function checkCounts(document: Record<string, unknown>, what: string): void {
  for (const part of [document.config, document.rootfs]) {
    if (typeof part !== "object" || part === null) continue;
    for (const [name, value] of Object.entries(part)) {
      const count = typeof value !== "object" || value === null ? 0 : Array.isArray(value) ? value.length : Object.keys(value).length;
      if (count > maxItems) throw malformed(what, `${name.slice(0, 100)} has ${count} items, more than ${maxItems}`);
    }
  }
}

/** What a pull needs of an image's config blob. */
export interface ParsedConfig {
  config: ImageConfig;
  /** Digests of the uncompressed layers, lowest first. */
  diffIds: string[];
}

/**
 * Reads an image configuration (OCI image spec, config.md; docker writes null where a field is empty).
 * @throws data-loss when it is malformed or does not fit the manifest; failed-precondition for another platform
 */
export function parseImageConfig(body: Buffer, at: { layers: number; host: Platform; what: string }): ParsedConfig {
  const document = parseObject(body, at.what);
  checkCounts(document, at.what);
  const { os, architecture, variant, config, rootfs } = check(configSchema, document, at.what);
  const diffIds = rootfs.diff_ids;
  if (diffIds.length !== at.layers) {
    throw new CridError("data-loss", `${at.what}: it names ${diffIds.length} layers, the manifest ${at.layers}`);
  }
  const platform = { os, architecture, variant };
  if (architecture !== "" && rank(at.host, platform) === undefined) {
    throw new CridError(
      "failed-precondition",
      `${at.what}: the image is for ${formatPlatform(platform)}, this node is ${formatPlatform(at.host)}`,
    );
  }
  return {
    diffIds,
    config: {
      user: config?.User ?? "",
      env: config?.Env ?? [],
      entrypoint: config?.Entrypoint ?? [],
      cmd: config?.Cmd ?? [],
      workingDir: config?.WorkingDir ?? "",
      stopSignal: config?.StopSignal ?? "",
      labels: config?.Labels ?? {},
      volumes: Object.keys(config?.Volumes ?? {}),
      os,
      architecture,
      variant,
    },
  };
}

/** Chain ids: the digest of a layer with all below it (OCI image spec, config.md, "Layer ChainID"). */
export function chainIdsOf(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const parent = chain.at(-1);
    chain.push(parent === undefined ? diffId : `sha256:${createHash("sha256").update(`${parent} ${diffId}`).digest("hex")}`);
  }
  return chain;
}
