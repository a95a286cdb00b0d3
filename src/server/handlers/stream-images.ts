import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { pagesOf } from "../convert/encoded-list.ts";
import { fromImageRecord, selectImages } from "../convert/image.ts";
import type { ImageHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";
import { maxPageBytes } from "./pages.ts";

const { Image } = runtime.v1;

/** One consistent list, in pages. */
export function streamImages({ images }: Pick<Services, "images">): ImageHandlers["StreamImages"] {
  return async function* ({ filter }) {
    yield* pagesOf(selectImages(images, filter), (one) => Image.encode(fromImageRecord(one)).finish(), maxPageBytes);
  };
}
