import { filled } from "../convert/fields.ts";
import { fromRecord } from "./admin-convert.ts";
import type { AdminHandlers } from "./admin-methods.ts";
import type { AdminServices } from "./admin-services.ts";

export function tagImage({ images }: Pick<AdminServices, "images">): AdminHandlers["TagImage"] {
  return ({ ref, name }) => ({ image: fromRecord(images.tag(filled(ref, "ref"), filled(name, "name"))) });
}
