import { isDigest, parseDigest } from "../base/digest.ts";
import { CridError } from "../base/errors.ts";

/**
 * An image reference in its full form. Grammar and normalisation are those of github.com/distribution/reference, which the
 * kubelet, containerd and docker share: `busybox` is `docker.io/library/busybox:latest`.
 */
export interface Reference {
  /** Registry host with its port, as written: `docker.io`, `127.0.0.1:5000`, `[::1]:5000`. */
  readonly domain: string;
  /** Repository: `library/busybox`. */
  readonly path: string;
  /** Absent only when there is a digest. With a digest, the tag is what the user wrote beside it and is not looked at. */
  readonly tag?: string;
  /** `sha256:<hex>`. */
  readonly digest?: string;
}

const defaultDomain = "docker.io";
const legacyDomain = "index.docker.io";
const officialPrefix = "library/";
const defaultTag = "latest";

/** The limit of distribution/reference on the repository path. */
const maxPathLength = 255;
/** More than any valid reference has: domain 253 + port 6, path 255, tag 128, digest 200. */
const maxReferenceLength = 1024;

const domainPattern = /^(?:[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)*(?:\.[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)*)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?$/;
const pathPattern = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$/;
const tagPattern = /^\w[\w.-]{0,127}$/;
const identifierPattern = /^[a-f0-9]{64}$/;

/**
 * Parses what a user wrote into a full reference: `docker.io` and `library/` are filled in, and `:latest` when there is
 * neither a tag nor a digest.
 *
 * @throws CridError invalid-argument that says which part is wrong.
 */
export function parseReference(text: string): Reference {
  if (text === "") throw invalid(text, "is empty");
  if (text.length > maxReferenceLength) throw invalid(text, `is longer than ${maxReferenceLength} characters`);
  if (identifierPattern.test(text)) throw invalid(text, "64 hex digits are an image id, not a name");

  const { domain, rest } = splitDomain(text);
  if (!domainPattern.test(domain)) throw invalid(text, `${JSON.stringify(domain)} is not a host name or host:port`);

  const at = rest.indexOf("@");
  const named = at < 0 ? rest : rest.slice(0, at);
  const digest = at < 0 ? undefined : rest.slice(at + 1);
  const colon = named.indexOf(":");
  const path = colon < 0 ? named : named.slice(0, colon);
  const tag = colon < 0 ? undefined : named.slice(colon + 1);

  if (path.toLowerCase() !== path) throw invalid(text, `repository name ${JSON.stringify(path)} must be lower case`);
  if (!pathPattern.test(path)) throw invalid(text, `${JSON.stringify(path)} is not a repository name`);
  if (path.length > maxPathLength) throw invalid(text, `repository name is longer than ${maxPathLength} characters`);
  if (tag !== undefined && !tagPattern.test(tag)) throw invalid(text, `${JSON.stringify(tag)} is not a tag`);
  if (digest !== undefined && !isDigest(digest)) parseDigest(digest, `image reference ${JSON.stringify(text)}: digest`);

  if (digest !== undefined) return tag === undefined ? { domain, path, digest } : { domain, path, tag, digest };
  return { domain, path, tag: tag ?? defaultTag };
}

/** `docker.io/library/busybox`. */
export function repositoryOf(ref: Reference): string {
  return `${ref.domain}/${ref.path}`;
}

/** The full text by which the reference is stored and compared: by digest when there is one, else by tag. */
export function formatReference(ref: Reference): string {
  return ref.digest === undefined ? `${repositoryOf(ref)}:${ref.tag ?? defaultTag}` : `${repositoryOf(ref)}@${ref.digest}`;
}

/** The short text that people write: without `docker.io/` and `library/`, unless what is left would name another repository. */
export function familiarReference(ref: Reference): string {
  const tail = formatReference(ref).slice(repositoryOf(ref).length);
  if (ref.domain !== defaultDomain) return repositoryOf(ref) + tail;
  const official = ref.path.startsWith(officialPrefix) && !ref.path.slice(officialPrefix.length).includes("/");
  const short = official ? ref.path.slice(officialPrefix.length) : ref.path;
  return (splitDomain(short).domain === defaultDomain ? short : repositoryOf(ref)) + tail;
}

/**
 * The first element is a domain when it has a dot or a colon, is `localhost`, or has capitals (no repository may); anything
 * else is a repository on Docker Hub.
 */
function splitDomain(text: string): { domain: string; rest: string } {
  const slash = text.indexOf("/");
  const first = text.slice(0, Math.max(slash, 0));
  const isDomain = slash >= 0 && (first === "localhost" || /[.:]/.test(first) || first.toLowerCase() !== first);
  const domain = !isDomain || first === legacyDomain ? defaultDomain : first;
  const rest = isDomain ? text.slice(slash + 1) : text;
  return { domain, rest: domain === defaultDomain && !rest.includes("/") ? officialPrefix + rest : rest };
}

function invalid(text: string, why: string): CridError {
  const shown = text.length > 200 ? `${text.slice(0, 200)}...` : text;
  return new CridError("invalid-argument", `image reference ${JSON.stringify(shown)}: ${why}`);
}
