import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { noOracle, Oracle } from "../cdi/testkit/oracle.ts";
import { parseQuantity } from "./quantity.ts";

test("Kubernetes' own parser takes the same quantities for the same numbers", { skip: noOracle }, async () => {
  await using oracle = new Oracle();
  // No negative ones: nothing here takes them, and Kubernetes' parser rounds them now up, now down, and -9.125Gi to a positive number.
  // A sign or suffix without a digit before it is 0 to it, and an error here.
  const number = fc.tuple(fc.constantFrom("", "+"), fc.nat(99_999), fc.constantFrom("", ".", ".5", ".125")).map((parts) => parts.join(""));
  const suffix = fc.constantFrom("", "n", "u", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "E3", "e-2", "K", "ki", " M", "x");
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.tuple(number, suffix).map((parts) => parts.join("")),
        fc.stringMatching(/^[0-9][0-9.]{0,3}[a-zA-Z -]{0,3}$/),
      ),
      async (text) => {
        const { ok, result } = await oracle.ask({ op: "quantity", text });
        // Above 2^63 Kubernetes answers anything.
        if (ok) assert.ok(parseQuantity(text) >= 1n << 63n || String(parseQuantity(text)) === result, `${text}: ${String(result)}`);
        else assert.throws(() => parseQuantity(text), text);
      },
    ),
    { numRuns: 500 },
  );
});
