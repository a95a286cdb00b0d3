import { filled } from "../convert/fields.ts";
import type { AdminHandlers } from "./admin-methods.ts";
import type { AdminServices } from "./admin-services.ts";

export function unmountImage({ images }: Pick<AdminServices, "images">): AdminHandlers["UnmountImage"] {
  return async ({ what }) => {
    await images.unmount(filled(what, "what"));
    return {};
  };
}
