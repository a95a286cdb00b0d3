/**
 * The `registry` part of the configuration, as this folder reads it.
 */
export interface RegistryConfig {
  /** Folders of containerd's `<host>/hosts.toml`, the first that has the host wins. Read anew on every pull. */
  readonly configPath: readonly string[];
  /** By registry host (`docker.io`, `registry.example:5000`), or `*` for every registry that has no entry of its own. */
  readonly mirrors: Readonly<Record<string, MirrorConfig>>;
  /** Credentials by registry host, for any endpoint on that host; those of the CRI call come first. */
  readonly auths?: Readonly<Record<string, CredentialConfig>> | undefined;
  /** Path of a docker `config.json` with `auths`, `credHelpers` and `credsStore`; "" or absent = none. */
  readonly dockerConfig?: string | undefined;
  /** The largest manifest or index that is read, in bytes. Default 4 MiB, as containerd and distribution have it. */
  readonly maxManifestSize?: number | undefined;
}

export interface MirrorConfig {
  /** Tried in order. A URL, or a URL with settings. */
  readonly endpoints: readonly (string | EndpointConfig)[];
  /** Whether the registry itself is tried after the mirrors. Default true. */
  readonly fallback?: boolean | undefined;
  /** Regular expression on the repository path -> replacement (`$1`); the first that matches is applied, on the mirrors only. */
  readonly rewrite?: Readonly<Record<string, string>> | undefined;
}

export interface EndpointConfig {
  /** `https://host[:port][/path]`; `http` is taken as meant. `/v2` is appended unless `overridePath`. */
  readonly url: string;
  readonly overridePath?: boolean | undefined;
  /** PEM files, added to the machine's authorities. */
  readonly ca?: readonly string[] | undefined;
  /** Client certificates: PEM files of certificate and key, or one file with both. */
  readonly client?: readonly { readonly cert: string; readonly key?: string | undefined }[] | undefined;
  readonly skipVerify?: boolean | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly dialTimeout?: number | undefined;
  /** Credentials for this mirror alone. */
  readonly auth?: CredentialConfig | undefined;
  /** Send this mirror the credentials that the CRI call brought for the image's own registry. Default false. */
  readonly useImageCredentials?: boolean | undefined;
  readonly rewrite?: Readonly<Record<string, string>> | undefined;
}

/** One of: user name and password, `auth` (base64 of `user:password`), an identity token, a bearer token. */
export interface CredentialConfig {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly auth?: string | undefined;
  readonly identityToken?: string | undefined;
  readonly registryToken?: string | undefined;
}

/** AuthConfig of the CRI's PullImageRequest. "" means "not set", as there. */
export interface RegistryAuth extends CredentialConfig {
  /** When set, the credentials are for this registry only (`https://host/v1/` or a host). */
  readonly serverAddress?: string | undefined;
}

export const defaultMaxManifestBytes = 4 * 1024 * 1024;
/** How long a connection attempt may take, as in containerd. */
export const defaultDialTimeoutMs = 30_000;
