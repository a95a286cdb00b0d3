import type {
  IdMapping,
  LinuxResources,
  NamespaceOptions,
  SecurityProfile,
  SelinuxOptions,
  SupplementalGroupsPolicy,
} from "./pod-config.ts";

/** A container as the kubelet asked for it: the CRI's ContainerConfig without the Windows parts, as plain JSON. */
export interface ContainerConfig {
  name: string;
  attempt: number;
  /** The image reference of the request (an id or a name), and the name the user wrote (for status and annotations). */
  image: { ref: string; userSpecified: string; annotations: Record<string, string>; runtimeHandler: string };
  command: string[];
  args: string[];
  workingDir: string;
  /** Values are base64: since cri-api 0.37 an environment value may be any bytes. */
  env: { name: string; valueBase64: string }[];
  mounts: MountConfig[];
  devices: { containerPath: string; hostPath: string; permissions: string }[];
  cdiDevices: string[];
  labels: Record<string, string>;
  annotations: Record<string, string>;
  /** Relative to the pod's log directory; "" = no log. */
  logPath: string;
  stdin: boolean;
  stdinOnce: boolean;
  tty: boolean;
  /** A name such as "SIGTERM" or "SIGRTMIN+3"; "" = what the image says, else SIGTERM. */
  stopSignal: string;
  resources: LinuxResources;
  security: ContainerSecurity;
}

export type MountPropagation = "private" | "host-to-container" | "bidirectional";

export interface MountConfig {
  containerPath: string;
  /** "" for an image mount. */
  hostPath: string;
  readonly: boolean;
  recursiveReadonly: boolean;
  selinuxRelabel: boolean;
  propagation: MountPropagation;
  uidMappings: IdMapping[];
  gidMappings: IdMapping[];
  /** An image mounted as a volume (KEP-4639). */
  image?: { ref: string; userSpecified: string; subPath: string };
  /** Extra options of the mount (cri-api 0.37), such as "noexec". */
  options: string[];
}

export interface ContainerSecurity {
  capabilities: { add: string[]; drop: string[]; addAmbient: string[] };
  privileged: boolean;
  namespaces: NamespaceOptions;
  selinux?: SelinuxOptions;
  runAsUser?: number;
  runAsGroup?: number;
  runAsUsername: string;
  readonlyRootfs: boolean;
  supplementalGroups: number[];
  supplementalGroupsPolicy: SupplementalGroupsPolicy;
  noNewPrivs: boolean;
  maskedPaths: string[];
  readonlyPaths: string[];
  seccomp?: SecurityProfile;
  apparmor?: SecurityProfile;
}
