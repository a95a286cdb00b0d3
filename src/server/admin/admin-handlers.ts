import type { AdminHandlers } from "./admin-methods.ts";
import type { AdminServices } from "./admin-services.ts";
import { checkImages } from "./check-images.ts";
import { explainImage } from "./explain-image.ts";
import { exportImages } from "./export-images.ts";
import { importImages } from "./import-images.ts";
import { listContent } from "./list-content.ts";
import { listImages } from "./list-images.ts";
import { listMounts } from "./list-mounts.ts";
import { listPulls } from "./list-pulls.ts";
import { mountImage } from "./mount-image.ts";
import { pullImage } from "./pull-image.ts";
import { readContent } from "./read-content.ts";
import { rebuildState } from "./rebuild-state.ts";
import { removeImage } from "./remove-image.ts";
import { tagImage } from "./tag-image.ts";
import { unmountImage } from "./unmount-image.ts";

/** A handler for each RPC of the Admin service. */
export function adminHandlers(services: AdminServices): AdminHandlers {
  return {
    ListImages: listImages(services),
    PullImage: pullImage(services),
    ImportImages: importImages(services),
    ExportImages: exportImages(services),
    MountImage: mountImage(services),
    UnmountImage: unmountImage(services),
    ListMounts: listMounts(services),
    TagImage: tagImage(services),
    RemoveImage: removeImage(services),
    CheckImages: checkImages(services),
    ListPulls: listPulls(services),
    ListContent: listContent(services),
    ReadContent: readContent(services),
    ExplainImage: explainImage(services),
    RebuildState: rebuildState(services),
  };
}
