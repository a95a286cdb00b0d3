import { toImageRef, toPullAuth } from "../convert/image.ts";
import type { ImageHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** Answers the image's id, which all other calls name it by too. */
export function pullImage({ images }: Pick<Services, "images">): ImageHandlers["PullImage"] {
  return async ({ image, auth }, { signal }) => {
    const credentials = toPullAuth(auth);
    const { id } = await images.pull(toImageRef(image), { ...(credentials && { auth: credentials }), signal });
    return { imageRef: id };
  };
}
