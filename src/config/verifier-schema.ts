import * as z from "zod";
import { absolutePath, duration } from "./quantity-schemas.ts";

/** `image.verifier`. */
export const verifierSchema = z
  .strictObject({
    dir: z
      .union([z.literal(""), absolutePath])
      .prefault("/opt/crid/image-verifier/bin")
      .describe('Every file in it is a program that is asked before an image is pulled, as containerd\'s image verifiers are. "" = none.'),
    timeout: duration.prefault("10s").describe("A verifier that takes longer refuses."),
    maxVerifiers: z.int().prefault(10).describe("How many are asked, in the order of their names. -1 = all."),
    policies: z
      .record(z.string().min(1), z.enum(["off", "warn", "enforce"]))
      .prefault({})
      .describe(
        "By registry (docker.io), or * for the others: off, warn or enforce. Not set: enforce if there are verifiers; set to enforce, there must be some.",
      ),
  })
  .prefault({})
  .describe("Who may refuse images.");
