import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { newId } from "../base/ids.ts";
import { createLogger, silentLogger } from "../base/log.ts";
import { Cdi } from "../cdi/cdi.ts";
import { Cgroups } from "../cgroup/cgroups.ts";
import { BlockIoClasses } from "../classes/block-io.ts";
import { RdtClasses } from "../classes/rdt.ts";
import { detachAll } from "../linux/mount.ts";
import { makeNetns } from "../linux/namespaces.ts";
import { kill } from "../linux/process.ts";
import { LoggerClient } from "../logger/logger-client.ts";
import { containerConfigFixture, imageConfigFixture, podConfigFixture } from "../oci/fixtures.ts";
import { podSpec } from "../oci/pod-spec.ts";
import type { ContainerConfig } from "../records/container-config.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { PodConfig } from "../records/pod-config.ts";
import { EventServer } from "../shim/event-server.ts";
import type { Shim } from "../shim/shim.ts";
import { Shims } from "../shim/shims.ts";
import type { RuncOptions } from "../shim/task-types.ts";
import { overlayMounts } from "../snapshot/overlay-mounts.ts";
import { Store } from "../store/store.ts";
import { Containers } from "./containers.ts";
import type { ContainerImages, ContainerTable, PodContext } from "./deps.ts";
import { LifecycleEvents } from "./events.ts";
import { probeSpecHost } from "./spec-host.ts";

// Real containers (shim, runc, logger, store, overlay) in a directory and a cgroup of their own, for the root tests.

const repository = join(import.meta.dirname, "../..");
const tools = join(repository, ".tools");
const busybox = join(tools, "images/busybox");
const pauseRootfs = join(repository, "dist/pause/rootfs");

export const shimVersions = Object.entries({
  "2.4": join(tools, "bin/containerd-shim-runc-v2"),
  "1.7": join(tools, "shims/1.7/containerd-shim-runc-v2"),
  "1.6": join(tools, "shims/1.6/containerd-shim-runc-v2"),
}).map(([version, path]) => ({
  version,
  path,
  skip: [path, busybox, join(pauseRootfs, "pause"), join(tools, "bin/runc")].every(existsSync)
    ? false
    : "needs hack/setup: shim, runc, pause, busybox",
}));

/** The part of a daemon that concerns containers. */
export interface ContainerDaemon {
  containers: Containers;
  logger: LoggerClient;
  shims: Shims;
  table: ContainerTable;
  /** Leaves the containers alone, as an ordered stop does. */
  close(): Promise<void>;
}

export interface TestPod extends PodContext {
  ready: boolean;
  stop(): Promise<void>;
  disconnect(): void;
  shimPid(): number;
}

export interface ContainerBed extends AsyncDisposable {
  dir: string;
  start(): Promise<ContainerDaemon>;
  /** A running pause on a network of its own. */
  pod(change?: Partial<PodConfig>): Promise<TestPod>;
  image: ImageRecord;
  /** A container of the image, its log in `<dir>/logs/<name>.log`. */
  config(change?: Partial<ContainerConfig>): ContainerConfig;
  log(name: string): string;
  leftovers(): Promise<string[]>;
}

export async function containerBed(shimBinary: string, settings: { drainExecTimeoutMs?: number } = {}): Promise<ContainerBed> {
  const dir = mkdtempSync(join(tmpdir(), "cc-"));
  const cgroup = `/crid-ctest-${randomBytes(3).toString("hex")}`;
  const log = process.env.CRID_TEST_LOG === undefined ? silentLogger() : createLogger({ level: "debug", format: "text" });
  const bundlesDir = join(dir, "bundles");
  for (const name of ["bundles", "containers", "rootfs", "volumes", "logs", "netns"]) mkdirSync(join(dir, name));
  const host = await probeSpecHost({ cgroupVersion: existsSync("/sys/fs/cgroup/cgroup.controllers") ? 2 : 1, recursiveReadonly: true });
  const options: RuncOptions = { binaryName: join(tools, "bin/runc"), root: join(dir, "runc"), systemdCgroup: false };
  const image = imageRecord();
  const images = testImages(dir, image);
  const pods = new Map<string, TestPod>();
  const daemons = new Set<ContainerDaemon>();
  const shims = new Shims({ stateDir: dir, namespace: "k8s.io", socketDir: join(dir, "s"), eventsAddress: join(dir, "events.sock"), log });
  const eventServer = new EventServer({ path: join(dir, "events.sock"), log });
  await eventServer.listen();

  const start = async (): Promise<ContainerDaemon> => {
    const store = Store.open({ path: join(dir, "meta.db"), lockPath: join(dir, "crid.lock"), log });
    const runLogger = pathToFileURL(join(import.meta.dirname, "../logger/process/run-logger.ts")).href;
    const script = `import { runLogger } from ${JSON.stringify(runLogger)}; await runLogger({ stateDir: process.argv[1] });`;
    const logger = new LoggerClient({
      stateDir: dir,
      command: [process.execPath, "--input-type=module", "-e", script, dir],
      log,
      maxLineSize: 16384,
    });
    await logger.ensureRunning({ signal: AbortSignal.timeout(10_000) });
    const containers = new Containers({
      pods: {
        get: (id) => pods.get(id) ?? fail(`no pod ${id}`),
        find: (id) => pods.get(id),
      },
      images,
      logger,
      shims,
      cgroups: new Cgroups({ log }),
      cdi: new Cdi({ enabled: true, dirs: [join(dir, "cdi")], log }),
      classes: {
        blockIo: new BlockIoClasses({ configFile: "", ignoreNotEnabledErrors: false, log }),
        rdt: new RdtClasses({ ignoreNotEnabledErrors: false, log }),
      },
      table: store.containers,
      paths: { containersDir: join(dir, "containers"), bundlesDir },
      host,
      settings: { drainExecTimeoutMs: settings.drainExecTimeoutMs ?? 10_000, drainExitTimeoutMs: 5_000 },
      log,
      events: new LifecycleEvents(),
    });
    const off = eventServer.subscribe((event) => {
      if (event.topic === "exit" || event.topic === "oom") void containers.onTaskEvent(event);
    });
    const daemon: ContainerDaemon = {
      containers,
      logger,
      shims,
      table: store.containers,
      close: async () => {
        if (!daemons.delete(daemon)) return;
        off();
        await containers.close();
        for (const pod of pods.values()) pod.disconnect();
        logger.disconnect();
        store.close();
      },
    };
    daemons.add(daemon);
    return daemon;
  };

  const pod: ContainerBed["pod"] = async (change = {}) => {
    const id = newId();
    const config = podConfigFixture({ logDirectory: join(dir, "logs"), uid: id.slice(0, 8), ...change });
    const netnsPath = join(dir, "netns", id);
    makeNetns(netnsPath);
    const files = join(dir, `pod-${id.slice(0, 8)}`);
    mkdirSync(join(files, "shm"), { recursive: true });
    for (const name of ["resolvConf", "hostname", "hosts"]) writeFileSync(join(files, name), `${name} of the pod\n`);
    const bundle = join(bundlesDir, id);
    mkdirSync(join(bundle, "rootfs"), { recursive: true });
    const { spec } = podSpec({
      id,
      config,
      process: { args: ["/pause"], env: [], cwd: "/" },
      user: { uid: 0, gid: 0, additionalGids: [] },
      rootfsPath: pauseRootfs,
      hostname: config.hostname,
      netnsPath,
      cgroupsPath: `${cgroup}/${id}`,
      shm: "",
      resolvConf: "",
      annotations: {},
      imageName: "",
      selinuxLevel: "",
      host,
      readSeccompProfile: () => "",
    });
    writeFileSync(join(bundle, "config.json"), JSON.stringify(spec));
    let shim: Shim | undefined = await shims.start({ id, bundle, binary: shimBinary, runtimeOptions: options }, limit());
    const { address, pid: shimPid } = shim;
    const { pid } = await shim.create(
      { id, bundle, rootfs: [], terminal: false, stdin: "", stdout: "", stderr: "", runtimeOptions: options },
      limit(),
    );
    await shim.start(id, limit());
    const made = {
      id,
      config,
      runtimeHandler: "runc",
      ready: true,
      netnsPath,
      pausePid: pid,
      containerCgroupsPath: (container: string) => `${cgroup}/${container}`,
      dirs: {
        resolvConf: join(files, "resolvConf"),
        hostname: join(files, "hostname"),
        hosts: join(files, "hosts"),
        shm: join(files, "shm"),
      },
      selinuxLabel: "",
      forPlugins: () => ({ id }),
      runtime: { options, shimBinary, podAnnotations: [], containerAnnotations: [] },
      shim: async (o: { signal: AbortSignal }) => (shim ??= await shims.connect(id, address, o)),
      shimPid: () => shimPid,
      disconnect: () => {
        shim?.close();
        shim = undefined;
      },
      stop: async () => {
        made.ready = false;
        pods.delete(id);
        const left = await made.shim(limit()).catch(() => undefined);
        if (left === undefined) {
          await shims.delete({ id, bundle, binary: shimBinary }, limit());
        } else {
          await left.kill(id, { signal: 9, all: true }, limit());
          await left.wait(id, limit());
          await left.delete(id, limit());
          await left.shutdown(id, limit());
          await left.closed;
        }
        detachAll(netnsPath);
        for (const path of [netnsPath, files, bundle]) rmSync(path, { recursive: true, force: true });
      },
    };
    pods.set(id, made);
    return made;
  };

  const leftovers = async (): Promise<string[]> => {
    const mounts = readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .filter((line) => line.includes(dir));
    const groups = cgroupRoots()
      .flatMap((root) => (existsSync(root + cgroup) ? readdirSync(root + cgroup, { withFileTypes: true }) : []))
      .filter((entry) => entry.isDirectory());
    const files = ["bundles", "containers", "rootfs", "volumes", "netns", "runc/k8s.io"].flatMap((name) => {
      const path = join(dir, name);
      return existsSync(path) ? readdirSync(path).map((file) => `${name}/${file}`) : [];
    });
    const processes = (await shims.list()).map(({ pid, id }) => `shim ${pid} of ${id}`);
    return [...mounts, ...groups.map(({ parentPath, name }) => `cgroup ${parentPath}/${name}`), ...files, ...processes];
  };

  return {
    dir,
    start,
    pod,
    image,
    log: (name) => readFileSync(join(dir, "logs", `${name}.log`), "utf8"),
    config: (change = {}) =>
      containerConfigFixture({
        image: { ref: "busybox", userSpecified: "busybox", annotations: {}, runtimeHandler: "" },
        logPath: `${change.name ?? "main"}.log`,
        ...change,
      }),
    leftovers,
    [Symbol.asyncDispose]: async () => {
      const logger = [...daemons][0]?.logger;
      for (const daemon of daemons) {
        for (const { record } of daemon.containers.list()) await daemon.containers.remove(record.id, limit()).catch(() => {});
      }
      for (const each of [...pods.values()]) await each.stop().catch(() => {});
      await logger?.shutdown();
      for (const daemon of daemons) await daemon.close();
      for (const { pid } of await shims.list()) kill(pid, 9);
      await eventServer.close();
      for (const root of cgroupRoots()) if (existsSync(root + cgroup)) rmdirSync(root + cgroup);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

export function limit(ms = 30_000): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(ms) };
}

function imageRecord(): ImageRecord {
  return {
    id: `sha256:${"b".repeat(64)}`,
    repoTags: ["docker.io/library/busybox:latest"],
    repoDigests: [],
    manifestDigest: `sha256:${"a".repeat(64)}`,
    sizeBytes: 1,
    diffIds: [],
    chainIds: [],
    config: imageConfigFixture({ env: ["PATH=/bin:/sbin:/usr/bin", "FROM_IMAGE=1"], cmd: ["sh"] }),
    pinned: false,
  };
}

/** One image: busybox from the tools directory, as a layer. */
function testImages(dir: string, image: ImageRecord): ContainerImages {
  return {
    get: (ref) => (ref === "busybox" || ref === image.id ? image : undefined),
    rootfs: async (key) => {
      const writable = join(dir, "rootfs", key);
      for (const name of ["fs", "work"]) mkdirSync(join(writable, name), { recursive: true });
      return overlayMounts({ lowers: [busybox], writable });
    },
    releaseRootfs: async (key) => rmSync(join(dir, "rootfs", key), { recursive: true, force: true }),
    rootfsUsage: async () => ({ bytes: 0, inodes: 0 }),
    mountVolume: async (key) => {
      mkdirSync(join(dir, "volumes", key), { recursive: true });
      return busybox;
    },
    releaseVolume: async (key) => rmSync(join(dir, "volumes", key), { recursive: true, force: true }),
  };
}

function cgroupRoots(): string[] {
  return existsSync("/sys/fs/cgroup/cgroup.controllers")
    ? ["/sys/fs/cgroup"]
    : readdirSync("/sys/fs/cgroup").map((name) => join("/sys/fs/cgroup", name));
}

function fail(message: string): never {
  throw new Error(message);
}
