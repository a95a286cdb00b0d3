import { type Container, type SeccompPolicy, v1 } from "../nri/messages.ts";
import type { SecurityProfile } from "../records/pod-config.ts";
import { resourcesForPlugins } from "./plugin-resources.ts";
import type { OciHook, OciHooks, OciMount, OciNamespace, OciSeccomp, OciSpec } from "./spec.ts";

/** What plugins see of a container's spec. */
export function specForPlugins(spec: OciSpec): Pick<Container, "args" | "env" | "mounts" | "hooks" | "rlimits" | "user" | "linux"> {
  const { process, linux, hooks } = spec;
  const { uid, gid, additionalGids } = process.user;
  return {
    args: process.args,
    env: process.env,
    mounts: spec.mounts.map(mountForPlugins),
    ...(hooks !== undefined && { hooks: hooksForPlugins(hooks) }),
    rlimits: (process.rlimits ?? []).map(({ type, hard, soft }) => ({ type, hard: BigInt(hard), soft: BigInt(soft) })),
    user: { uid, gid, additionalGids },
    linux: {
      namespaces: namespacesForPlugins(linux.namespaces),
      devices: (linux.devices ?? []).map(({ path, type, major, minor, fileMode, uid, gid }) => ({
        path,
        type,
        major: BigInt(major ?? 0),
        minor: BigInt(minor ?? 0),
        ...(fileMode !== undefined && { fileMode: { value: fileMode } }),
        ...(uid !== undefined && { uid: { value: uid } }),
        ...(gid !== undefined && { gid: { value: gid } }),
      })),
      resources: resourcesForPlugins(linux.resources),
      cgroupsPath: linux.cgroupsPath,
      ...(process.oomScoreAdj !== undefined && { oomScoreAdj: { value: BigInt(process.oomScoreAdj) } }),
      ...(process.ioPriority !== undefined && {
        ioPriority: { class: numberOf(v1.IOPrioClass, process.ioPriority.class), priority: process.ioPriority.priority },
      }),
      ...(process.scheduler !== undefined && { scheduler: schedulerForPlugins(process.scheduler) }),
      ...(linux.seccomp !== undefined && { seccompPolicy: seccompForPlugins(linux.seccomp) }),
      ...(linux.sysctl !== undefined && { sysctl: linux.sysctl }),
      ...(linux.netDevices !== undefined && {
        netDevices: Object.fromEntries(Object.entries(linux.netDevices).map(([host, { name = "" }]) => [host, { name }])),
      }),
      ...(linux.intelRdt !== undefined && {
        rdt: {
          ...(linux.intelRdt.closID !== undefined && { closId: { value: linux.intelRdt.closID } }),
          ...(linux.intelRdt.schemata !== undefined && { schemata: { value: linux.intelRdt.schemata } }),
          ...(linux.intelRdt.enableMonitoring !== undefined && { enableMonitoring: { value: linux.intelRdt.enableMonitoring } }),
        },
      }),
    },
  };
}

/** The seccomp profile that the CRI asks for, by kind. */
export function profileForPlugins(profile: SecurityProfile): NonNullable<NonNullable<Container["linux"]>["seccompProfile"]> {
  const { ProfileType } = v1.SecurityProfile;
  const types = { "runtime-default": ProfileType.RUNTIME_DEFAULT, unconfined: ProfileType.UNCONFINED, localhost: ProfileType.LOCALHOST };
  return { profileType: types[profile.type], localhostRef: profile.localhostRef };
}

export function namespacesForPlugins(namespaces: readonly OciNamespace[]): { type: string; path: string }[] {
  return namespaces.map(({ type, path = "" }) => ({ type, path }));
}

function mountForPlugins({ destination, type, source, options }: OciMount): NonNullable<Container["mounts"]>[number] {
  return { destination, type, source, options };
}

function hooksForPlugins(hooks: OciHooks): NonNullable<Container["hooks"]> {
  return Object.fromEntries(
    Object.entries(hooks).map(([stage, list]: [string, OciHook[]]) => [
      stage,
      list.map(({ path, args, env, timeout }) => ({
        path,
        ...(args !== undefined && { args }),
        ...(env !== undefined && { env }),
        ...(timeout !== undefined && { timeout: { value: BigInt(timeout) } }),
      })),
    ]),
  );
}

function schedulerForPlugins(
  scheduler: NonNullable<OciSpec["process"]["scheduler"]>,
): NonNullable<NonNullable<Container["linux"]>["scheduler"]> {
  return {
    policy: numberOf(v1.LinuxSchedulerPolicy, scheduler.policy),
    nice: scheduler.nice ?? 0,
    priority: scheduler.priority ?? 0,
    flags: (scheduler.flags ?? []).map((flag) => numberOf(v1.LinuxSchedulerFlag, flag)),
    runtime: BigInt(scheduler.runtime ?? 0),
    deadline: BigInt(scheduler.deadline ?? 0),
    period: BigInt(scheduler.period ?? 0),
  };
}

function seccompForPlugins(seccomp: OciSeccomp): SeccompPolicy {
  return {
    defaultAction: seccomp.defaultAction,
    ...(seccomp.defaultErrnoRet !== undefined && { defaultErrno: { value: seccomp.defaultErrnoRet } }),
    architectures: seccomp.architectures ?? [],
    flags: seccomp.flags ?? [],
    listenerPath: seccomp.listenerPath ?? "",
    listenerMetadata: seccomp.listenerMetadata ?? "",
    syscalls: (seccomp.syscalls ?? []).map(({ names, action, errnoRet, args }) => ({
      names,
      action,
      ...(errnoRet !== undefined && { errnoRet: { value: errnoRet } }),
      args: (args ?? []).map(({ index, value, valueTwo, op }) => ({ index, value: BigInt(value), valueTwo: BigInt(valueTwo ?? 0), op })),
    })),
  };
}

/** The number of an enum's name; 0 for a name that it has not. */
function numberOf(names: Readonly<Record<string, string | number>>, name: string): number {
  const number = names[name];
  return typeof number === "number" ? number : 0;
}
