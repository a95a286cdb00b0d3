import * as z from "zod";
import { cleanPath } from "../../archive/layer-path.ts";
import { digestOf } from "../../base/digest.ts";
import { CridError } from "../../base/errors.ts";
import type { Descriptor } from "../../registry/descriptor.ts";
import { formatReference, parseReference } from "../../registry/reference.ts";
import { check, malformed } from "../manifest.ts";
import { type ArchivedImage, maxArchiveJsonBytes } from "./archived-image.ts";
import type { StagedArchive, StagedFile } from "./staged-archive.ts";

const manifestType = "application/vnd.oci.image.manifest.v1+json";
const configType = "application/vnd.oci.image.config.v1+json";
const layerTypes = {
  none: "application/vnd.oci.image.layer.v1.tar",
  gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
};

const schema = z
  .array(
    z.object({
      Config: z.string().min(1),
      RepoTags: z.array(z.string()).nullish(),
      Layers: z.array(z.string().min(1)).max(500).nullish(),
    }),
  )
  .max(1000);

/**
 * The images of an archive as `docker save` writes it (moby, image/spec/v1.2.md): manifest.json names the config and the layers of
 * each by their paths. It has no manifest of the kind that a registry has, so one is made up, always the same for the same files.
 * Undefined when the archive is none.
 */
export async function readDockerArchive(archive: StagedArchive): Promise<ArchivedImage[] | undefined> {
  const body = await archive.text("manifest.json", { maxBytes: maxArchiveJsonBytes });
  if (body === undefined) return undefined;
  const images = check(schema, parseArray(body), "manifest.json");
  return images.map(({ Config, RepoTags, Layers }) => {
    const config = describe(fileAt(archive, Config), configType);
    const layers = (Layers ?? []).map((path) => {
      const file = fileAt(archive, path);
      return describe(file, layerTypes[file.compression]);
    });
    const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: manifestType, config, layers }));
    const descriptor: Descriptor = { mediaType: manifestType, digest: digestOf(manifest), size: manifest.length };
    return {
      tags: (RepoTags ?? []).map((tag) => formatReference(parseReference(tag))),
      documents: [{ descriptor, body: manifest }],
      manifestDigest: descriptor.digest,
      manifest: { kind: "manifest", config, layers },
      others: [],
    };
  });
}

function fileAt(archive: StagedArchive, path: string): StagedFile {
  const file = archive.file(cleanPath(Buffer.from(path, "utf8").toString("latin1")));
  if (file === undefined)
    throw new CridError("invalid-argument", `manifest.json names ${JSON.stringify(path)}, which is not in the archive`);
  return file;
}

function describe({ digest, size }: StagedFile, mediaType: string): Descriptor {
  return { mediaType, digest, size };
}

function parseArray(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch (error) {
    throw malformed("manifest.json", "it is not JSON", error);
  }
}
