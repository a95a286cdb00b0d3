import { filled } from "../convert/fields.ts";
import type { AdminHandlers } from "./admin-methods.ts";
import type { AdminServices } from "./admin-services.ts";

/** Removes an image with all its names, as the CRI's RemoveImage does, or takes one name away. */
export function removeImage({ images }: Pick<AdminServices, "images">): AdminHandlers["RemoveImage"] {
  return async ({ ref, nameOnly }, { signal }) => {
    filled(ref, "ref");
    if (nameOnly) {
      images.untag(ref);
      return { removed: true };
    }
    const removed = images.get(ref) !== undefined;
    await images.remove(ref, { signal });
    return { removed };
  };
}
