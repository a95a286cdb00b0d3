import { hashFor, parseDigest } from "../../base/digest.ts";
import { CridError } from "../../base/errors.ts";
import type { AdminHandlers } from "./admin-methods.ts";
import type { AdminServices } from "./admin-services.ts";

/** A blob, piece by piece; ends with an error when what was sent has not its digest. */
export function readContent({ content }: Pick<AdminServices, "content">): AdminHandlers["ReadContent"] {
  return async function* ({ digest }, { signal }) {
    const { hex } = parseDigest(digest, "digest");
    if ((await content.stat(digest)) === undefined) throw new CridError("not-found", `blob ${digest}: not found`);
    const hash = hashFor(digest);
    for await (const data of content.open(digest)) {
      signal.throwIfAborted();
      hash.update(data);
      yield { data };
    }
    if (hash.digest("hex") !== hex)
      throw new CridError("data-loss", `blob ${digest}: it is damaged on disk; run crid images check --repair`);
  };
}
