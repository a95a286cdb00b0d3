import pLimit from "p-limit";
import { CridError } from "../base/errors.ts";
import type { PullSource } from "./layers.ts";
import type { PullProgress } from "./progress.ts";

/** A source for work whose blobs are all in the content store. @param where what is said of a blob that is not */
export function localSource(progress: PullProgress, where: string): PullSource {
  return {
    progress,
    limit: pLimit(1),
    repository: {
      download: async ({ digest }) => {
        throw new CridError("not-found", `${digest} is not ${where}`);
      },
    },
  };
}
