import { mergeResources } from "./merge-resources.ts";
import { type Container, type ContainerAdjustment, emptyResources, type LinuxResources, removedKey } from "./messages.ts";
import { Owners } from "./owners.ts";

/** The container as the next plugin sees it: with what those before it have adjusted. */
export function adjustedContainer(container: Container, adjustment: ContainerAdjustment): Container {
  const { linux } = adjustment;
  const own = container.linux ?? {};
  const adjusted: Container = {
    ...container,
    annotations: withMap(container.annotations ?? {}, adjustment.annotations),
    mounts: withList(container.mounts ?? [], adjustment.mounts, ({ destination }) => destination ?? ""),
    env: withEnv(container.env ?? [], adjustment.env),
    rlimits: [...(container.rlimits ?? []), ...adjustment.rlimits],
    ...(adjustment.args.length > 0 && { args: adjustment.args }),
    hooks: withHooks(container.hooks ?? {}, adjustment.hooks ?? {}),
  };
  if (!linux) return adjusted;
  return {
    ...adjusted,
    linux: {
      ...own,
      devices: withList(own.devices ?? [], linux.devices, ({ path }) => path ?? ""),
      namespaces: withList(own.namespaces ?? [], linux.namespaces, ({ type }) => type ?? ""),
      sysctl: withMap(own.sysctl ?? {}, linux.sysctl),
      netDevices: withMap(own.netDevices ?? {}, linux.netDevices),
      ...(linux.resources && { resources: withResources(own.resources, linux.resources) }),
      ...(linux.cgroupsPath !== "" && { cgroupsPath: linux.cgroupsPath }),
      ...(linux.oomScoreAdj && { oomScoreAdj: linux.oomScoreAdj }),
      ...(linux.ioPriority && { ioPriority: linux.ioPriority }),
      ...(linux.seccompPolicy && { seccompPolicy: linux.seccompPolicy }),
      ...(linux.scheduler && { scheduler: linux.scheduler }),
      ...(linux.rdt && { rdt: linux.rdt }),
    },
  };
}

function withMap<T>(own: Readonly<Record<string, T>>, changes: Readonly<Record<string, T>>): Record<string, T> {
  const result = { ...own };
  for (const [key, value] of Object.entries(changes)) {
    const removed = removedKey(key);
    if (removed === undefined) result[key] = value;
    else delete result[removed];
  }
  return result;
}

function withList<T>(own: readonly T[], changes: readonly T[], keyOf: (entry: T) => string): T[] {
  const touched = new Set(changes.map((entry) => removedKey(keyOf(entry)) ?? keyOf(entry)));
  return [...own.filter((entry) => !touched.has(keyOf(entry))), ...changes.filter((entry) => removedKey(keyOf(entry)) === undefined)];
}

function withEnv(own: readonly string[], changes: readonly { key: string; value: string }[]): string[] {
  const set = withList(own.map(toPair), changes, ({ key }) => key);
  return set.map(({ key, value }) => `${key}=${value}`);
}

function toPair(text: string): { key: string; value: string } {
  const at = text.indexOf("=");
  return at < 0 ? { key: text, value: "" } : { key: text.slice(0, at), value: text.slice(at + 1) };
}

type Hooks = NonNullable<Container["hooks"]>;

function withHooks(own: Hooks, added: Hooks): Hooks {
  const both = (stage: keyof Hooks): NonNullable<Hooks[typeof stage]> => [...(own[stage] ?? []), ...(added[stage] ?? [])];
  return {
    prestart: both("prestart"),
    createRuntime: both("createRuntime"),
    createContainer: both("createContainer"),
    startContainer: both("startContainer"),
    poststart: both("poststart"),
    poststop: both("poststop"),
  };
}

function withResources(own: NonNullable<Container["linux"]>["resources"], change: LinuxResources): LinuxResources {
  const base = Object.assign(emptyResources(), own);
  // Whose they are does not matter here: conflicts have been found when they were collected.
  return mergeResources(base, change, { owners: new Owners(), id: "", plugin: "" });
}
