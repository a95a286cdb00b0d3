import type { Nanos } from "../base/time.ts";
import type { CniAttachment } from "./cni-attachment.ts";
import type { PodConfig } from "./pod-config.ts";
import type { TaskProcess } from "./task-process.ts";

/**
 * What the store keeps of a pod sandbox. `config` never changes after the record is written, but for `resources` and
 * `overhead` (UpdatePodSandboxResources).
 */
export interface SandboxRecord {
  id: string;
  config: PodConfig;
  runtimeHandler: string;
  /** The unique name that a retried RunPodSandbox finds: `<name>_<namespace>_<uid>_<attempt>`. */
  reservedName: string;
  createdAt: Nanos;
  /**
   * creating: RunPodSandbox has not answered; found by recovery, it is undone.
   * ready: it answered, and the pause process runs.
   * not-ready: stopped, or the pause process died.
   */
  state: "creating" | "ready" | "not-ready";
  /** The pod's own SELinux level, with categories that no other pod has; absent without SELinux. */
  selinuxLevel?: string;
  /** "" for pods on the host's network. Written before the namespace is made. */
  netnsPath: string;
  /** One per CNI network, in the order of the ADDs. Written with `pending: true` before the ADD. */
  attachments: CniAttachment[];
  /** The pod's addresses, primary first. */
  ips: string[];
  /** The pause process; absent until its shim was started (then with pid 0) and once it has been ended. */
  process?: TaskProcess;
  /** RemovePodSandbox was called: found by recovery, it is finished. */
  removing?: boolean;
}
