import { fromRecord } from "./admin-convert.ts";
import type { AdminHandlers } from "./admin-methods.ts";
import type { AdminServices } from "./admin-services.ts";

export function rebuildState({ images }: Pick<AdminServices, "images">): AdminHandlers["RebuildState"] {
  return async (_, { signal }) => {
    const { restored, skipped } = await images.rebuild({ signal });
    return { restored: restored.map(fromRecord), skipped };
  };
}
