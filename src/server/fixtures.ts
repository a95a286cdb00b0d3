import { runtime } from "../../api/cri/runtime/v1/api.js";
import { CridError } from "../base/errors.ts";
import { silentLogger } from "../base/log.ts";
import type { CgroupStats } from "../cgroup/stats.ts";
import { LifecycleEvents } from "../container/events.ts";
import { stateOf } from "../container/status.ts";
import type { ContainerRecord } from "../records/container-record.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { CgroupSample } from "../sandbox/stats/sample.ts";
import type { ContainerStats, PodStats } from "../sandbox/stats/stats.ts";
import type { Call } from "./call.ts";
import { toContainerConfig } from "./convert/container-config.ts";
import { toPodConfig } from "./convert/pod-config.ts";
import type { ContainerView, SandboxStatus, Services } from "./services.ts";

/*
 * A small node in memory for the tests of handlers: pods, containers and images are kept, and each call that does something is
 * written down.
 */

const { v1 } = runtime;

/** What a test does to get a decoded request: encode what a caller would send, and decode it. */
export function request<Message, Properties>(
  type: { encode(message: Properties): { finish(): Buffer }; decode(bytes: Uint8Array): Message },
  properties: Properties,
): Message {
  return type.decode(type.encode(properties).finish());
}

export function testCall(signal?: AbortSignal): Call {
  const failed = new AbortController();
  const either = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
  return { id: "1", method: "Test", signal: either, log: silentLogger(), fail: (reason) => failed.abort(reason) };
}

export const podRequest: runtime.v1.PodSandboxConfig.$Properties = {
  metadata: { name: "web", namespace: "shop", uid: "u-1", attempt: 2 },
  labels: { app: "web" },
  annotations: { note: "x" },
};

export const containerRequest: runtime.v1.ContainerConfig.$Properties = {
  metadata: { name: "main", attempt: 1 },
  image: { image: "sha256:abc", userSpecifiedImage: "nginx:1" },
  labels: { tier: "front" },
};

export function podStatus(id: string, change: Partial<SandboxStatus> = {}): SandboxStatus {
  const config = toPodConfig(request(v1.PodSandboxConfig, podRequest));
  return { id, config, runtimeHandler: "runc", state: "ready", createdAt: 5n, ips: ["10.1.0.2", "fd00::2"], ...change };
}

export function containerRecord(id: string, change: Partial<ContainerRecord> = {}): ContainerRecord {
  const config = toContainerConfig(request(v1.ContainerConfig, containerRequest));
  return {
    id,
    sandboxId: "pod1",
    config,
    reservedName: "main_web_shop_u-1_1",
    runtimeHandler: "runc",
    imageId: "sha256:abc",
    imageRef: "sha256:abc",
    logPath: "/var/log/pods/web/main/1.log",
    stopSignal: 15,
    imageMounts: [],
    status: {
      createdAt: 10n,
      startedAt: 11n,
      finishedAt: 0n,
      exitCode: 0,
      reason: "",
      message: "",
      creating: false,
      removing: false,
      resources: config.resources,
    },
    ...change,
  };
}

export function imageRecord(id: string, user = ""): ImageRecord {
  return {
    id,
    repoTags: ["docker.io/library/nginx:1"],
    repoDigests: [],
    manifestDigest: "sha256:def",
    sizeBytes: 1234,
    diffIds: ["sha256:d1"],
    chainIds: ["sha256:c1"],
    config: {
      user,
      env: [],
      entrypoint: [],
      cmd: ["nginx"],
      workingDir: "",
      stopSignal: "",
      labels: {},
      volumes: [],
      os: "linux",
      architecture: "amd64",
      variant: "",
    },
    pinned: false,
  };
}

export interface TestNode extends Services {
  /** What was asked for, in order: ["stop", "abc", 5000]. */
  readonly did: unknown[][];
  readonly pods: Map<string, SandboxStatus>;
  readonly records: Map<string, ContainerRecord>;
  readonly pulled: Map<string, ImageRecord>;
  readonly published: LifecycleEvents;
}

export function testNode(): TestNode {
  const did: unknown[][] = [];
  const pods = new Map<string, SandboxStatus>();
  const records = new Map<string, ContainerRecord>();
  const pulled = new Map<string, ImageRecord>();
  const published = new LifecycleEvents({ limit: 2 });
  const view = (record: ContainerRecord) => ({ record, state: stateOf(record.status) });
  const note = async (...what: unknown[]): Promise<void> => void did.push(what);
  return {
    runtimeSpec: async (id) => (id === "gone" ? undefined : { ociVersion: "1.2.0" }),
    did,
    pods,
    records,
    pulled,
    published,
    containers: {
      events: published,
      create: async ({ sandboxId, config }) => {
        await note("create", sandboxId, config.name);
        return "new-container";
      },
      start: (id) => note("start", id),
      stop: (id, { graceMs }) => note("stop", id, graceMs),
      remove: (id) => note("remove", id),
      get: (id) => view(records.get(id) ?? missing("container", id)),
      find: (id) => {
        const record = records.get(id);
        return record && view(record);
      },
      list: (filter = {}) => [...records.values()].map(view).filter((item) => filter.state === undefined || item.state === filter.state),
      execSync: async (id, { cmd, timeoutMs }) => {
        await note("exec-sync", id, cmd, timeoutMs);
        return { stdout: Buffer.from("out"), stderr: Buffer.alloc(0), exitCode: 3 };
      },
      updateResources: (id, { resources }) => note("update", id, resources),
      reopenLog: (id) => note("reopen", id),
    },
    sandboxes: {
      run: async ({ config, runtimeHandler }) => {
        await note("run", config.name, runtimeHandler);
        return "new-pod";
      },
      stop: (id) => note("stop-pod", id),
      remove: (id) => note("remove-pod", id),
      status: (id) => pods.get(id) ?? missing("pod", id),
      find: (id) => pods.get(id),
      verbose: () => ({ pid: 7, since: 5n }),
      list: (filter = {}) => [...pods.values()].filter((pod) => filter.state === undefined || pod.state === filter.state),
      updateResources: (id, { resources, overhead }) => note("update-pod", id, resources, overhead),
    },
    stats: {
      container: async (id) => containerStatsOf(view(records.get(id) ?? missing("container", id))),
      containers: async () => [...records.values()].map((record) => containerStatsOf(view(record))),
      pod: async (id) => podStatsOf(pods.get(id) ?? missing("pod", id), []),
      pods: async () =>
        [...pods.values()].map((pod) =>
          podStatsOf(
            pod,
            [...records.values()].map((record) => containerStatsOf(view(record))),
          ),
        ),
      samples: async () =>
        [...pods.values()].map((pod) => ({
          ...podStatsOf(pod, []),
          own: cgroupSample("/kubepods/podu-1"),
          pause: cgroupSample(`/kubepods/podu-1/${pod.id}`),
          pauseImage: "built-in",
          disk: { device: "254:0", bytes: 1000n, inodes: 100n, inodesFree: 60n },
          deviceName: () => "/dev/vda",
          containers: [...records.values()].map((record) => ({
            ...containerStatsOf(view(record)),
            ...cgroupSample(`/kubepods/podu-1/${record.id}`),
          })),
        })),
    },
    images: {
      pull: async (ref, { auth }) => {
        await note("pull", ref, auth);
        return imageRecord("sha256:abc");
      },
      get: (ref) => pulled.get(ref),
      list: () => [...pulled.values()],
      remove: (ref) => note("remove-image", ref),
      fsInfo: async () => [{ mountpoint: "/var/lib/crid/snapshots", bytes: 100, inodes: 7 }],
    },
    streaming: {
      exec: ({ containerId }) => `http://127.0.0.1:1/exec/${containerId}`,
      attach: ({ containerId }) => `http://127.0.0.1:1/attach/${containerId}`,
      portForward: ({ sandboxId }) => `http://127.0.0.1:1/portforward/${sandboxId}`,
    },
    node: {
      version: "1.2.3",
      cgroupDriver: "systemd",
      writableLayers: "/var/lib/crid/snapshots",
      runtime: () => ({ ready: true, reason: "", message: "" }),
      network: () => ({ ready: false, reason: "NoConfig", message: "no conf in /etc/cni/net.d" }),
      handlers: async () => [{ name: "", recursiveReadOnlyMounts: true, userNamespaces: false }],
      features: () => ({ supplementalGroupsPolicy: true, userNamespacesHostNetwork: false, mountOptions: true }),
      setPodCidr: (cidr) => void did.push(["cidr", cidr]),
      verbose: async () => ({ config: { sandboxImage: "built-in" } }),
    },
  };
}

function containerStatsOf(view: ContainerView): ContainerStats {
  return { view, cgroup: usage, nanoCores: 7n, writable: { at: 30n, bytes: 4096, inodes: 2 } };
}

function podStatsOf(pod: SandboxStatus, containers: ContainerStats[]): PodStats {
  const counters = { bytes: 1n, packets: 2n, errors: 3n, dropped: 4n };
  const interfaces = ["net1", "eth0"].map((name) => ({ name, rx: counters, tx: { ...counters, bytes: 11n } }));
  return { pod, cgroup: usage, network: { at: 20n, interfaces }, containers };
}

function cgroupSample(cgroupPath: string): CgroupSample {
  return {
    cgroupPath,
    cgroup: usage,
    memoryDetail: { cache: 3n },
    limits: { cpuPeriod: 100_000n, cpuQuota: 20_000n, cpuShares: 204n, memory: 200n, memoryAndSwap: 200n, memoryReservation: 0n },
    processes: { processes: 2, fileDescriptors: 9, sockets: 1, openFilesLimit: 1024n },
    oomKills: 1,
  };
}

const usage: CgroupStats = {
  at: 20_000_000_000n,
  cpu: {
    usageNanos: 5_000_000_000n,
    userNanos: 1n,
    systemNanos: 2n,
    periods: 3n,
    throttledPeriods: 4n,
    throttledNanos: 5n,
    burstPeriods: 0n,
    burstNanos: 0n,
  },
  memory: { usage: 100n, workingSet: 80n, rss: 60n, pageFaults: 5n, majorPageFaults: 1n, limit: 200n, available: 120n },
  pids: { current: 3n },
  io: [{ device: "8:0", readBytes: 1n, writeBytes: 2n, reads: 3n, writes: 4n }],
  psi: { cpu: { some: { avg10: 1.5, avg60: 1, avg300: 0, totalMicros: 2_000_000n } } },
};

function missing(what: string, id: string): never {
  throw new CridError("not-found", `${what} "${id}": not found`);
}
