import { bool, dictionary, fields, integer, list, parseForeignYaml, text } from "../config/foreign-yaml.ts";
import {
  type ContainerEdits,
  type DeviceNode,
  editsProblems,
  type Hook,
  type IntelRdt,
  isEmpty,
  type Mount,
  type NetDevice,
} from "./edits.ts";
import type { CdiDevice, CdiSpec } from "./file-shape.ts";
import { deviceProblem, parseKind } from "./names.ts";
import { versionProblem } from "./spec-version.ts";

/** A spec that has been checked. */
export interface LoadedSpec {
  path: string;
  kind: string;
  edits: ContainerEdits;
  /** By the name within the kind. */
  devices: Map<string, ContainerEdits>;
}

const int64 = integer({ min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER });
const uint32 = integer({ min: 0, max: 0xffff_ffff });

const readEdits = fields<ContainerEdits>(
  {
    env: list(text),
    deviceNodes: list(
      fields<DeviceNode>(
        {
          path: text,
          hostPath: text,
          type: text,
          major: int64,
          minor: int64,
          fileMode: uint32,
          permissions: text,
          uid: uint32,
          gid: uint32,
        },
        { path: "" },
      ),
      "pointers",
    ),
    netDevices: list(fields<NetDevice>({ hostInterfaceName: text, name: text }, { hostInterfaceName: "", name: "" }), "pointers"),
    hooks: list(
      fields<Hook>({ hookName: text, path: text, args: list(text), env: list(text), timeout: int64 }, { hookName: "", path: "" }),
      "pointers",
    ),
    mounts: list(
      fields<Mount>({ hostPath: text, containerPath: text, options: list(text), type: text }, { hostPath: "", containerPath: "" }),
      "pointers",
    ),
    intelRdt: fields<IntelRdt>({ closID: text, l3CacheSchema: text, memBwSchema: text, schemata: list(text), enableMonitoring: bool }, {}),
    additionalGids: list(uint32),
  },
  {},
);

const readSpec = fields<CdiSpec>(
  {
    cdiVersion: text,
    kind: text,
    annotations: dictionary(text),
    devices: list(
      fields<CdiDevice>({ name: text, annotations: dictionary(text), containerEdits: readEdits }, { name: "", containerEdits: {} }),
    ),
    containerEdits: readEdits,
  },
  { cdiVersion: "", kind: "", devices: [], containerEdits: {} },
);

/**
 * Reads and checks a CDI spec, JSON or YAML. An unknown field is an error, as are fields that the spec's own version does not have.
 *
 * @throws Error with every problem found, each with its place in the file
 */
export function parseCdiSpec(content: string, path: string): LoadedSpec {
  const document = parseForeignYaml(content, path);
  if (document === undefined) throw new Error("no spec data");
  const spec = readSpec(document, "");
  const version = versionProblem(spec);
  if (version !== undefined) throw new Error(version);
  const { vendor, class: className } = parseKind(spec.kind);
  const problems = editsProblems(spec.containerEdits, "containerEdits");
  const devices = new Map<string, ContainerEdits>();
  for (const [index, { name, containerEdits }] of spec.devices.entries()) {
    const at = `devices[${index}]`;
    const badName = deviceProblem(name);
    if (badName !== undefined) problems.push(`${at}.name: ${badName}`);
    if (isEmpty(containerEdits)) problems.push(`${at}.containerEdits: must not be empty`);
    if (devices.has(name)) problems.push(`${at}.name: ${JSON.stringify(name)} occurs twice`);
    problems.push(...editsProblems(containerEdits, `${at}.containerEdits`));
    devices.set(name, containerEdits);
  }
  if (devices.size === 0) problems.push("devices: must not be empty");
  if (problems.length > 0) throw new Error(problems.join("; "));
  return { path, kind: `${vendor}/${className}`, edits: spec.containerEdits, devices };
}
