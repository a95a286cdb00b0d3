import { CridError } from "./errors.ts";

const decimalPowers: Record<string, number> = { n: -9, u: -6, m: -3, "": 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
const binaryPowers: Record<string, bigint> = { Ki: 10n, Mi: 20n, Gi: 30n, Ti: 40n, Pi: 50n, Ei: 60n };

/**
 * The value of a Kubernetes quantity ("10M", "1.5Gi", "12e3", "250m") as a whole number, rounded up as Quantity.Value() does.
 * Grammar: k8s.io/apimachinery/pkg/api/resource, quantity.go.
 *
 * @throws CridError invalid-argument.
 */
export function parseQuantity(text: string): bigint {
  const found = /^([+-]?)(\d*)(?:\.(\d*))?(?:([eE][+-]?\d+)|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?)$/.exec(text);
  const [, sign = "", whole = "", fraction = "", exponent, suffix = ""] = found ?? [];
  const power = exponent === undefined ? (decimalPowers[suffix] ?? 0) : Number(exponent.slice(1));
  if (found === null || whole + fraction === "" || Math.abs(power) > 30 || text.length > 64) {
    throw new CridError("invalid-argument", `${JSON.stringify(text)} is not a quantity; write it like 10M, 1.5Gi or 1e6`);
  }
  const binary = exponent === undefined ? (binaryPowers[suffix] ?? 0n) : 0n;
  let numerator = BigInt(whole + fraction) << binary;
  const shift = power - fraction.length;
  let denominator = 1n;
  if (shift >= 0) numerator *= 10n ** BigInt(shift);
  else denominator = 10n ** BigInt(-shift);
  if (sign === "-") return -(numerator / denominator);
  return (numerator + denominator - 1n) / denominator;
}
