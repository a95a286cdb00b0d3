import { fromImageRecord, selectImages } from "../convert/image.ts";
import type { ImageHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";
import { pagesOf } from "./pages.ts";

/** One consistent list, in pages. */
export function streamImages({ images }: Pick<Services, "images">): ImageHandlers["StreamImages"] {
  return async function* ({ filter }) {
    for (const page of pagesOf(selectImages(images, filter))) yield { images: page.map(fromImageRecord) };
  };
}
