import { createHash, type Hash } from "node:crypto";
import { CridError } from "./errors.ts";

/** Hex digits of each algorithm that content may be named by (OCI image spec, descriptor.md, "Registered algorithms"). */
const hexLength = { sha256: 64, sha512: 128 } as const;

export type DigestAlgorithm = keyof typeof hexLength;

/**
 * Splits `sha256:<hex>`. The hex digits are lower case, as the spec demands: two spellings of one digest would be two files.
 *
 * @throws CridError invalid-argument when the text is not a digest of a known algorithm; `what` names it in the message.
 */
export function parseDigest(text: string, what = "digest"): { algorithm: DigestAlgorithm; hex: string } {
  const colon = text.indexOf(":");
  const algorithm = text.slice(0, Math.max(colon, 0));
  const hex = text.slice(colon + 1);
  if (!isAlgorithm(algorithm)) {
    throw new CridError(
      "invalid-argument",
      `${what} ${JSON.stringify(clip(text))}: must be sha256:<64 hex digits> or sha512:<128 hex digits>`,
    );
  }
  if (hex.length !== hexLength[algorithm] || !/^[0-9a-f]+$/.test(hex)) {
    throw new CridError(
      "invalid-argument",
      `${what} ${JSON.stringify(clip(text))}: must have ${hexLength[algorithm]} lower case hex digits`,
    );
  }
  return { algorithm, hex };
}

/** Whether the text is a digest that {@link parseDigest} accepts. */
export function isDigest(text: string): boolean {
  const colon = text.indexOf(":");
  const algorithm = text.slice(0, Math.max(colon, 0));
  return isAlgorithm(algorithm) && text.length - colon - 1 === hexLength[algorithm] && /^[0-9a-f]+$/.test(text.slice(colon + 1));
}

/** The digest of bytes in memory. Small ones only: this is synchronous. */
export function digestOf(data: Uint8Array | string, algorithm: DigestAlgorithm = "sha256"): string {
  return `${algorithm}:${createHash(algorithm).update(data).digest("hex")}`;
}

/** A running hash of the algorithm that `digest` names. */
export function hashFor(digest: string): Hash {
  return createHash(parseDigest(digest).algorithm);
}

function isAlgorithm(text: string): text is DigestAlgorithm {
  return Object.hasOwn(hexLength, text);
}

function clip(text: string): string {
  return text.length > 160 ? `${text.slice(0, 160)}...` : text;
}
