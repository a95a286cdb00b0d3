import type { Nanos } from "../base/time.ts";

/** Options of containerd-shim-runc-v2 (containerd.runc.v1.Options) for the shim's start and for each Create. */
export interface RuncOptions {
  /** The OCI runtime: a path, or a name in PATH. "" = runc. */
  binaryName: string;
  /** The OCI runtime's own state directory; the shim puts the namespace below it. "" = the shim's default. */
  root: string;
  systemdCgroup: boolean;
  noNewKeyring?: boolean;
  noPivotRoot?: boolean;
  /** The cgroup the shim is put in when it starts. Shims before 2.3 started this way ignore it. */
  shimCgroup?: string;
  ioUid?: number;
  ioGid?: number;
}

/** A mount that the shim makes for the task's root file system, before the OCI runtime is called. */
export interface RootfsMount {
  type: string;
  source: string;
  /** Below the bundle's `rootfs`; "" = `rootfs` itself. */
  target: string;
  options: string[];
}

/** How a process ended: 0 to 255, 128 + n when a signal ended it. */
export interface TaskExit {
  exitStatus: number;
  /** 0n while it has not. */
  exitedAt: Nanos;
}

export interface DeletedTask extends TaskExit {
  pid: number;
}

export interface TaskState extends TaskExit {
  status: "created" | "running" | "stopped" | "paused" | "unknown";
  pid: number;
  bundle: string;
  terminal: boolean;
  stdin: string;
  stdout: string;
  stderr: string;
}

export interface CreateTask {
  id: string;
  bundle: string;
  /** Empty when the spec's root.path is a directory that is ready. */
  rootfs: readonly RootfsMount[];
  terminal: boolean;
  /** Paths of fifos; "" = none. All three empty: the process gets /dev/null. */
  stdin: string;
  stdout: string;
  stderr: string;
  runtimeOptions: RuncOptions;
}

export interface ExecTask {
  execId: string;
  terminal: boolean;
  stdin: string;
  stdout: string;
  stderr: string;
  /** The OCI runtime spec's `process` object. */
  process: object;
}
