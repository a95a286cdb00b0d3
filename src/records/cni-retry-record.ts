import type { Nanos } from "../base/time.ts";
import type { CniAttachment } from "./cni-attachment.ts";

/**
 * A CNI DEL that failed when its pod was stopped or removed. It outlives the pod's record and is tried again, at growing
 * distances, until the plugin says yes.
 */
export interface CniRetryRecord {
  /** `<sandbox id>/<network name>/<interface>`. */
  id: string;
  sandboxId: string;
  /** `<namespace>/<name>` of the pod, for people. */
  pod: string;
  netnsPath: string;
  attachment: CniAttachment;
  /** Failed attempts so far, at least 1. */
  attempts: number;
  /** What the plugin said last. */
  lastError: string;
  firstFailedAt: Nanos;
  nextAttemptAt: Nanos;
}
