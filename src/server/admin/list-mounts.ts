import type { AdminHandlers } from "./admin-methods.ts";
import type { AdminServices } from "./admin-services.ts";

/** The images that people have mounted; not those of containers. */
export function listMounts({ images }: Pick<AdminServices, "images">): AdminHandlers["ListMounts"] {
  return async () => ({ mounts: await images.hostMounts() });
}
