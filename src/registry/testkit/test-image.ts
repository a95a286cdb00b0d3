import { gzipSync, zstdCompressSync } from "node:zlib";
import { pack } from "tar-stream";
import { digestOf } from "../../base/digest.ts";

export interface TestFile {
  name: string;
  content?: string | Buffer;
  type?: "file" | "directory" | "symlink";
  linkname?: string;
  mode?: number;
}

export interface TestBlob {
  mediaType: string;
  digest: string;
  size: number;
  data: Buffer;
}

/** An image in memory, for tests: blobs by digest, and its manifest. */
export interface TestImage {
  config: TestBlob;
  layers: TestBlob[];
  diffIds: string[];
  manifest: TestBlob;
}

export interface TestImageOptions {
  layers: TestFile[][];
  compression?: "gzip" | "zstd" | "none";
  config?: Record<string, unknown>;
  architecture?: string;
  docker?: boolean;
}

const oci = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: {
    gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
    zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
    none: "application/vnd.oci.image.layer.v1.tar",
  },
};
const docker = {
  manifest: "application/vnd.docker.distribution.manifest.v2+json",
  index: "application/vnd.docker.distribution.manifest.list.v2+json",
  config: "application/vnd.docker.container.image.v1+json",
  layer: {
    gzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
    zstd: "application/vnd.docker.image.rootfs.diff.tar.zstd",
    none: "application/vnd.docker.image.rootfs.diff.tar",
  },
};

export const hostArchitecture = process.arch === "x64" ? "amd64" : process.arch;

export async function makeTestImage(options: TestImageOptions): Promise<TestImage> {
  const types = options.docker === true ? docker : oci;
  const compression = options.compression ?? "gzip";
  const tars = await Promise.all(options.layers.map(makeTar));
  const layers = tars.map((tar) => blob(types.layer[compression], compress(tar, compression)));
  const diffIds = tars.map((tar) => digestOf(tar));
  const config = blob(
    types.config,
    JSON.stringify({
      architecture: options.architecture ?? hostArchitecture,
      os: "linux",
      config: options.config ?? {},
      rootfs: { type: "layers", diff_ids: diffIds },
    }),
  );
  const manifest = blob(
    types.manifest,
    JSON.stringify({ schemaVersion: 2, mediaType: types.manifest, config: describe(config), layers: layers.map(describe) }),
  );
  return { config, layers, diffIds, manifest };
}

/** An index over the manifests, each for a platform `architecture[/variant]`. */
export function makeTestIndex(entries: { image: TestImage; architecture: string; variant?: string; os?: string }[]): TestBlob {
  const manifests = entries.map(({ image, architecture, variant, os }) => ({
    ...describe(image.manifest),
    platform: { os: os ?? "linux", architecture, ...(variant === undefined ? {} : { variant }) },
  }));
  return blob(oci.index, JSON.stringify({ schemaVersion: 2, mediaType: oci.index, manifests }));
}

export function blob(mediaType: string, content: string | Buffer): TestBlob {
  const data = Buffer.from(content);
  return { mediaType, digest: digestOf(data), size: data.length, data };
}

export function describe({ mediaType, digest, size }: TestBlob): { mediaType: string; digest: string; size: number } {
  return { mediaType, digest, size };
}

async function makeTar(files: TestFile[]): Promise<Buffer> {
  const tar = pack();
  for (const { name, content = "", type = "file", linkname, mode } of files) {
    tar.entry(
      {
        name,
        type,
        mode: mode ?? (type === "directory" ? 0o755 : 0o644),
        mtime: new Date(0),
        ...(linkname === undefined ? {} : { linkname }),
      },
      content,
    );
  }
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar as unknown as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function compress(tar: Buffer, how: "gzip" | "zstd" | "none"): Buffer {
  if (how === "none") return tar;
  return how === "gzip" ? gzipSync(tar) : zstdCompressSync(tar);
}
