import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newId } from "../base/ids.ts";
import { silentLogger } from "../base/log.ts";
import { EventServer, type TaskEvent } from "./event-server.ts";
import { Shims } from "./shims.ts";
import type { CreateTask, RuncOptions } from "./task-types.ts";

// Real shims in a directory of their own, for the root tests.

const repository = join(import.meta.dirname, "../..");
const tools = join(repository, ".tools");

export const runcBinary = join(tools, "bin/runc");
export const pauseRootfs = join(repository, "dist/pause/rootfs");

/** The shims that are built here, by containerd version. */
export const shimBinaries = Object.entries({
  "2.4": join(tools, "bin/containerd-shim-runc-v2"),
  "1.7": join(tools, "shims/1.7/containerd-shim-runc-v2"),
  "1.6": join(tools, "shims/1.6/containerd-shim-runc-v2"),
}).map(([version, path]) => ({ version, path, skip: existsSync(path) ? false : `${path} is not built; run hack/setup` }));

export interface ShimBed extends AsyncDisposable {
  dir: string;
  shims: Shims;
  eventServer: EventServer;
  events: TaskEvent[];
  options: RuncOptions;
  /** A second daemon over the same state. */
  restarted(): Shims;
  /** Makes a bundle `<dir>/<id>` with this process. */
  bundle(options: BundleOptions): Promise<{ id: string; bundle: string }>;
  task(task: { id: string; bundle: string }, stdio?: Partial<CreateTask>): CreateTask;
  /** Everything that should be gone at the end of a test and is not. */
  leftovers(): Promise<string[]>;
}

interface BundleOptions {
  /** The group: the sandbox' id, default the bundle's own. */
  sandbox?: string;
  /** Default: pause from a read-only directory. Else the host's programs in a root of its own. */
  args?: string[];
  terminal?: boolean;
}

export async function shimBed(): Promise<ShimBed> {
  const dir = await mkdtemp(join(tmpdir(), "cs-"));
  const log = silentLogger();
  const make = (): Shims =>
    new Shims({ stateDir: dir, namespace: "k8s.io", socketDir: join(dir, "s"), eventsAddress: join(dir, "events.sock"), log });
  const eventServer = new EventServer({ path: join(dir, "events.sock"), log });
  const events: TaskEvent[] = [];
  eventServer.subscribe((event) => events.push(event));
  await eventServer.listen();
  const shims = make();
  const ids: string[] = [];
  const options = { binaryName: runcBinary, root: join(dir, "runc"), systemdCgroup: false };
  const leftovers = async (): Promise<string[]> => {
    const mounts = (await readFile("/proc/self/mountinfo", "utf8")).split("\n").filter((line) => line.includes(dir));
    const sockets = await readdir(join(dir, "s")).catch(() => []);
    const cgroups = ids.flatMap((id) => cgroupDirs().map((root) => join(root, cgroupName(id)))).filter((path) => existsSync(path));
    const processes = (await shims.list()).map(({ pid, id }) => `shim ${pid} of ${id}`);
    const runc = await readdir(join(dir, "runc/k8s.io")).catch(() => []);
    return [...mounts, ...sockets, ...cgroups, ...processes, ...runc.map((id) => `runc state of ${id}`)];
  };
  return {
    dir,
    shims,
    eventServer,
    events,
    options,
    restarted: make,
    leftovers,
    bundle: async (bundle) => {
      const id = newId();
      ids.push(id);
      const path = join(dir, id);
      await mkdir(join(path, "rootfs"), { recursive: true });
      await writeFile(join(path, "config.json"), JSON.stringify(spec(id, path, bundle)));
      return { id, bundle: path };
    },
    task: ({ id, bundle }, stdio = {}) => ({
      id,
      bundle,
      rootfs: [],
      terminal: false,
      stdin: "",
      stdout: "",
      stderr: "",
      runtimeOptions: options,
      ...stdio,
    }),
    [Symbol.asyncDispose]: async () => {
      for (const { pid } of await shims.list()) process.kill(pid, "SIGKILL");
      for (const id of ids) {
        await shims.delete({ id, bundle: join(dir, id), binary: shimBinaries[0]?.path ?? "" }, {}).catch(() => undefined);
      }
      await eventServer.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function cgroupName(id: string): string {
  return `crid-shim-test-${id}`;
}

function cgroupDirs(): string[] {
  return existsSync("/sys/fs/cgroup/cgroup.controllers")
    ? ["/sys/fs/cgroup"]
    : ["memory", "cpu", "pids", "unified", "systemd"].map((name) => `/sys/fs/cgroup/${name}`);
}

function spec(id: string, bundle: string, options: BundleOptions): object {
  const { args } = options;
  const mounts = [
    { destination: "/proc", type: "proc", source: "proc" },
    { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"] },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
    },
  ];
  const programs = ["/bin", "/lib", "/lib64", "/usr"].map((path) => ({
    destination: path,
    type: "bind",
    source: path,
    options: ["rbind", "ro"],
  }));
  return {
    ociVersion: "1.1.0",
    process: {
      terminal: options.terminal ?? false,
      user: { uid: 0, gid: 0 },
      args: args ?? ["/pause"],
      env: ["PATH=/usr/bin:/bin"],
      cwd: "/",
      noNewPrivileges: true,
      capabilities: {},
    },
    root: args === undefined ? { path: pauseRootfs, readonly: true } : { path: join(bundle, "rootfs"), readonly: false },
    hostname: "test",
    mounts: args === undefined ? mounts : [...mounts, ...programs],
    annotations: { "io.kubernetes.cri.sandbox-id": options.sandbox ?? id },
    linux: {
      cgroupsPath: `/${cgroupName(id)}`,
      namespaces: ["pid", "ipc", "uts", "mount", "network"].map((type) => ({ type })),
      resources: {},
    },
  };
}

/** The `process` of an exec. */
export function execProcess(...args: string[]): object {
  return {
    terminal: false,
    user: { uid: 0, gid: 0 },
    args,
    env: ["PATH=/usr/bin:/bin"],
    cwd: "/",
    noNewPrivileges: true,
    capabilities: {},
  };
}
