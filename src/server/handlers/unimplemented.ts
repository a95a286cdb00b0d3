import { CridError } from "../../base/errors.ts";
import type { UnaryHandler } from "../call.ts";

/** The RPCs that crid does not have; README.md lists them too. Nothing in Kubernetes 1.37 needs them to run pods. */
export const unimplementedRpcs = ["CheckpointContainer", "CheckpointPod", "RestorePod"] as const;

/** Answers UNIMPLEMENTED, by which callers know to do without. */
export function unimplemented<Request, Response>(method: string): UnaryHandler<Request, Response> {
  return () => {
    throw new CridError("unimplemented", `${method}: crid does not have this call`);
  };
}
