import type { CredentialConfig } from "../options.ts";

/** One place that may serve a repository, with all that is needed to talk to it. */
export interface Endpoint {
  /** Root of the API: `https://host[:port]/v2`, no slash at the end. */
  readonly url: string;
  /** `host[:port]` of the URL. */
  readonly host: string;
  /** upstream: the registry that the image names, or the `server` that stands for it; it gets the credentials of the CRI call. */
  readonly role: "mirror" | "upstream";
  /** pull: manifests by digest, and blobs. resolve: trusted to say which digest a tag is. */
  readonly capabilities: ReadonlySet<"pull" | "resolve">;
  /** The registry host sent as `?ns=` (containerd's convention, which pull-through caches rely on). */
  readonly namespace?: string;
  /** Repository path at this endpoint, after rewrite rules. */
  readonly path: string;
  /** Sent with each request to this host, and to no other. */
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly tls: TlsFiles;
  readonly dialTimeoutMs: number;
  readonly credentials?: CredentialConfig;
  readonly useImageCredentials: boolean;
  /** The same place by the other scheme, for a port that may speak either: used when this one turns out to be wrong. */
  readonly alternate?: Endpoint;
  /** Where this endpoint comes from, for people: `FILE:LINE`, a key of the configuration, or "default". */
  readonly source: string;
}

/** Absolute paths of PEM files. */
export interface TlsFiles {
  readonly ca: readonly string[];
  readonly client: readonly { readonly cert: string; readonly key?: string }[];
  readonly skipVerify: boolean;
}

export const noTlsFiles: TlsFiles = { ca: [], client: [], skipVerify: false };
