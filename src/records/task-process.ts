/** A process that a shim started, and how to find the shim again after a restart of the daemon. */
export interface TaskProcess {
  pid: number;
  /** Field 22 of /proc/PID/stat: with the pid it names one process, whatever the kernel reuses. */
  pidStart: string;
  shim: ShimAddress;
}

export interface ShimAddress {
  /** `unix:///run/crid/s/...` */
  address: string;
  /** The task API of the shim: 2 (containerd 1.6 and 1.7) or 3. */
  version: 2 | 3;
  /** The path of the binary that was started, for `delete` after a crash. */
  binary: string;
}
