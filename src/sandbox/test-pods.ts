import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger, type Logger, silentLogger } from "../base/log.ts";
import { Cgroups } from "../cgroup/cgroups.ts";
import { Cni } from "../cni/cni.ts";
import { LifecycleEvents } from "../container/events.ts";
import { capabilities, oomScoreAdj } from "../linux/process.ts";
import { NetnsDriver } from "../netns/netns.ts";
import type { SpecHost } from "../oci/host.ts";
import type { PodConfig } from "../records/pod-config.ts";
import { EventServer } from "../shim/event-server.ts";
import { Shims } from "../shim/shims.ts";
import { Store } from "../store/store.ts";
import type { PodContainers, SandboxSettings } from "./deps.ts";
import { Sandboxes } from "./sandboxes.ts";

// Real pods in a directory, a bridge and a cgroup of their own, for the root tests.

const repository = join(import.meta.dirname, "../..");
const tools = join(repository, ".tools");
const shim = join(tools, "bin/containerd-shim-runc-v2");
const pauseRootfs = join(repository, "dist/pause/rootfs");
const plugins = join(tools, "cni/bin");

export const skip = [shim, pauseRootfs, join(plugins, "bridge")].every(existsSync) ? false : "needs hack/setup: shim, runc, pause, plugins";

/** A daemon's part that concerns pods. */
export interface PodDaemon {
  store: Store;
  sandboxes: Sandboxes;
  shims: Shims;
  cni: Cni;
  netns: NetnsDriver;
  /** Leaves the pods alone, as an ordered stop does. */
  close(): Promise<void>;
}

export interface PodBed extends AsyncDisposable {
  place: BedPlace;
  dir: string;
  /** Of the real plugins; those in `<dir>/plugins` are found first. */
  pluginDir: string;
  settings: SandboxSettings;
  cgroup: string;
  log: Logger;
  /** Writes the CNI configuration: a bridge, with other plugins around it. */
  network(options?: { before?: object[]; after?: object[] }): void;
  start(options?: { containers?: PodContainers }): Promise<PodDaemon>;
  config(change?: Partial<PodConfig>): PodConfig;
  /** Everything that should be gone at the end of a test and is not. */
  leftovers(): Promise<string[]>;
}

export function noContainers(): PodContainers {
  return { list: () => [], stop: async () => {}, remove: async () => {}, events: new LifecycleEvents() };
}

/** What tells one bed from another; hand it to a second process to let it work in the same. */
export interface BedPlace {
  dir: string;
  tag: string;
  subnet: string;
}

function newPlace(): BedPlace {
  const [second, third] = randomBytes(2);
  return { dir: mkdtempSync(join(tmpdir(), "cp-")), tag: randomBytes(3).toString("hex"), subnet: `10.${second}.${third}.0/24` };
}

export async function podBed(place: BedPlace = newPlace()): Promise<PodBed> {
  const { dir, tag, subnet } = place;
  const bridge = `ct${tag}`;
  const cgroup = `/crid-test-${tag}`;
  const log = process.env.CRID_TEST_LOG === undefined ? silentLogger() : createLogger({ level: "debug", format: "text" });
  const own = join(dir, "plugins");
  for (const name of ["net.d", "state", "plugins"]) mkdirSync(join(dir, name), { recursive: true });
  const settings: SandboxSettings = {
    bundlesDir: join(dir, "state/bundles"),
    podsDir: join(dir, "state/pods"),
    runtimeRoot: join(dir, "state/runc"),
    pauseRootfs,
    pauseImage: "",
    defaultHandler: "runc",
    handlers: {
      runc: {
        shim,
        binary: join(tools, "bin/runc"),
        podAnnotations: [],
        containerAnnotations: [],
        options: { NoPivotRoot: false, NoNewKeyring: false, ShimCgroup: "", IoUid: 0, IoGid: 0, Root: "" },
      },
    },
    cgroupDriver: "cgroupfs",
  };
  const daemons = new Set<PodDaemon>();

  const network: PodBed["network"] = ({ before = [], after = [] } = {}) => {
    const main = {
      type: "bridge",
      bridge,
      isGateway: true,
      ipam: {
        type: "host-local",
        dataDir: join(dir, "ipam"),
        ranges: [[{ subnet }]],
        routes: [{ dst: "0.0.0.0/0" }],
      },
    };
    const conflist = { cniVersion: "1.0.0", name: `n${tag}`, plugins: [...before, main, ...after] };
    writeFileSync(join(dir, "net.d/10-test.conflist"), JSON.stringify(conflist));
  };

  const start: PodBed["start"] = async ({ containers = noContainers() } = {}) => {
    mkdirSync(join(dir, "state"), { recursive: true });
    const eventServer = new EventServer({ path: join(dir, "state/events.sock"), log });
    await eventServer.listen();
    const store = Store.open({ path: join(dir, "meta.db"), lockPath: join(dir, "crid.lock"), log });
    const netns = new NetnsDriver({ dir: join(dir, "state/netns"), poolSize: 2, log });
    const cni = new Cni({ binDirs: [own, plugins], confDir: join(dir, "net.d"), log });
    await cni.start();
    const shims = new Shims({
      stateDir: join(dir, "state"),
      namespace: "k8s.io",
      socketDir: join(dir, "s"),
      eventsAddress: join(dir, "state/events.sock"),
      log,
    });
    const sandboxes = new Sandboxes({
      store,
      shims,
      cni,
      netns,
      cgroupsPath: (_parent, id) => `${cgroup}/${id}`,
      cgroups: new Cgroups({ log }),
      specHost: specHost(),
      settings,
      log,
    });
    sandboxes.useContainers(containers);
    const daemon: PodDaemon = {
      store,
      sandboxes,
      shims,
      cni,
      netns,
      close: async () => {
        if (!daemons.delete(daemon)) return;
        await sandboxes.close();
        await cni.close();
        await netns.close();
        await eventServer.close();
        store.close();
      },
    };
    daemons.add(daemon);
    return daemon;
  };

  const leftovers = async (): Promise<string[]> => {
    const files = (path: string): string[] => (existsSync(path) ? readdirSync(path).map((name) => join(path, name)) : []);
    const mounts = readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .map((line) => line.split(" ")[4] ?? "")
      .filter((point) => point.startsWith(dir) && !point.includes("/.pool-"));
    const addresses = files(join(dir, `ipam/n${tag}`)).filter((file) => /\/\d+\.\d+\.\d+\.\d+$/.test(file));
    const shims = [...daemons].map((daemon) => daemon.shims.list());
    const processes = (await Promise.all(shims)).flat().map(({ pid, id }) => `shim ${pid} of ${id}`);
    const groups = cgroupRoots().flatMap((root) =>
      existsSync(root + cgroup) ? readdirSync(root + cgroup, { withFileTypes: true }).filter((entry) => entry.isDirectory()) : [],
    );
    return [
      ...mounts.map((point) => `mount ${point}`),
      ...addresses.map((file) => `address ${file}`),
      ...processes,
      ...groups.map((group) => `cgroup ${group.parentPath}/${group.name}`),
      ...[settings.bundlesDir, settings.podsDir, join(dir, "state/netns"), join(dir, "s"), join(settings.runtimeRoot, "k8s.io")]
        .flatMap(files)
        .filter((file) => !file.includes("/.pool-")),
    ];
  };

  network();
  return {
    place,
    dir,
    pluginDir: plugins,
    settings,
    cgroup,
    log,
    network,
    start,
    leftovers,
    config: (change = {}) => ({ ...podConfig(), ...change }),
    [Symbol.asyncDispose]: async () => {
      for (const daemon of daemons) {
        for (const pod of daemon.store.sandboxes.all()) {
          await daemon.sandboxes.remove(pod.id, { signal: AbortSignal.timeout(30_000) }).catch(() => undefined);
        }
        for (const { pid } of await daemon.shims.list()) process.kill(pid, "SIGKILL");
        await daemon.close();
      }
      try {
        execFileSync("ip", ["link", "del", bridge], { stdio: "ignore" });
      } catch {
        // No pod was ever attached.
      }
      for (const root of cgroupRoots()) {
        try {
          rmdirSync(root + cgroup);
        } catch {
          // Not in this hierarchy.
        }
      }
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function cgroupRoots(): string[] {
  const root = "/sys/fs/cgroup";
  return existsSync(join(root, "cgroup.controllers")) ? [root] : readdirSync(root).map((name) => join(root, name));
}

function specHost(): SpecHost {
  const { bounding, effective } = capabilities();
  return {
    cgroupVersion: existsSync("/sys/fs/cgroup/cgroup.controllers") ? 2 : 1,
    bounding,
    minOomScoreAdj: effective.includes("CAP_SYS_RESOURCE") ? -1000 : oomScoreAdj(),
    swapController: false,
    hugetlbController: false,
    seccomp: true,
    apparmor: false,
    arch: process.arch,
    recursiveReadonly: true,
    rlimits: [],
    cgroupMountOptions: [],
  };
}

let serial = 0;

export function podConfig(): PodConfig {
  serial++;
  return {
    name: `web-${serial}`,
    uid: `uid-${serial}`,
    namespace: "default",
    attempt: 0,
    hostname: "web",
    logDirectory: "",
    dns: { servers: ["10.96.0.10"], searches: ["svc.example"], options: ["ndots:5"] },
    portMappings: [],
    labels: { app: "web" },
    annotations: {},
    cgroupParent: "",
    sysctls: {},
    security: {
      namespaces: { network: "pod", pid: "container", ipc: "pod", targetId: "" },
      privileged: false,
      readonlyRootfs: false,
      supplementalGroups: [],
      supplementalGroupsPolicy: "merge",
    },
  };
}
