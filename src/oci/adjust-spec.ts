import { exactNumber } from "../base/json.ts";
import { type ContainerAdjustment, type LinuxContainerAdjustment, removedKey, v1 } from "../nri/messages.ts";
import type { SpecHost } from "./host.ts";
import { ociResourcesOf, overlayResources } from "./plugin-resources.ts";
import { clampOomScoreAdj } from "./resources.ts";
import type { OciBlockIo, OciHook, OciHooks, OciIntelRdt, OciSeccomp, OciSpec } from "./spec.ts";

export interface AdjustmentInputs {
  host: Pick<SpecHost, "swapController" | "hugetlbController" | "minOomScoreAdj">;
  /** The classes that the adjustment names; absent when it names none, undefined inside when its name is "" (none). */
  blockIo?: { settings: OciBlockIo | undefined };
  rdt?: { settings: OciIntelRdt | undefined };
}

/**
 * Makes the plugins' changes to a container's spec, in place. CDI devices that they name are put in before, by whoever calls.
 *
 * @throws invalid-argument for a value out of range
 */
export function adjustSpec(spec: OciSpec, adjustment: ContainerAdjustment, inputs: AdjustmentInputs): void {
  adjustMap(spec.annotations, adjustment.annotations, (value) => value);
  adjustEnv(spec, adjustment);
  if (adjustment.args.length > 0) spec.process.args = adjustment.args;
  addHooks(spec, adjustment.hooks);
  if (adjustment.linux) adjustLinux(spec, adjustment.linux, inputs);
  adjustMounts(spec, adjustment);
  // Set anew, whatever the daemon's own limits for containers say.
  const types = new Set(adjustment.rlimits.map(({ type }) => type));
  const kept = (spec.process.rlimits ?? []).filter(({ type }) => !types.has(type));
  const added = adjustment.rlimits.map(({ type, hard, soft }) => ({ type, hard: exactNumber(hard), soft: exactNumber(soft) }));
  if (added.length > 0) spec.process.rlimits = [...kept, ...added];
}

function adjustLinux(spec: OciSpec, change: LinuxContainerAdjustment, inputs: AdjustmentInputs): void {
  const { process, linux } = spec;
  adjustDevices(spec, change);
  if (change.cgroupsPath !== "") linux.cgroupsPath = change.cgroupsPath;
  if (change.oomScoreAdj) process.oomScoreAdj = clampOomScoreAdj(Number(change.oomScoreAdj.value), inputs.host.minOomScoreAdj);
  if (change.ioPriority) {
    const { class: number, priority } = change.ioPriority;
    if (number === v1.IOPrioClass.IOPRIO_CLASS_NONE) delete process.ioPriority;
    else process.ioPriority = { class: nameOf(v1.IOPrioClass, number), priority };
  }
  if (change.scheduler) adjustScheduler(process, change.scheduler);
  if (change.seccompPolicy) linux.seccomp = toSeccomp(change.seccompPolicy);
  for (const { type, path } of change.namespaces) {
    const key = removedKey(type) ?? type;
    linux.namespaces = linux.namespaces.filter((namespace) => namespace.type !== key);
    // The runtime refuses a type that it does not know.
    if (key === type) linux.namespaces.push({ type: key as "pid", ...(path !== "" && { path }) });
  }
  linux.sysctl = adjustMap(linux.sysctl ?? {}, change.sysctl, (value) => value);
  linux.netDevices = adjustMap(linux.netDevices ?? {}, change.netDevices, ({ name }) => (name === "" ? {} : { name }));
  for (const name of ["sysctl", "netDevices"] as const) if (Object.keys(linux[name] ?? {}).length === 0) delete linux[name];
  if (change.memoryPolicy) {
    const { mode, nodes, flags } = change.memoryPolicy;
    linux.memoryPolicy = {
      mode: nameOf(v1.MpolMode, mode),
      ...(nodes !== "" && { nodes }),
      ...(flags.length > 0 && { flags: flags.map((flag) => nameOf(v1.MpolFlag, flag)) }),
    };
  }
  if (change.resources) linux.resources = overlayResources(linux.resources, ociResourcesOf(change.resources, inputs.host));
  if (inputs.blockIo !== undefined) {
    if (inputs.blockIo.settings === undefined) delete linux.resources.blockIO;
    else linux.resources.blockIO = inputs.blockIo.settings;
  }
  adjustRdt(spec, change, inputs);
}

/** A variable that is there keeps its place. */
function adjustEnv({ process }: OciSpec, { env }: ContainerAdjustment): void {
  for (const { key, value } of env) {
    const name = removedKey(key) ?? key;
    const at = process.env.findIndex((entry) => entry === name || entry.startsWith(`${name}=`));
    const entry = name === key ? [`${key}=${value}`] : [];
    if (at < 0) process.env.push(...entry);
    else process.env.splice(at, 1, ...entry);
  }
}

function addHooks(spec: OciSpec, hooks: ContainerAdjustment["hooks"]): void {
  if (!hooks) return;
  for (const stage of [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
  ] as const satisfies (keyof OciHooks)[]) {
    if (hooks[stage].length === 0) continue;
    const added = hooks[stage].map(
      ({ path, args, env, timeout }): OciHook => ({
        path,
        ...(args.length > 0 && { args }),
        ...(env.length > 0 && { env }),
        ...(timeout && { timeout: Number(timeout.value) }),
      }),
    );
    spec.hooks = { ...spec.hooks, [stage]: [...(spec.hooks?.[stage] ?? []), ...added] };
  }
}

/** A device that is added may be used as its mode says; block devices also made. */
function adjustDevices({ linux }: OciSpec, { devices }: LinuxContainerAdjustment): void {
  for (const { path, type, major, minor, fileMode, uid, gid } of devices) {
    const key = removedKey(path) ?? path;
    linux.devices = (linux.devices ?? []).filter((device) => device.path !== key);
    if (key !== path) continue;
    const node = { type: type as "c", major: Number(major), minor: Number(minor) };
    linux.devices.push({
      path,
      ...node,
      ...(fileMode && { fileMode: fileMode.value & 0o7777 }),
      ...(uid && { uid: uid.value }),
      ...(gid && { gid: gid.value }),
    });
    if (type !== "b" && type !== "c") continue;
    linux.resources.devices = [...(linux.resources.devices ?? []), { allow: true, ...node, access: type === "b" ? "rwm" : "rw" }];
  }
}

function adjustScheduler(process: OciSpec["process"], scheduler: NonNullable<LinuxContainerAdjustment["scheduler"]>): void {
  const { policy, nice, priority, flags, runtime, deadline, period } = scheduler;
  if (policy === v1.LinuxSchedulerPolicy.SCHED_NONE) {
    delete process.scheduler;
    return;
  }
  process.scheduler = {
    policy: nameOf(v1.LinuxSchedulerPolicy, policy),
    ...(nice !== 0 && { nice }),
    ...(priority !== 0 && { priority }),
    ...(flags.length > 0 && { flags: flags.map((flag) => nameOf(v1.LinuxSchedulerFlag, flag)) }),
    ...(runtime !== 0n && { runtime: Number(runtime) }),
    ...(deadline !== 0n && { deadline: Number(deadline) }),
    ...(period !== 0n && { period: Number(period) }),
  };
}

function toSeccomp(policy: NonNullable<LinuxContainerAdjustment["seccompPolicy"]>): OciSeccomp {
  return {
    defaultAction: policy.defaultAction,
    ...(policy.defaultErrno && { defaultErrnoRet: policy.defaultErrno.value }),
    ...(policy.architectures.length > 0 && { architectures: policy.architectures }),
    ...(policy.flags.length > 0 && { flags: policy.flags }),
    ...(policy.listenerPath !== "" && { listenerPath: policy.listenerPath }),
    ...(policy.listenerMetadata !== "" && { listenerMetadata: policy.listenerMetadata }),
    syscalls: policy.syscalls.map(({ names, action, errnoRet, args }) => ({
      names,
      action,
      ...(errnoRet && { errnoRet: errnoRet.value }),
      ...(args.length > 0 && {
        args: args.map(({ index, value, valueTwo, op }) => ({ index, value: exactNumber(value), valueTwo: exactNumber(valueTwo), op })),
      }),
    })),
  };
}

/** First the class, by name; then what is said of the group itself, which counts more. */
function adjustRdt({ linux }: OciSpec, { rdt }: LinuxContainerAdjustment, inputs: AdjustmentInputs): void {
  if (inputs.rdt !== undefined) {
    if (inputs.rdt.settings === undefined) delete linux.intelRdt;
    else linux.intelRdt = inputs.rdt.settings;
  }
  if (!rdt) return;
  if (rdt.remove) delete linux.intelRdt;
  if (!rdt.closId && !rdt.schemata && !rdt.enableMonitoring) return;
  linux.intelRdt = {
    ...linux.intelRdt,
    ...(rdt.closId && { closID: rdt.closId.value }),
    ...(rdt.schemata && { schemata: rdt.schemata.value }),
    ...(rdt.enableMonitoring && { enableMonitoring: rdt.enableMonitoring.value }),
  };
}

/** A mount at a path takes the place of what was there. Outer mounts come first: one over /a would hide /a/b. */
function adjustMounts(spec: OciSpec, { mounts }: ContainerAdjustment): void {
  if (mounts.length === 0) return;
  for (const { destination, type, source, options } of mounts) {
    const key = removedKey(destination) ?? destination;
    spec.mounts = spec.mounts.filter((mount) => mount.destination !== key);
    if (key !== destination) continue;
    spec.mounts.push({ destination, type, source, options });
    // A mount passes events on only as far as the root file system does.
    const { rootfsPropagation } = spec.linux;
    if (options.includes("rshared")) spec.linux.rootfsPropagation = "rshared";
    else if (options.includes("rslave") && rootfsPropagation !== "rshared") spec.linux.rootfsPropagation = "rslave";
  }
  const depth = ({ destination }: { destination: string }): number => destination.split("/").filter((part) => part !== "").length;
  spec.mounts.sort((a, b) => depth(a) - depth(b));
}

function adjustMap<T, V>(current: Record<string, V>, changes: Readonly<Record<string, T>>, convert: (value: T) => V): Record<string, V> {
  for (const [key, value] of Object.entries(changes)) {
    const removed = removedKey(key);
    if (removed === undefined) current[key] = convert(value);
    else delete current[removed];
  }
  return current;
}

function nameOf(names: Readonly<Record<string, string | number>>, number: number): string {
  return String(names[number] ?? number);
}
