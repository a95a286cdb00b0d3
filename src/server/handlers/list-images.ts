import { fromImageRecord, selectImages } from "../convert/image.ts";
import type { ImageHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

export function listImages({ images }: Pick<Services, "images">): ImageHandlers["ListImages"] {
  return ({ filter }) => ({ images: selectImages(images, filter).map(fromImageRecord) });
}
