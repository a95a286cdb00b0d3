import { badField } from "../convert/fields.ts";
import type { AdminHandlers } from "./admin-methods.ts";
import type { AdminServices } from "./admin-services.ts";

/** An archive of the images, piece by piece. */
export function exportImages({ images }: Pick<AdminServices, "images">): AdminHandlers["ExportImages"] {
  return async function* ({ refs, allPlatforms }, { signal }) {
    if (refs.length === 0) throw badField("refs", "is required");
    for await (const data of images.export(refs, { allPlatforms, signal })) yield { data };
  };
}
