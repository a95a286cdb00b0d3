import { fromPull } from "./admin-convert.ts";
import type { AdminHandlers } from "./admin-methods.ts";
import type { AdminServices } from "./admin-services.ts";

/** Pulls under way, the kubelet's too. */
export function listPulls({ images }: Pick<AdminServices, "images">): AdminHandlers["ListPulls"] {
  return () => ({ pulls: images.pulls().map(fromPull) });
}
