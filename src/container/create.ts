import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { CridError } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import { newId, shortId } from "../base/ids.ts";
import { toJson } from "../base/json.ts";
import { Rollback } from "../base/rollback.ts";
import { nowNanos } from "../base/time.ts";
import { signalNumber } from "../linux/signals.ts";
import { passedOn } from "../oci/annotations.ts";
import { containerSpec } from "../oci/container-spec.ts";
import type { OciSpec } from "../oci/spec.ts";
import { resolveUser } from "../oci/user.ts";
import type { ContainerConfig } from "../records/container-config.ts";
import type { ContainerRecord } from "../records/container-record.ts";
import type { ImageRecord } from "../records/image-record.ts";
import type { RootfsMount } from "../snapshot/snapshotter.ts";
import { addCdiDevices } from "./cdi-devices.ts";
import { bundlePath, type ContainerContext, dataPath, ioPath, readyPod } from "./context.ts";
import type { PodContext } from "./deps.ts";
import { ContainerEntry } from "./entry.ts";
import { hostBind, hostDevices, requestedDevices } from "./host-lookups.ts";
import { adjustByPlugins, tellPlugins, tellUndone } from "./plugins.ts";
import { idmapOf, podBinds, userMapsOf } from "./pod-binds.ts";
import { labelled, relabel } from "./relabel.ts";
import { addResourceClasses } from "./resource-classes.ts";
import { RootfsFiles } from "./rootfs-files.ts";
import { readSeccompProfile } from "./seccomp-profile.ts";
import { apparmorLoaded } from "./spec-host.ts";
import { targetPid } from "./target.ts";
import { bindImageVolume, declaredVolumes, type ImageVolume, imageVolumes } from "./volumes.ts";

/** `<container>_<pod>_<namespace>_<pod uid>_<attempt>`: what a retried CreateContainer has in common with the first. */
export function reservedName(config: ContainerConfig, pod: PodContext): string {
  const { name, namespace, uid } = pod.config;
  return `${config.name}_${name}_${namespace}_${uid}_${config.attempt}`;
}

/**
 * Prepares a container: root file system, volumes, bundle with its spec. No process starts and no shim is called.
 *
 * The record is on disk, marked `creating`, before anything else exists, so that a crash at any step is undone at the next start.
 */
export async function createContainer(
  context: ContainerContext,
  request: { pod: PodContext; config: ContainerConfig; name: string },
  options: { signal: AbortSignal },
): Promise<string> {
  const { pod, config } = request;
  const { signal } = options;
  const id = newId();
  const step = `create container ${config.name} (${shortId(id)}) in pod ${shortId(pod.id)}`;
  try {
    readyPod(pod, step);
    const image = context.images.get(config.image.ref);
    if (image === undefined) throw new CridError("not-found", `image "${config.image.ref}": not found; pull it first`);
    const volumes = imageVolumes(id, config, context.images);
    const record = newRecord(context, { id, pod, config, image, name: request.name, volumes });

    await using rollback = new Rollback({ log: context.log.child({ container: id, op: "create" }) });
    rollback.push("record", () => {
      // A thing that could not be undone stays on record: the next start tries again.
      if (rollback.failed.length === 0) context.table.delete(id);
    });
    context.table.put(record);
    await failpoint("container.create.after-record", { signal });
    const idmap = idmapOf(userMapsOf(config), pod.pausePid);
    rollback.push("rootfs", () => context.images.releaseRootfs(id));
    const rootfs = await context.images.rootfs(id, image, idmap === undefined ? {} : { idmap });
    await failpoint("container.create.after-rootfs", { signal });
    rollback.push("directories", () => removeDirectories(context, id));
    makeBundle(context, id);
    const { spec, extraBinds } = await buildSpec(context, { id, pod, config, image, rootfs, volumes, rollback, signal });
    // Until the container can be listed: a plugin that comes meanwhile learns of it either way, and once.
    using _hold = await context.plugins?.enter(options);
    let adjusted = record;
    if (context.plugins?.adjusting === true) {
      rollback.push("plugins", (undo) => tellUndone(context, { record, pod, spec }, undo));
      adjusted = await adjustByPlugins(context, { record, pod, spec }, options);
    }
    writeBundle(context, id, spec, labelled(rootfs, spec.linux.mountLabel));
    await failpoint("container.create.after-bundle", { signal });
    context.log.debug({ container: id, mounts: spec.mounts.length, extraBinds }, "spec written");

    signal.throwIfAborted();
    // The pod may have been stopped meanwhile; whoever removes it does not see a container that is being created.
    readyPod(pod, step);
    const { uid, gid, additionalGids } = spec.process.user;
    const entry = new ContainerEntry({ ...adjusted, user: { uid, gid, supplementalGroups: additionalGids } }, context.table);
    entry.process = spec.process;
    entry.update((status) => ({ ...status, createdAt: nowNanos(), creating: false }));
    context.entries.set(id, entry);
    rollback.disarm();
    void tellPlugins(context, entry, "PostCreateContainer");
    context.events.publish({ type: "created", containerId: id, sandboxId: pod.id, at: entry.record.status.createdAt });
    return id;
  } catch (error) {
    throw CridError.from(error, step);
  }
}

function newRecord(
  context: ContainerContext,
  from: { id: string; pod: PodContext; config: ContainerConfig; image: ImageRecord; name: string; volumes: ImageVolume[] },
): ContainerRecord {
  const { id, pod, config, image } = from;
  const { logDirectory } = pod.config;
  return {
    id,
    sandboxId: pod.id,
    config,
    reservedName: from.name,
    runtimeHandler: pod.runtimeHandler,
    imageId: image.id,
    imageRef: image.repoDigests[0] ?? image.id,
    logPath: logDirectory !== "" && config.logPath !== "" ? join(logDirectory, config.logPath) : "",
    stopSignal: stopSignalOf(context, config, image),
    imageMounts: from.volumes.map(({ mount, image: { id: imageId }, key }) => ({
      containerPath: mount.containerPath,
      imageId,
      snapshotKey: key,
    })),
    status: {
      createdAt: nowNanos(),
      startedAt: 0n,
      finishedAt: 0n,
      exitCode: 0,
      reason: "",
      message: "",
      creating: true,
      removing: false,
      resources: config.resources,
    },
  };
}

/** A signal that nobody can read in an image must not keep the container from running, nor from stopping. */
function stopSignalOf(context: ContainerContext, config: ContainerConfig, image: ImageRecord): number {
  if (config.stopSignal !== "") return signalNumber(config.stopSignal);
  try {
    return signalNumber(image.config.stopSignal || "SIGTERM");
  } catch (error) {
    context.log.warn(
      { image: image.id, signal: image.config.stopSignal, err: error },
      "the image's stop signal is unknown; SIGTERM is used",
    );
    return signalNumber("SIGTERM");
  }
}

async function buildSpec(
  context: ContainerContext,
  from: {
    id: string;
    pod: PodContext;
    config: ContainerConfig;
    image: ImageRecord;
    rootfs: RootfsMount[];
    volumes: ImageVolume[];
    rollback: Rollback;
    signal: AbortSignal;
  },
): Promise<{ spec: OciSpec; extraBinds: number }> {
  const { id, pod, config, image, rootfs, signal } = from;
  const { security } = config;
  const userMaps = userMapsOf(config);
  for (const { key } of from.volumes) from.rollback.push(`image volume ${key}`, () => context.images.releaseVolume(key));
  const volumeByMount = new Map(from.volumes.map((volume) => [volume.mount, volume]));
  const [binds, declared, devices, nodes, seccomp] = await Promise.all([
    Promise.all(
      config.mounts.map((mount) => {
        const volume = volumeByMount.get(mount);
        return volume === undefined
          ? hostBind(mount, { signal })
          : bindImageVolume(volume, context.images, idmapOf(userMaps, pod.pausePid));
      }),
    ),
    declaredVolumes(image.config, config, { directory: dataPath(context, id), rootfs, userMaps, signal }),
    requestedDevices(config.devices),
    security.privileged ? hostDevices() : [],
    readSeccompProfile(security.seccomp),
  ]);
  const extra = [...podBinds(pod, config), ...declared];
  const files = RootfsFiles.of(rootfs);
  const pidTarget = security.namespaces.pid === "target" ? targetPid(context, pod.id, security.namespaces.targetId) : undefined;
  const { spec, lossyEnv } = containerSpec({
    config,
    image: image.config,
    imageName: config.image.userSpecified || image.repoTags[0] || config.image.ref,
    pod: {
      id: pod.id,
      config: pod.config,
      pausePid: pod.pausePid,
      hostname: pod.config.hostname || hostname(),
      selinuxLabel: pod.selinuxLabel,
    },
    user: resolveUser(security, image.config.user, (path) => files.read(path)),
    ...(pidTarget !== undefined && { targetPid: pidTarget }),
    cgroupsPath: pod.containerCgroupsPath(id),
    annotations: {
      ...passedOn(pod.config.annotations, pod.runtime.podAnnotations),
      ...passedOn(config.annotations, pod.runtime.containerAnnotations),
    },
    binds,
    extra,
    devices,
    hostDevices: nodes,
    ...(context.settings.unsetSeccomp !== undefined && { unsetSeccomp: context.settings.unsetSeccomp }),
    host: context.host,
    readSeccompProfile: () => seccomp,
    apparmorLoaded,
  });
  await addResourceClasses(context.classes, config, pod.config, spec);
  await addCdiDevices(context.cdi, config, spec);
  const volumes = binds.filter((_, at) => config.mounts[at]?.selinuxRelabel === true && config.mounts[at]?.image === undefined);
  for (const { source } of [...volumes, ...declared]) await relabel(source, spec.linux.mountLabel, { signal });
  if (lossyEnv.length > 0) {
    context.log.warn(
      { container: id, env: lossyEnv },
      "environment values that are not UTF-8 reach the process changed: the OCI spec is JSON",
    );
  }
  return { spec, extraBinds: extra.length };
}

function makeBundle(context: ContainerContext, id: string): void {
  mkdirSync(join(bundlePath(context, id), "rootfs"), { recursive: true, mode: 0o711 });
  mkdirSync(ioPath(context, id), { mode: 0o700 });
}

/** The spec, and the mounts that StartContainer hands to the shim: they must not depend on what a newer daemon would make of the image. */
function writeBundle(context: ContainerContext, id: string, spec: OciSpec, rootfs: readonly RootfsMount[]): void {
  const bundle = bundlePath(context, id);
  writeFileSync(join(bundle, "config.json"), toJson(spec), { mode: 0o600 });
  writeFileSync(join(bundle, "mounts.json"), JSON.stringify(rootfs), { mode: 0o600 });
}

async function removeDirectories(context: ContainerContext, id: string): Promise<void> {
  rmSync(bundlePath(context, id), { recursive: true, force: true });
  await rm(dataPath(context, id), { recursive: true, force: true });
}
