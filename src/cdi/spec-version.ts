import type { ContainerEdits } from "./edits.ts";
import type { CdiSpec } from "./file-shape.ts";

/**
 * Versions of the CDI specification, oldest first, with what each brought: a spec that uses it must say at least that version
 * (SPEC.md, "Released versions").
 */
const versions: readonly { version: string; uses?: (spec: CdiSpec) => boolean }[] = [
  { version: "0.1.0" },
  { version: "0.2.0" },
  { version: "0.3.0", uses: () => true },
  { version: "0.4.0", uses: anyEdits(({ mounts }) => mounts?.some(({ type }) => Boolean(type))) },
  {
    version: "0.5.0",
    uses: (spec) =>
      spec.devices.some(({ name }) => /^[0-9]/.test(name)) ||
      anyEdits(({ deviceNodes }) => deviceNodes?.some(({ hostPath }) => Boolean(hostPath)))(spec),
  },
  {
    version: "0.6.0",
    uses: ({ annotations, devices, kind }) =>
      (annotations?.size ?? 0) > 0 ||
      devices.some((device) => (device.annotations?.size ?? 0) > 0) ||
      kind.slice(kind.indexOf("/") + 1).includes("."),
  },
  {
    version: "0.7.0",
    uses: anyEdits(({ intelRdt, additionalGids = [] }) => intelRdt !== undefined || additionalGids.length > 0),
  },
  { version: "0.8.0" },
  { version: "1.0.0" },
  {
    version: "1.1.0",
    uses: anyEdits(
      ({ intelRdt, netDevices = [] }) => intelRdt?.schemata !== undefined || intelRdt?.enableMonitoring === true || netDevices.length > 0,
    ),
  },
];

/** What is wrong with `cdiVersion`; undefined: nothing. */
export function versionProblem(spec: CdiSpec): string | undefined {
  const said = versions.findIndex(({ version }) => version === spec.cdiVersion.replace(/^v/, ""));
  if (said < 0) {
    const known = versions.map(({ version }) => version).slice(2);
    return `cdiVersion: invalid version ${JSON.stringify(spec.cdiVersion)}: must be one of ${known.join(", ")}`;
  }
  const needed = versions.findLast(({ uses }) => uses?.(spec) === true);
  if (needed === undefined || versions.indexOf(needed) <= said) return undefined;
  return `cdiVersion: the spec version must be at least ${needed.version}: it uses what came with that`;
}

function anyEdits(uses: (edits: ContainerEdits) => boolean | undefined): (spec: CdiSpec) => boolean {
  return ({ containerEdits, devices }) =>
    [containerEdits, ...devices.map((device) => device.containerEdits)].some((edits) => uses(edits) === true);
}
