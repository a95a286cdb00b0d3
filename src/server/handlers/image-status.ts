import { fromImageRecord, toImageRef, verboseImage } from "../convert/image.ts";
import { verboseInfo } from "../convert/info.ts";
import type { ImageHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** An image that is not there is an empty answer, not an error. */
export function imageStatus({ images }: Pick<Services, "images">): ImageHandlers["ImageStatus"] {
  return ({ image, verbose }) => {
    const found = images.get(toImageRef(image));
    if (found === undefined) return {};
    return { image: fromImageRecord(found), ...(verbose && { info: verboseInfo(verboseImage(found)) }) };
  };
}
