import * as z from "zod";
import { isDigest } from "../base/digest.ts";
import { CridError } from "../base/errors.ts";
import type { Descriptor } from "../registry/descriptor.ts";
import { formatPlatform, type Platform, rank } from "./platform.ts";

/** An image manifest: one image for one platform. */
export interface Manifest {
  kind: "manifest";
  config: Descriptor;
  /** Lowest first. */
  layers: Descriptor[];
}

/** An index, or manifest list: manifests by platform. */
export interface Index {
  kind: "index";
  manifests: (Descriptor & { platform?: Platform })[];
}

export type ManifestDocument = Manifest | Index;

const indexTypes = new Set(["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"]);
const manifestTypes = new Set(["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"]);
const schema1Types = new Set([
  "application/vnd.docker.distribution.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v1+prettyjws",
]);
// octet-stream: what docker 1.10 pushed its configs as.
const configTypes = new Set([
  "application/vnd.oci.image.config.v1+json",
  "application/vnd.docker.container.image.v1+json",
  "application/octet-stream",
  "",
]);
const layerType =
  /^application\/vnd\.(oci\.image\.layer(\.nondistributable)?\.v1\.tar(\+gzip|\+zstd)?|docker\.image\.rootfs\.(foreign\.)?diff\.tar(\.gzip|\.zstd)?)$/;

/** The kernel takes 500 lower directories in an overlay. */
const maxLayers = 500;
const maxManifests = 10_000;

const descriptorSchema = z.object({
  mediaType: z.string().max(255).default(""),
  digest: z.string().refine(isDigest, "is not a digest"),
  size: z.int().min(0),
});
/** How index entries name their platform. */
export const platformSchema = z
  .object({
    os: z.string().default(""),
    architecture: z.string().default(""),
    variant: z.string().default(""),
    "os.features": z.array(z.string().max(100)).max(100).nullish(),
  })
  .nullish()
  .transform((platform): Platform | undefined => {
    if (platform === undefined || platform === null) return undefined;
    const { "os.features": features, ...rest } = platform;
    return features === undefined || features === null || features.length === 0 ? rest : { ...rest, features };
  });
const manifestSchema = z.object({
  config: descriptorSchema,
  layers: z.array(descriptorSchema).max(maxLayers),
  artifactType: z.string().nullish(),
});
const indexSchema = z.object({
  manifests: z
    .array(descriptorSchema.extend({ platform: platformSchema }))
    .max(maxManifests)
    .nullable(),
});

/**
 * Reads a manifest or an index, OCI or Docker schema 2.
 *
 * @param mediaType what the registry or the index says it is; "" when neither does
 * @throws CridError data-loss when it is malformed; unimplemented for schema 1, artifacts and encrypted layers
 */
export function parseManifest(body: Buffer, mediaType: string, what: string): ManifestDocument {
  const document = parseObject(body, what);
  const own = typeof document.mediaType === "string" ? document.mediaType : "";
  if (schema1Types.has(mediaType) || schema1Types.has(own) || document.schemaVersion === 1) {
    throw new CridError(
      "unimplemented",
      `${what}: it is in Docker's schema 1, which is not supported; push the image again with a current tool`,
    );
  }
  const kind = kindOf(document, [mediaType, own], what);
  return kind === "index" ? toIndex(document, what) : toManifest(document, what);
}

/**
 * The manifest of an index that fits the host best. Entries that name no platform come last: their config decides.
 * @throws not-found listing the platforms that there are
 */
export function chooseManifest(index: Index, host: Platform, what: string): Descriptor {
  const candidates = index.manifests.map((manifest) => ({
    manifest,
    rank: manifest.platform === undefined || manifest.platform.os === "" ? 1000 : rank(host, manifest.platform),
  }));
  const best = candidates.reduce<(typeof candidates)[number] | undefined>(
    (found, candidate) => (candidate.rank !== undefined && candidate.rank < (found?.rank ?? 1001) ? candidate : found),
    undefined,
  );
  if (best !== undefined) return best.manifest;
  const there = [...new Set(index.manifests.map(({ platform }) => (platform === undefined ? "" : formatPlatform(platform))))].filter(
    (name) => name !== "" && name !== "unknown/unknown",
  );
  throw new CridError(
    "not-found",
    `${what}: no image for ${formatPlatform(host)}; there is ${there.slice(0, 20).join(", ") || "none at all"}`,
  );
}

function kindOf(document: Record<string, unknown>, types: string[], what: string): ManifestDocument["kind"] {
  // A document that can be read both ways would be one image for us and another for a scanner (CVE-2021-41190).
  const hasIndex = document.manifests !== undefined;
  const hasManifest = document.config !== undefined || document.layers !== undefined;
  if (hasIndex && hasManifest) throw malformed(what, "it is a manifest and an index at once");
  for (const type of types) {
    if (indexTypes.has(type) && hasManifest) throw malformed(what, `it says it is an index (${type}) and is a manifest`);
    if (manifestTypes.has(type) && hasIndex) throw malformed(what, `it says it is a manifest (${type}) and is an index`);
  }
  if (hasIndex) return "index";
  if (hasManifest) return "manifest";
  throw malformed(what, "it is neither a manifest nor an index");
}

function toIndex(document: Record<string, unknown>, what: string): Index {
  const { manifests } = check(indexSchema, document, what);
  return {
    kind: "index",
    manifests: (manifests ?? []).map(({ platform, ...descriptor }) => (platform === undefined ? descriptor : { ...descriptor, platform })),
  };
}

function toManifest(document: Record<string, unknown>, what: string): Manifest {
  const { config, layers, artifactType } = check(manifestSchema, document, what);
  if (!configTypes.has(config.mediaType)) {
    const type = artifactType ?? config.mediaType;
    throw new CridError("unimplemented", `${what}: it is not a container image but an artifact of type ${JSON.stringify(type)}`);
  }
  for (const { mediaType, digest } of layers) {
    if (mediaType.endsWith("+encrypted"))
      throw new CridError("unimplemented", `${what}: layer ${digest} is encrypted, which is not supported`);
    if (!layerType.test(mediaType))
      throw new CridError("unimplemented", `${what}: layer ${digest} has the unknown type ${JSON.stringify(mediaType)}`);
  }
  return { kind: "manifest", config, layers };
}

export function parseObject(body: Buffer, what: string): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString("utf8"));
  } catch (error) {
    throw malformed(what, "it is not JSON", error);
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) throw malformed(what, "it is not a JSON object");
  return parsed as Record<string, unknown>;
}

/** Validates a document from a registry. @throws data-loss naming the field */
export function check<S extends z.ZodType>(schema: S, document: unknown, what: string): z.infer<S> {
  const result = schema.safeParse(document);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw malformed(what, `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "is malformed"}`);
}

export function malformed(what: string, why: string, cause?: unknown): CridError {
  return new CridError("data-loss", `${what}: ${why}`, { cause });
}
