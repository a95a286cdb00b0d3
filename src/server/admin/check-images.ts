import { CridError } from "../../base/errors.ts";
import type { CheckProgress } from "../../image/check.ts";
import type { AdminHandlers } from "./admin-methods.ts";
import type { AdminServices } from "./admin-services.ts";
import { watchProgress } from "./watch-progress.ts";

/** Tells the faults of all images, and what became of each that was repaired. One at a time: it reads everything. */
export function checkImages({ images }: Pick<AdminServices, "images">): AdminHandlers["CheckImages"] {
  let running = false;
  return async function* ({ repair }, { signal }) {
    if (running) throw new CridError("unavailable", "check images: another check is going on; wait for it");
    running = true;
    try {
      let progress: CheckProgress | undefined;
      const work = (o: { signal: AbortSignal }) =>
        images.check({
          onProgress: (now) => {
            progress = now;
          },
          ...o,
        });
      for await (const event of watchProgress(work, () => progress, { signal })) {
        if ("seen" in event) {
          yield { progress: event.seen };
          continue;
        }
        const faults = event.result;
        for (const { imageId, repoTags: tags, kind, name, detail } of faults) yield { fault: { imageId, tags, kind, name, detail } };
        if (!repair) continue;
        for await (const { imageId, repoTags: tags, outcome, detail } of images.repair(faults, { signal }))
          yield { repair: { imageId, tags, outcome, detail } };
      }
    } finally {
      running = false;
    }
  };
}
