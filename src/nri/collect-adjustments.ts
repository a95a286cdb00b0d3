import { mergeResources } from "./merge-resources.ts";
import { type ContainerAdjustment, emptyResources, type LinuxContainerAdjustment, removalOf, removedKey, v1 } from "./messages.ts";
import { Field, type Owners } from "./owners.ts";

/**
 * The adjustments of all plugins to one container that is being created, put together in their order.
 *
 * What is left in the result is at most one entry a key: the last word on it, or its removal.
 */
export class CollectedAdjustments {
  readonly #id: string;
  readonly #owners: Owners;
  readonly adjustment: ContainerAdjustment;
  readonly #linux: LinuxContainerAdjustment;

  constructor(id: string, owners: Owners) {
    this.#id = id;
    this.#owners = owners;
    this.adjustment = new v1.ContainerAdjustment();
    this.adjustment.hooks = new v1.Hooks();
    this.#linux = new v1.LinuxContainerAdjustment();
    this.#linux.resources = emptyResources();
    this.adjustment.linux = this.#linux;
  }

  /** @throws failed-precondition when the plugin sets what another has set */
  add(change: ContainerAdjustment, plugin: string): void {
    const { adjustment } = this;
    const by = (field: number): KeyedClaims => new KeyedClaims(this.#owners, this.#id, field, plugin);
    adjustMap(adjustment.annotations, change.annotations, by(Field.Annotations), "");
    adjustment.mounts = adjustList(adjustment.mounts, change.mounts, ({ destination }) => destination, by(Field.Mounts));
    adjustment.env = adjustList(adjustment.env, change.env, ({ key }) => key, by(Field.Env));
    this.#adjustArgs(change.args, plugin);
    this.#addHooks(change, plugin);
    for (const limit of change.rlimits) by(Field.Rlimits).claim(limit.type);
    adjustment.rlimits.push(...change.rlimits);
    // References that only the runtime resolves; they can be added, and not removed.
    for (const { name } of change.CDIDevices) by(Field.CdiDevices).claim(name);
    adjustment.CDIDevices.push(...change.CDIDevices);
    if (change.linux) this.#addLinux(change.linux, plugin);
  }

  #addLinux(change: LinuxContainerAdjustment, plugin: string): void {
    const linux = this.#linux;
    const [id, owners] = [this.#id, this.#owners];
    const by = (field: number): KeyedClaims => new KeyedClaims(owners, id, field, plugin);
    linux.devices = adjustList(linux.devices, change.devices, ({ path }) => path, by(Field.Devices));
    linux.namespaces = adjustList(linux.namespaces, change.namespaces, ({ type }) => type, by(Field.Namespace));
    adjustMap(linux.sysctl, change.sysctl, by(Field.Sysctl), "");
    adjustMap(linux.netDevices, change.netDevices, by(Field.LinuxNetDevices), new v1.LinuxNetDevice());
    if (change.resources) linux.resources = mergeResources(linux.resources ?? emptyResources(), change.resources, { owners, id, plugin });
    const set = <K extends "oomScoreAdj" | "ioPriority" | "seccompPolicy" | "scheduler" | "memoryPolicy">(name: K, field: number): void => {
      const value = change[name];
      if (value === null || value === undefined) return;
      owners.claim(id, field, plugin);
      linux[name] = value;
    };
    set("oomScoreAdj", Field.OomScoreAdj);
    set("ioPriority", Field.IoPriority);
    set("seccompPolicy", Field.SeccompPolicy);
    set("scheduler", Field.LinuxSched);
    set("memoryPolicy", Field.MemoryPolicy);
    if (change.cgroupsPath !== "") {
      owners.claim(id, Field.CgroupsPath, plugin);
      linux.cgroupsPath = change.cgroupsPath;
    }
    if (change.rdt) this.#adjustRdt(change.rdt, plugin);
  }

  /** An empty first argument: in place of another plugin's. */
  #adjustArgs(args: readonly string[], plugin: string): void {
    if (args.length === 0) return;
    const replaces = args[0] === "";
    if (replaces) this.#owners.clear(this.#id, Field.Args, plugin);
    this.#owners.claim(this.#id, Field.Args, plugin);
    this.adjustment.args = replaces ? args.slice(1) : [...args];
  }

  /** Any number of plugins may add some. */
  #addHooks({ hooks }: ContainerAdjustment, plugin: string): void {
    const collected = this.adjustment.hooks;
    if (!hooks || !collected) return;
    let added = false;
    for (const stage of ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] as const) {
      if (hooks[stage].length === 0) continue;
      collected[stage].push(...hooks[stage]);
      added = true;
    }
    if (added) this.#owners.join(this.#id, Field.OciHooks, plugin);
  }

  #adjustRdt(change: NonNullable<LinuxContainerAdjustment["rdt"]>, plugin: string): void {
    const fields = [
      ["closId", Field.RdtClosID],
      ["schemata", Field.RdtSchemata],
      ["enableMonitoring", Field.RdtEnableMonitoring],
    ] as const;
    if (change.remove) {
      for (const [, field] of fields) this.#owners.clear(this.#id, field, plugin);
      this.#linux.rdt = new v1.LinuxRdt({ remove: true });
    }
    const rdt = this.#linux.rdt ?? new v1.LinuxRdt();
    this.#linux.rdt = rdt;
    for (const [name, field] of fields) {
      if (!change[name]) continue;
      this.#owners.claim(this.#id, field, plugin);
      Object.assign(rdt, { [name]: change[name] });
    }
  }
}

/** One plugin's claims to the entries of one field. */
class KeyedClaims {
  readonly #owners: Owners;
  readonly #id: string;
  readonly #field: number;
  readonly #plugin: string;

  constructor(owners: Owners, id: string, field: number, plugin: string) {
    this.#owners = owners;
    this.#id = id;
    this.#field = field;
    this.#plugin = plugin;
  }

  claim(key: string): void {
    this.#owners.claim(this.#id, this.#field, this.#plugin, key);
  }

  /** Only what a plugin has set can be cleared: what the container had by itself is nobody's. */
  clear(key: string): void {
    if (this.#owners.owner(this.#id, this.#field, key) !== undefined) this.#owners.clear(this.#id, this.#field, this.#plugin, key);
  }
}

/** A list of entries with a key, in their order. Removals of a key come before a new setting of it, wherever the plugin put them. */
function adjustList<T>(collected: readonly T[], changes: readonly T[], keyOf: (entry: T) => string, claims: KeyedClaims): T[] {
  const removals = changes.filter((entry) => removedKey(keyOf(entry)) !== undefined);
  // Of several settings of one key the last counts.
  const settings = new Map(changes.filter((entry) => removedKey(keyOf(entry)) === undefined).map((entry) => [keyOf(entry), entry]));
  const touched = new Set(settings.keys());
  for (const entry of removals) {
    const key = removedKey(keyOf(entry)) ?? "";
    claims.clear(key);
    touched.add(key);
  }
  for (const key of settings.keys()) claims.claim(key);
  const kept = collected.filter((entry) => !touched.has(removedKey(keyOf(entry)) ?? keyOf(entry)));
  return [...kept, ...removals.filter((entry) => !settings.has(removedKey(keyOf(entry)) ?? "")), ...settings.values()];
}

function adjustMap<T>(collected: Record<string, T>, changes: Readonly<Record<string, T>>, claims: KeyedClaims, nothing: T): void {
  const removals = Object.keys(changes).flatMap((key) => removedKey(key) ?? []);
  for (const key of removals) {
    claims.clear(key);
    delete collected[key];
    collected[removalOf(key)] = nothing;
  }
  for (const [key, value] of Object.entries(changes)) {
    if (removedKey(key) !== undefined) continue;
    claims.claim(key);
    delete collected[removalOf(key)];
    collected[key] = value;
  }
}
