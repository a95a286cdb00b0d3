import { CridError } from "../base/errors.ts";

const alphabet = "abcdefghijklmnopqrstuvwxyz234567";

/**
 * The directory name of a layer: the first 130 bits of its chain id in base 32. A mount's options are bounded by a page
 * (4,096 bytes), so a lower directory's path must be short for an image of a hundred layers; 130 bits leave no room for a
 * collision, accidental or made.
 *
 * @throws internal for something else than `sha256:<64 hex digits>`
 */
export function layerDirectory(chainId: string): string {
  const hex = /^sha256:([0-9a-f]{64})$/.exec(chainId)?.[1];
  if (hex === undefined) throw new CridError("internal", `not a chain id: ${JSON.stringify(chainId)}`);
  let bits = BigInt(`0x${hex.slice(0, 34)}`) >> 6n;
  let name = "";
  for (let count = 0; count < 26; count++) {
    name = (alphabet[Number(bits & 31n)] ?? "") + name;
    bits >>= 5n;
  }
  return name;
}
