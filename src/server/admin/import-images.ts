import type { crid } from "../../../api/crid/admin/v1/admin.js";
import { CridError } from "../../base/errors.ts";
import { ImportProgress } from "../../image/import.ts";
import { fromPull, fromRecord, toPlatform } from "./admin-convert.ts";
import type { AdminHandlers } from "./admin-methods.ts";
import type { AdminServices } from "./admin-services.ts";
import { watchProgress } from "./watch-progress.ts";

/** Takes an archive piece by piece; the caller sends no faster than it is written to disk. */
export function importImages({ images }: Pick<AdminServices, "images">): AdminHandlers["ImportImages"] {
  return async function* (requests, { signal }) {
    const iterator = requests[Symbol.asyncIterator]();
    const first = await iterator.next();
    const options = first.done === true ? undefined : first.value.options;
    if (options === null || options === undefined) throw new CridError("invalid-argument", "import: the first message must have options");
    const progress = new ImportProgress();
    const work = (o: { signal: AbortSignal }) =>
      images.import(archiveOf(iterator), {
        name: options.name === "" ? undefined : options.name,
        platform: toPlatform(options.platform, "options.platform"),
        allPlatforms: options.allPlatforms,
        progress,
        ...o,
      });
    for await (const event of watchProgress(work, () => progress.report(), { signal })) {
      if ("result" in event) yield { imported: { images: event.result.map(fromRecord) } };
      else {
        const { bytes, image } = event.seen;
        yield { progress: { bytes: BigInt(bytes), ...(image && { image: fromPull(image) }) } };
      }
    }
  };
}

async function* archiveOf(requests: AsyncIterator<InstanceType<typeof crid.admin.v1.ImportImagesRequest>>): AsyncGenerator<Buffer> {
  for (let next = await requests.next(); next.done !== true; next = await requests.next()) {
    const { data } = next.value;
    if (data === null || data === undefined || data.length === 0) continue;
    yield Buffer.isBuffer(data) ? data : Buffer.from(data);
  }
}
