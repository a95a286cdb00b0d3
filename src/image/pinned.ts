import { isKind } from "../base/errors.ts";
import type { ImageRecord } from "../records/image-record.ts";
import { formatReference, parseReference } from "../registry/reference.ts";

/**
 * Makes the test of whether an image is pinned. A pattern is a reference (`registry.k8s.io/pause:3.10`, short names too), or has
 * `*` in it for any text (`registry.k8s.io/*`).
 */
export function pinnedBy(patterns: readonly string[]): (record: Pick<ImageRecord, "repoTags" | "repoDigests">) => boolean {
  const matchers = patterns.map(toMatcher);
  return ({ repoTags, repoDigests }) => [...repoTags, ...repoDigests].some((name) => matchers.some((matches) => matches(name)));
}

function toMatcher(pattern: string): (name: string) => boolean {
  if (pattern.includes("*")) {
    const expression = new RegExp(
      `^${pattern
        .split("*")
        .map((text) => RegExp.escape(text))
        .join(".*")}$`,
    );
    return (name) => expression.test(name);
  }
  try {
    const full = formatReference(parseReference(pattern));
    return (name) => name === full;
  } catch (error) {
    if (isKind(error, "invalid-argument")) return (name) => name === pattern;
    throw error;
  }
}
