import type { crid } from "../../../api/crid/admin/v1/admin.js";
import type { Platform } from "../../image/platform.ts";
import type { PullReport } from "../../image/progress.ts";
import type { ImageRecord } from "../../records/image-record.ts";
import type { RegistryAuth } from "../../registry/options.ts";
import { badField } from "../convert/fields.ts";

type V1 = typeof crid.admin.v1;

export function fromRecord(record: ImageRecord): InstanceType<V1["Image"]> {
  const { id, repoTags, repoDigests, manifestDigest, sizeBytes, pinned, chainIds, config } = record;
  const platform = [config.os, config.architecture, config.variant].filter((part) => part !== "").join("/");
  return {
    id,
    tags: repoTags,
    digests: repoDigests,
    manifestDigest,
    sizeBytes: BigInt(sizeBytes),
    platform,
    pinned,
    layers: chainIds.length,
  };
}

export function fromPull({ ref, startedAtMs, blobs }: PullReport): InstanceType<V1["Pull"]> {
  return {
    ref,
    startedAtMs: BigInt(startedAtMs),
    blobs: blobs.map(({ digest, state, bytes, size }) => ({ digest, state, bytes: BigInt(bytes), size: BigInt(size) })),
  };
}

/** `os/architecture[/variant]`; undefined for "". @throws invalid-argument naming the field */
export function toPlatform(text: string, field: string): Platform | undefined {
  if (text === "") return undefined;
  const [os = "", architecture = "", variant = "", ...more] = text.split("/");
  if (os === "" || architecture === "" || more.length > 0)
    throw badField(field, `${JSON.stringify(text)} is not os/architecture[/variant]`);
  return { os, architecture, variant };
}

/** undefined when nothing was sent. */
export function toAuth(message: InstanceType<V1["Credentials"]> | null | undefined): RegistryAuth | undefined {
  if (message === null || message === undefined) return undefined;
  const { username, password, auth, identityToken, registryToken } = message;
  return { username, password, auth, identityToken, registryToken };
}
