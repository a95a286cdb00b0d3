import type { Nanos } from "../base/time.ts";
import type { ContainerConfig } from "./container-config.ts";
import type { LinuxResources } from "./pod-config.ts";
import type { TaskProcess } from "./task-process.ts";

/** What the store keeps of a container. The state is derived from the times: see `container/status.ts`. */
export interface ContainerRecord {
  id: string;
  sandboxId: string;
  config: ContainerConfig;
  /** `<container>_<pod>_<namespace>_<pod uid>_<attempt>`. */
  reservedName: string;
  runtimeHandler: string;
  /** The image's id (config digest) and the reference shown in status. */
  imageId: string;
  imageRef: string;
  /** The absolute path of the log; "" = none. */
  logPath: string;
  /** Resolved when created: the config's, else the image's, else SIGTERM. A number, as kill(2) takes it. */
  stopSignal: number;
  /** The OCI cgroupsPath that an NRI plugin chose; absent: the pod's. */
  cgroupsPath?: string;
  /** The user the process runs as, for ContainerStatus. */
  user?: { uid: number; gid: number; supplementalGroups: number[] };
  /** Image volumes: where the image is mounted on the host, its id, and the container path it serves. */
  imageMounts: { containerPath: string; imageId: string; snapshotKey: string }[];
  status: ContainerStatusRecord;
}

export interface ContainerStatusRecord {
  createdAt: Nanos;
  startedAt: Nanos;
  finishedAt: Nanos;
  exitCode: number;
  /** A word for machines: Completed, Error, OOMKilled, StartError, ContainerStatusUnknown; "" while it lives. */
  reason: string;
  /** A sentence for people. */
  message: string;
  process?: TaskProcess;
  /** CreateContainer had not answered: found by recovery, it is undone. */
  creating: boolean;
  /** RemoveContainer was called: found by recovery, it is finished. */
  removing: boolean;
  /** The current limits: as created, then as updated. */
  resources: LinuxResources;
}
