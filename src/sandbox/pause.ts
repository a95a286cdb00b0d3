import { CridError, messageOf } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import type { Rollback } from "../base/rollback.ts";
import { readSeccompProfile } from "../container/seccomp-profile.ts";
import { processStart } from "../linux/process.ts";
import { passedOn } from "../oci/annotations.ts";
import { podSpec } from "../oci/pod-spec.ts";
import type { OciSpec } from "../oci/spec.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { RootfsMount } from "../snapshot/snapshotter.ts";
import type { PauseImages, SandboxDeps } from "./deps.ts";
import { labelPodFiles, makeBundle, makePodFiles, podHostname, removePodDirs } from "./dirs.ts";
import { endProcess } from "./end-process.ts";
import type { Env } from "./env.ts";
import type { Pod } from "./pod.ts";
import type { RuntimeHandler } from "./runtime-handlers.ts";

const SHIM_START_TIMEOUT_MS = 30_000;
const TASK_TIMEOUT_MS = 120_000;
const IMAGE_TIMEOUT_MS = 240_000;

export interface PauseOptions {
  handler: RuntimeHandler;
  rollback: Rollback;
  signal: AbortSignal;
  /** Settles when the task may be created: the network namespace is there (or the whole network, where sysctls need it). */
  networkReady: Promise<void>;
  /** Called with the pid once the process exists, stopped before its first instruction: namespaces can be taken from it. */
  onCreated?: (pid: number) => void;
}

/** Makes the pod's files, starts its shim, and creates and starts the pause process in it. */
export async function startPause(env: Env, pod: Pod, options: PauseOptions): Promise<void> {
  const { deps } = env;
  const { handler, rollback, signal } = options;
  const { timeline } = pod;
  rollback.push("directories", () => removePodDirs(pod.files));
  const rootfs = await pauseRootfs(deps, pod, options);
  const seccomp = await readSeccompProfile(pod.config.security.seccomp);
  makeBundle(pod.files, pauseSpec(deps, pod, { handler, rootfs, seccomp }));
  await failpoint("sandbox.run.after-bundle", { signal });

  rollback.push("pause process and shim", ({ signal }) => endProcess(env, pod, { signal }));
  const starting = timeline.run("start shim", { signal, timeoutMs: SHIM_START_TIMEOUT_MS }, ({ signal }) =>
    deps.shims.start({ id: pod.id, bundle: pod.files.bundle, binary: handler.shimBinary, runtimeOptions: handler.options }, { signal }),
  );
  // While the shim starts: the daemon has nothing else to do for this pod.
  const filed = timeline.run("make files", { signal, timeoutMs: TASK_TIMEOUT_MS }, () => {
    makePodFiles(pod.files, pod.config);
    labelPodFiles(pod.files, pod.selinuxLabels?.mount ?? "");
  });
  const [started] = await Promise.allSettled([starting, filed]);
  if (started.status === "rejected") throw started.reason;
  const shim = started.value;
  pod.attachShim(shim);
  // On disk before there is a task: a daemon that dies now finds the shim again.
  pod.update({ process: { pid: 0, pidStart: "", shim: shim.address } });
  await filed;
  await failpoint("sandbox.run.after-shim", { signal });

  await options.networkReady;
  const { pid } = await timeline.run("create pause", { signal, timeoutMs: TASK_TIMEOUT_MS }, ({ signal }) =>
    shim.create(
      {
        id: pod.id,
        bundle: pod.files.bundle,
        rootfs: rootfs.mounts,
        terminal: false,
        stdin: "",
        stdout: "",
        stderr: "",
        runtimeOptions: handler.options,
      },
      { signal },
    ),
  );
  pod.update({ process: { pid, pidStart: processStart(pid) ?? "", shim: shim.address } });
  options.onCreated?.(pid);
  await failpoint("sandbox.run.after-create", { signal });
  await timeline.run("start pause", { signal, timeoutMs: TASK_TIMEOUT_MS }, ({ signal }) => shim.start(pod.id, { signal }));
}

interface PauseRootfs {
  path: string;
  mounts: RootfsMount[];
  process: { args: string[]; env: string[]; cwd: string };
  imageName: string;
}

/**
 * What the pause runs from: the directory shipped with crid, read-only and shared by all pods, so that a node without a registry starts
 * pods and no image GC can take it (facts: complaint 25); or the configured image.
 */
async function pauseRootfs(deps: SandboxDeps, pod: Pod, options: PauseOptions): Promise<PauseRootfs> {
  const { pauseImage, pauseRootfs } = deps.settings;
  const environment = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
  // Mapped ids may not write to the image's files, where the runtime has to make mount points; the built-in one has them.
  if (pauseImage === "" || pod.ownUserns) {
    return { path: pauseRootfs, mounts: [], process: { args: ["/pause"], env: environment, cwd: "/" }, imageName: "" };
  }
  const images = deps.images;
  if (images === undefined) throw new CridError("failed-precondition", `sandbox.image is ${pauseImage}, but there is no image store`);
  return await pod.timeline.run("pause image", { signal: options.signal, timeoutMs: IMAGE_TIMEOUT_MS }, async ({ signal }) => {
    const image = images.get(pauseImage) ?? (await pullPause(images, pauseImage, signal));
    options.rollback.push("pause root file system", () => images.releaseRootfs(pod.id));
    // Writable for the runtime, which makes the mount points that the image lacks; the pause itself sees it read-only.
    const mounts = await images.rootfs(pod.id, image);
    const { entrypoint, cmd, env: imageEnv, workingDir } = image.config;
    const args = [...entrypoint, ...cmd];
    if (args.length === 0) throw new CridError("failed-precondition", `sandbox.image ${pauseImage}: it has neither entrypoint nor command`);
    const process = { args, env: imageEnv.length > 0 ? imageEnv : environment, cwd: workingDir === "" ? "/" : workingDir };
    return { path: "rootfs", mounts, process, imageName: pauseImage };
  });
}

async function pullPause(images: PauseImages, reference: string, signal: AbortSignal): Promise<ImageRecord> {
  try {
    return await images.pull(reference, { signal });
  } catch (error) {
    const advice = `set sandbox.image in /etc/crid/config.yaml to an image that can be pulled, or to "" for the built-in pause, or import ${reference}`;
    throw new CridError(CridError.from(error).kind, `pull the image of sandbox.image: ${messageOf(error)}: ${advice}`, { cause: error });
  }
}

function pauseSpec(deps: SandboxDeps, pod: Pod, from: { handler: RuntimeHandler; rootfs: PauseRootfs; seccomp: string }): OciSpec {
  const { handler, rootfs, seccomp } = from;
  const { config, files } = pod;
  const { runAsUser, runAsGroup } = config.security;
  const { spec } = podSpec({
    id: pod.id,
    config,
    process: rootfs.process,
    user: { uid: runAsUser ?? 0, gid: runAsGroup ?? 0, additionalGids: [] },
    rootfsPath: rootfs.path,
    hostname: podHostname(config),
    // A user namespace must own the network namespace of its pod, so the runtime makes both.
    netnsPath: pod.ownUserns ? "" : pod.netnsPath,
    cgroupsPath: pod.containerCgroupsPath(pod.id),
    shm: config.security.namespaces.ipc === "node" ? "" : files.shm,
    resolvConf: "",
    imageName: rootfs.imageName,
    selinuxLevel: pod.record.selinuxLevel ?? "",
    annotations: passedOn(config.annotations, handler.podAnnotations),
    ...(deps.settings.unsetSeccomp !== undefined && { unsetSeccomp: deps.settings.unsetSeccomp }),
    host: deps.specHost,
    readSeccompProfile: () => seccomp,
  });
  return spec;
}
