import type { runtime } from "../../../api/cri/runtime/v1/api.js";
import type { ContainerConfig, ContainerSecurity, MountConfig, MountPropagation } from "../../records/container-config.ts";
import { absolute, badField, filled, name, printable, required, texts, withoutNul, word } from "./fields.ts";
import { noResources, toResources } from "./resources.ts";
import { toGroups, toGroupsPolicy, toIdMappings, toNamespaces, toProfile, toRunAs, toSelinux } from "./security.ts";
import { toSignalName } from "./signal.ts";

const propagations: readonly MountPropagation[] = ["private", "host-to-container", "bidirectional"];

/**
 * The container of a request, checked.
 *
 * @throws invalid-argument naming the field
 */
export function toContainerConfig(message: runtime.v1.ContainerConfig | null | undefined, path = "config"): ContainerConfig {
  const config = required(message, path);
  const metadata = required(config.metadata, `${path}.metadata`);
  const image = required(config.image, `${path}.image`);
  const resources = config.linux?.resources;
  return {
    name: name(filled(metadata.name, `${path}.metadata.name`), `${path}.metadata.name`),
    attempt: metadata.attempt,
    image: {
      ref: filled(image.image, `${path}.image.image`),
      userSpecified: image.userSpecifiedImage,
      annotations: { ...image.annotations },
      runtimeHandler: image.runtimeHandler,
    },
    command: config.command.map((word, index) => withoutNul(word, `${path}.command[${index}]`)),
    args: config.args.map((word, index) => withoutNul(word, `${path}.args[${index}]`)),
    workingDir: withoutNul(config.workingDir, `${path}.working_dir`),
    env: config.envs.map(({ key, value }, index) => toEnv(key, value, `${path}.envs[${index}]`)),
    mounts: config.mounts.map((mount, index) => toMount(mount, `${path}.mounts[${index}]`)),
    devices: config.devices.map(({ containerPath, hostPath, permissions }, index) => ({
      containerPath: containerPath === "" ? hostPath : containerPath,
      hostPath: absolute(hostPath, `${path}.devices[${index}].host_path`),
      permissions,
    })),
    cdiDevices: config.CDIDevices.map(({ name }, index) => filled(name, `${path}.CDI_devices[${index}].name`)),
    labels: texts(config.labels, `${path}.labels`),
    annotations: texts(config.annotations, `${path}.annotations`),
    logPath: logPath(config.logPath, `${path}.log_path`),
    stdin: config.stdin,
    stdinOnce: config.stdinOnce,
    tty: config.tty,
    stopSignal: toSignalName(config.stopSignal, `${path}.stop_signal`),
    resources: resources ? toResources(resources, `${path}.linux.resources`) : noResources,
    security: toContainerSecurity(config.linux?.securityContext, `${path}.linux.security_context`),
  };
}

function toContainerSecurity(message: runtime.v1.LinuxContainerSecurityContext | null | undefined, path: string): ContainerSecurity {
  const seccomp = toProfile(message?.seccomp, message?.seccompProfilePath ?? "", `${path}.seccomp`);
  const apparmor = toProfile(message?.apparmor, message?.apparmorProfile ?? "", `${path}.apparmor`);
  const selinux = toSelinux(message?.selinuxOptions);
  const username = message?.runAsUsername ?? "";
  if (message?.runAsUser && username !== "") throw badField(`${path}.run_as_username`, "cannot go with run_as_user");
  // A pod may have a group alone, as the kubelet copies both fields as they are; for a container it has worked out the user.
  if (message?.runAsGroup && !message.runAsUser && username === "")
    throw badField(`${path}.run_as_group`, "needs run_as_user or run_as_username");
  return {
    capabilities: {
      add: message?.capabilities?.addCapabilities ?? [],
      drop: message?.capabilities?.dropCapabilities ?? [],
      addAmbient: message?.capabilities?.addAmbientCapabilities ?? [],
    },
    privileged: message?.privileged ?? false,
    namespaces: toNamespaces(message?.namespaceOptions, `${path}.namespace_options`),
    ...(selinux && { selinux }),
    ...toRunAs(message?.runAsUser, message?.runAsGroup, path),
    runAsUsername: username,
    readonlyRootfs: message?.readonlyRootfs ?? false,
    supplementalGroups: toGroups(message?.supplementalGroups ?? [], `${path}.supplemental_groups`),
    supplementalGroupsPolicy: toGroupsPolicy(message?.supplementalGroupsPolicy ?? 0, `${path}.supplemental_groups_policy`),
    noNewPrivs: message?.noNewPrivs ?? false,
    maskedPaths: (message?.maskedPaths ?? []).map((each, index) => withoutNul(each, `${path}.masked_paths[${index}]`)),
    readonlyPaths: (message?.readonlyPaths ?? []).map((each, index) => withoutNul(each, `${path}.readonly_paths[${index}]`)),
    ...(seccomp && { seccomp }),
    ...(apparmor && { apparmor }),
  };
}

/** Relative to the pod's log directory, which it may not leave. */
function logPath(value: string, path: string): string {
  const last = value.split("/").at(-1);
  if (value !== "" && (value.split("/").includes("..") || last === "" || last === "."))
    throw badField(path, `${JSON.stringify(value)} is not the path of a file in the pod's log directory`);
  return printable(value, path);
}

function toEnv(key: string, value: Uint8Array, path: string): { name: string; valueBase64: string } {
  if (key.includes("=") || key.includes("\0")) throw badField(`${path}.key`, `${JSON.stringify(key)} cannot name an environment variable`);
  if (value.includes(0)) throw badField(`${path}.value`, "contains a NUL byte");
  return {
    name: filled(key, `${path}.key`),
    valueBase64: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64"),
  };
}

function toMount(message: runtime.v1.Mount, path: string): MountConfig {
  const image = message.image && message.image.image !== "" ? message.image : undefined;
  const propagation = word(propagations, message.propagation, `${path}.propagation`);
  if (image !== undefined && message.hostPath !== "") throw badField(`${path}.host_path`, "cannot go with image");
  if (image === undefined && message.imageSubPath !== "") throw badField(`${path}.image_sub_path`, "needs image");
  if (message.recursiveReadOnly) {
    if (!message.readonly) throw badField(`${path}.recursive_read_only`, "needs readonly");
    if (propagation !== "private") throw badField(`${path}.recursive_read_only`, "needs propagation PROPAGATION_PRIVATE");
  }
  return {
    containerPath: withoutNul(filled(message.containerPath, `${path}.container_path`), `${path}.container_path`),
    hostPath: image === undefined ? absolute(message.hostPath, `${path}.host_path`) : "",
    readonly: message.readonly,
    recursiveReadonly: message.recursiveReadOnly,
    selinuxRelabel: message.selinuxRelabel,
    propagation,
    uidMappings: toIdMappings(message.uidMappings, `${path}.uidMappings`),
    gidMappings: toIdMappings(message.gidMappings, `${path}.gidMappings`),
    ...(image !== undefined && {
      image: {
        ref: image.image,
        userSpecified: image.userSpecifiedImage,
        subPath: withoutNul(message.imageSubPath, `${path}.image_sub_path`),
      },
    }),
    options: message.mountOptions,
  };
}

/** A mount as ContainerStatus shows it. @param imageId the image's id, for an image mount (KEP-5365) */
export function fromMount(mount: MountConfig, imageId: string): runtime.v1.Mount.$Properties {
  return {
    containerPath: mount.containerPath,
    hostPath: mount.hostPath,
    readonly: mount.readonly,
    recursiveReadOnly: mount.recursiveReadonly,
    selinuxRelabel: mount.selinuxRelabel,
    propagation: propagations.indexOf(mount.propagation),
    uidMappings: mount.uidMappings,
    gidMappings: mount.gidMappings,
    mountOptions: mount.options,
    ...(mount.image !== undefined && {
      image: { image: mount.image.ref, userSpecifiedImage: mount.image.userSpecified, imageRef: imageId },
      imageSubPath: mount.image.subPath,
    }),
  };
}
