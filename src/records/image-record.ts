/** What the store keeps of an image. Can be rebuilt from `content/`. */
export interface ImageRecord {
  /** The digest of the config blob: `sha256:<hex>`. */
  id: string;
  /** Full references with a tag: `docker.io/library/busybox:1.36`. */
  repoTags: string[];
  /** Full references with a digest: `docker.io/library/busybox@sha256:...`. */
  repoDigests: string[];
  /** The digest of the image's manifest (of the chosen platform). */
  manifestDigest: string;
  /** Compressed layers plus config plus manifest, in bytes. */
  sizeBytes: number;
  /** Diff ids of the layers, lowest first. */
  diffIds: string[];
  /** Chain ids of the layers, lowest first; the last names the image's root file system. */
  chainIds: string[];
  config: ImageConfig;
  pinned: boolean;
  /** Digests of all that the image has in `content/`: index, manifest, config, layers. Absent in records not made by a pull. */
  blobs?: string[];
}

/** The `config` part of an OCI image configuration. */
export interface ImageConfig {
  user: string;
  env: string[];
  entrypoint: string[];
  cmd: string[];
  workingDir: string;
  stopSignal: string;
  labels: Record<string, string>;
  volumes: string[];
  os: string;
  architecture: string;
  variant: string;
}
