import { readFileSync } from "node:fs";
import { join } from "node:path";
import { busybox, crictl, crictlJson, file, until } from "./guest.ts";

export type Driver = "systemd" | "cgroupfs";

/** The cgroup parent that a kubelet with this driver gives a burstable pod. */
export function podParent(driver: Driver, name: string): string {
  return driver === "systemd"
    ? `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${name}.slice`
    : `/kubepods/burstable/pod${name}`;
}

export interface Running {
  pod: string;
  container: string;
  parent: string;
}

/** A pod with one container. `name` makes it one of its own. */
export function start(driver: Driver, name: string, command: string[], resources: object = {}): Running {
  const parent = podParent(driver, name);
  const podFile = file(`${name}-pod.json`, {
    metadata: { name, uid: name, namespace: "default", attempt: 0 },
    log_directory: `/var/log/pods/${name}`,
    linux: { cgroup_parent: parent, resources: { cpu_shares: 512 } },
  });
  const containerFile = file(`${name}-container.json`, {
    metadata: { name: "main", attempt: 0 },
    image: { image: busybox },
    command,
    log_path: "main.log",
    linux: { resources },
  });
  const pod = runPod(podFile);
  const container = crictl("create", "--no-pull", pod, containerFile, podFile);
  crictl("start", container);
  return { pod, container, parent };
}

/** As a kubelet does, again when it fails: emulated on a busy machine, a shim may miss the time it has for its first answer. */
function runPod(podFile: string): string {
  for (let attempts = 1; ; attempts++) {
    try {
      return crictl("runp", podFile);
    } catch (error) {
      if (attempts === 3) throw error;
    }
  }
}

export interface ContainerState {
  state: string;
  exitCode: number;
  reason: string;
  pid: number;
}

export function inspect(container: string): ContainerState {
  const { status, info } = crictlJson<{ status: Omit<ContainerState, "pid">; info: { pid?: number } }>("inspect", container);
  return { ...status, pid: info.pid ?? 0 };
}

export function ended(container: string): Promise<ContainerState> {
  return until(`container ${container} to end`, () => {
    const state = inspect(container);
    return state.state === "CONTAINER_EXITED" ? state : undefined;
  });
}

/** The folder of the cgroup that the container's process is in. */
export function cgroupOf(container: string): string {
  const path = /^0::(.*)$/m.exec(readFileSync(`/proc/${inspect(container).pid}/cgroup`, "utf8"))?.[1];
  if (path === undefined) throw new Error(`the process of ${container} is in no cgroup of version 2`);
  return join("/sys/fs/cgroup", path);
}

export function limit(cgroup: string, name: string): string {
  return readFileSync(join(cgroup, name), "utf8").trim();
}
