import type { PullReport } from "../../image/progress.ts";
import { formatReference, parseReference } from "../../registry/reference.ts";
import { filled } from "../convert/fields.ts";
import { fromPull, fromRecord, toAuth, toPlatform } from "./admin-convert.ts";
import type { AdminHandlers } from "./admin-methods.ts";
import type { AdminServices } from "./admin-services.ts";
import { watchProgress } from "./watch-progress.ts";

/** Pulls, or joins a pull of the same that goes on, and tells how far it is. */
export function pullImage({ images }: Pick<AdminServices, "images">): AdminHandlers["PullImage"] {
  return async function* ({ ref, credentials, platform: wanted }, { signal }) {
    const name = formatReference(parseReference(filled(ref, "ref")));
    const auth = toAuth(credentials);
    const platform = toPlatform(wanted, "platform");
    const pull = (o: { signal: AbortSignal }) => images.pull(ref, { ...(auth && { auth }), ...(platform && { platform }), ...o });
    const look = () => images.pulls().find((report) => report.ref === name);
    let last: PullReport | undefined;
    for await (const event of watchProgress(pull, look, { signal })) {
      if ("seen" in event) {
        last = event.seen;
        yield { progress: fromPull(last) };
        continue;
      }
      // The end comes between two looks.
      if (last !== undefined) yield { progress: fromPull(finished(last)) };
      yield { image: fromRecord(event.result) };
    }
  };
}

function finished(report: PullReport): PullReport {
  return { ...report, blobs: report.blobs.map((blob) => ({ ...blob, state: "done", bytes: blob.size })) };
}
