import type { runtime } from "../../../api/cri/runtime/v1/api.js";
import type { ImageRecord } from "../../records/image-record.ts";
import type { Images, PullAuth } from "../services.ts";
import { filled, required } from "./fields.ts";

export function fromImageRecord(record: ImageRecord): runtime.v1.Image.$Properties {
  return {
    id: record.id,
    repoTags: record.repoTags,
    repoDigests: record.repoDigests,
    size: BigInt(record.sizeBytes),
    ...fromUser(record.config.user),
    pinned: record.pinned,
  };
}

/** The user of an image is "UID", "NAME", or either with ":GROUP" behind it. The kubelet checks runAsNonRoot with it. */
function fromUser(user: string): { uid?: { value: bigint }; username?: string } {
  const name = user.split(":", 1)[0] ?? "";
  if (/^\d{1,10}$/.test(name)) return { uid: { value: BigInt(name) } };
  return name === "" ? {} : { username: name };
}

/** What a verbose status says beyond the CRI's fields, for `crictl inspecti`. `imageSpec` has the form of an OCI image configuration. */
export function verboseImage(record: ImageRecord): Record<string, unknown> {
  const { config } = record;
  return {
    chainID: record.chainIds.at(-1) ?? "",
    manifestDigest: record.manifestDigest,
    imageSpec: {
      os: config.os,
      architecture: config.architecture,
      ...(config.variant !== "" && { variant: config.variant }),
      config: {
        User: config.user,
        Env: config.env,
        Entrypoint: config.entrypoint,
        Cmd: config.cmd,
        WorkingDir: config.workingDir,
        StopSignal: config.stopSignal,
        Labels: config.labels,
        Volumes: Object.fromEntries(config.volumes.map((volume) => [volume, {}])),
      },
      rootfs: { type: "layers", diff_ids: record.diffIds },
    },
  };
}

/** The reference or id that a request names. @throws invalid-argument */
export function toImageRef(message: runtime.v1.ImageSpec | null | undefined): string {
  return filled(required(message, "image").image, "image.image");
}

/** All images, or the one that a filter names. */
export function selectImages(images: Pick<Images, "get" | "list">, filter: runtime.v1.ImageFilter | null | undefined): ImageRecord[] {
  const ref = filter?.image?.image ?? "";
  if (ref === "") return images.list();
  const found = images.get(ref);
  return found === undefined ? [] : [found];
}

/** undefined when nothing was sent: an anonymous pull. */
export function toPullAuth(message: runtime.v1.AuthConfig | null | undefined): PullAuth | undefined {
  if (message === null || message === undefined) return undefined;
  const { username, password, auth, serverAddress, identityToken, registryToken } = message;
  if (username === "" && auth === "" && identityToken === "" && registryToken === "") return undefined;
  return { username, password, auth, serverAddress, identityToken, registryToken };
}
