import { toImageRef } from "../convert/image.ts";
import type { ImageHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** Removes the image with all its names. Succeeds for an image that is not there. */
export function removeImage({ images }: Pick<Services, "images">): ImageHandlers["RemoveImage"] {
  return async ({ image }, { signal }) => {
    await images.remove(toImageRef(image), { signal });
    return {};
  };
}
