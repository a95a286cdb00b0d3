/**
 * What a CDI spec asks to change in a container's OCI spec: `containerEdits` of the CDI specification 1.1.0
 * (https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md, "OCI Edits"). Names are the specification's.
 */
export interface ContainerEdits {
  /** NAME=value. */
  env?: string[];
  deviceNodes?: DeviceNode[];
  /** Since 1.1.0. */
  netDevices?: NetDevice[];
  hooks?: Hook[];
  mounts?: Mount[];
  /** Since 0.7.0; schemata and enableMonitoring since 1.1.0. */
  intelRdt?: IntelRdt;
  /** Since 0.7.0. 0 is ignored. */
  additionalGids?: number[];
}

export interface DeviceNode {
  /** In the container. */
  path: string;
  /** Since 0.5.0. Absent: as `path`. */
  hostPath?: string;
  /** b, c, u or p. Absent: as on the host. */
  type?: string;
  major?: number;
  minor?: number;
  fileMode?: number;
  /** Of "rwm", or "none". Absent: rwm. */
  permissions?: string;
  uid?: number;
  gid?: number;
}

export interface NetDevice {
  hostInterfaceName: string;
  /** In the container. */
  name: string;
}

export interface Hook {
  hookName: string;
  path: string;
  args?: string[];
  env?: string[];
  /** Seconds. */
  timeout?: number;
}

export interface Mount {
  hostPath: string;
  containerPath: string;
  options?: string[];
  /** Since 0.4.0. */
  type?: string;
}

export interface IntelRdt {
  closID?: string;
  l3CacheSchema?: string;
  memBwSchema?: string;
  schemata?: string[];
  enableMonitoring?: boolean;
}

/** One after the other; of RDT the last wins. */
export function joinEdits(all: readonly ContainerEdits[]): ContainerEdits {
  const intelRdt = all.findLast((edits) => edits.intelRdt !== undefined)?.intelRdt;
  return {
    env: all.flatMap(({ env }) => env ?? []),
    deviceNodes: all.flatMap(({ deviceNodes }) => deviceNodes ?? []),
    netDevices: all.flatMap(({ netDevices }) => netDevices ?? []),
    hooks: all.flatMap(({ hooks }) => hooks ?? []),
    mounts: all.flatMap(({ mounts }) => mounts ?? []),
    ...(intelRdt !== undefined && { intelRdt }),
    additionalGids: all.flatMap(({ additionalGids }) => additionalGids ?? []),
  };
}

const HOOKS = new Set(["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]);
const DEVICE_TYPES = new Set(["", "b", "c", "u", "p"]);

/** What is wrong with edits, one sentence each, with the place below `at`. */
export function editsProblems(edits: ContainerEdits, at: string): string[] {
  return [
    ...envProblems(edits.env, `${at}.env`),
    ...(edits.deviceNodes ?? []).flatMap((node, index) => nodeProblems(node, `${at}.deviceNodes[${index}]`)),
    ...(edits.hooks ?? []).flatMap((hook, index) => hookProblems(hook, `${at}.hooks[${index}]`)),
    ...(edits.mounts ?? []).flatMap((mount, index) => mountProblems(mount, `${at}.mounts[${index}]`)),
    ...rdtProblems(edits.intelRdt, `${at}.intelRdt.closID`),
    ...netDeviceProblems(edits.netDevices ?? [], `${at}.netDevices`),
  ];
}

/** A device must change something: else it is a mistake. */
export function isEmpty(edits: ContainerEdits): boolean {
  const { intelRdt, ...lists } = edits;
  return intelRdt === undefined && Object.values(lists).every((list) => list.length === 0);
}

function envProblems(env: readonly string[] | undefined, at: string): string[] {
  return (env ?? []).flatMap((entry, index) =>
    entry.indexOf("=") > 0 ? [] : [`${at}[${index}]: invalid environment variable ${JSON.stringify(entry)}: must be NAME=value`],
  );
}

function nodeProblems({ path, type, permissions }: DeviceNode, at: string): string[] {
  const problems: string[] = [];
  if (!path) problems.push(`${at}.path: must not be empty`);
  if (!DEVICE_TYPES.has(type ?? "")) problems.push(`${at}.type: invalid type ${JSON.stringify(type)}: must be b, c, u or p`);
  if (permissions !== "none" && /[^rwm]/.test(permissions ?? "")) {
    problems.push(`${at}.permissions: invalid permissions ${JSON.stringify(permissions)}: must be of "rwm", or "none"`);
  }
  return problems;
}

function hookProblems({ hookName, path, env }: Hook, at: string): string[] {
  const problems = envProblems(env, `${at}.env`);
  if (!HOOKS.has(hookName))
    problems.push(`${at}.hookName: invalid hook name ${JSON.stringify(hookName)}: must be one of ${[...HOOKS].join(", ")}`);
  if (!path) problems.push(`${at}.path: must not be empty`);
  return problems;
}

function mountProblems({ hostPath, containerPath }: Mount, at: string): string[] {
  return [...(hostPath ? [] : [`${at}.hostPath: must not be empty`]), ...(containerPath ? [] : [`${at}.containerPath: must not be empty`])];
}

/** The class is a directory of resctrl; "/" is its root. */
function rdtProblems(rdt: IntelRdt | undefined, at: string): string[] {
  const name = rdt?.closID ?? "";
  const bad = name !== "/" && (Buffer.byteLength(name) >= 4096 || name === "." || name === ".." || /[/\n]/.test(name));
  return bad ? [`${at}: invalid ${JSON.stringify(name)}: must be the name of a directory, or "/"`] : [];
}

function netDeviceProblems(devices: readonly NetDevice[], at: string): string[] {
  const problems: string[] = [];
  const seen = { hostInterfaceName: new Set<string>(), name: new Set<string>() };
  for (const [index, device] of devices.entries()) {
    for (const field of ["hostInterfaceName", "name"] as const) {
      if (!device[field]) problems.push(`${at}[${index}].${field}: must not be empty`);
      else if (seen[field].has(device[field])) problems.push(`${at}[${index}].${field}: ${JSON.stringify(device[field])} occurs twice`);
      else seen[field].add(device[field]);
    }
  }
  return problems;
}
