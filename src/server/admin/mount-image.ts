import { filled } from "../convert/fields.ts";
import type { AdminHandlers } from "./admin-methods.ts";
import type { AdminServices } from "./admin-services.ts";

export function mountImage({ images }: Pick<AdminServices, "images">): AdminHandlers["MountImage"] {
  return async ({ ref }) => ({ mount: await images.mount(filled(ref, "ref")) });
}
