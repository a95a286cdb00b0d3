import { fromRecord } from "./admin-convert.ts";
import type { AdminHandlers } from "./admin-methods.ts";
import type { AdminServices } from "./admin-services.ts";

/** All images, or the one that is asked for. */
export function listImages({ images }: Pick<AdminServices, "images">): AdminHandlers["ListImages"] {
  return ({ ref }) => {
    const found = ref === "" ? images.list() : [images.get(ref)].filter((image) => image !== undefined);
    return { images: found.map(fromRecord) };
  };
}
