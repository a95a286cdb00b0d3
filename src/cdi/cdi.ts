import { normalize } from "node:path";
import { CridError, messageOf } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { type ContainerEdits, joinEdits } from "./edits.ts";
import { completeDeviceNode, type HostDeviceNode } from "./host-device.ts";
import { parseQualifiedName } from "./names.ts";
import type { LoadedSpec } from "./spec.ts";
import { type SpecFile, SpecFiles } from "./spec-files.ts";

/** The edits of devices, ready for an OCI spec: their device nodes are known. */
export type ResolvedEdits = Omit<ContainerEdits, "deviceNodes"> & { deviceNodes: HostDeviceNode[] };

/** What the spec folders hold. */
export interface CdiStatus {
  enabled: boolean;
  dirs: readonly string[];
  /** Qualified names of the devices that containers can have, with the file of each. */
  devices: Record<string, string>;
  /** By path. */
  errors: Record<string, string[]>;
}

interface Device {
  spec: LoadedSpec;
  priority: number;
  edits: ContainerEdits;
}

interface Contents {
  devices: Map<string, Device>;
  errors: Map<string, string[]>;
}

/**
 * The devices of the Container Device Interface that this node has: spec files that vendors' drivers and device plugins write
 * (https://github.com/cncf-tags/container-device-interface). The folders are looked at when a container asks for a device.
 */
export class Cdi {
  readonly #enabled: boolean;
  readonly #dirs: readonly string[];
  readonly #files: SpecFiles;
  readonly #log: Logger;
  /** Errors that the log has already. */
  #reported = new Set<string>();

  /** @param options.dirs of two files that name the same device the one in the later folder counts */
  constructor(options: { enabled: boolean; dirs: readonly string[]; log: Logger }) {
    this.#enabled = options.enabled;
    this.#dirs = options.dirs.map((dir) => normalize(dir));
    this.#files = new SpecFiles(this.#dirs);
    this.#log = options.log.child({ part: "cdi" });
  }

  /**
   * What the devices with these qualified names change in a container's OCI spec: `injectCdiEdits` of `oci/` makes the changes. The edits of a
   * spec file come once, before those of its first device.
   *
   * @throws failed-precondition "unresolvable CDI devices ..." with the names that no file has; also when a device's node is not on the host
   */
  async resolve(names: readonly string[]): Promise<ResolvedEdits> {
    if (!this.#enabled) {
      throw new CridError(
        "failed-precondition",
        `unresolvable CDI devices ${names.join(", ")}: CDI is off; set cdi.enabled in the configuration`,
      );
    }
    const contents = await this.#contents();
    const unresolved = names.filter((name) => !contents.devices.has(name));
    if (unresolved.length > 0) throw new CridError("failed-precondition", this.#unresolvable(unresolved, contents));
    const specs = new Set<LoadedSpec>();
    const all = names.flatMap((name) => {
      const device = contents.devices.get(name);
      if (device === undefined) return [];
      const first = !specs.has(device.spec);
      specs.add(device.spec);
      return first ? [device.spec.edits, device.edits] : [device.edits];
    });
    const { deviceNodes, ...edits } = joinEdits(all);
    return { ...edits, deviceNodes: await Promise.all((deviceNodes ?? []).map(completeDeviceNode)) };
  }

  /** What there is now. */
  async status(): Promise<CdiStatus> {
    const { devices, errors } = this.#enabled ? await this.#contents() : { devices: new Map<string, Device>(), errors: new Map() };
    return {
      enabled: this.#enabled,
      dirs: this.#dirs,
      devices: Object.fromEntries([...devices].map(([name, { spec }]) => [name, spec.path]).sort()),
      errors: Object.fromEntries([...errors].sort()),
    };
  }

  async #contents(): Promise<Contents> {
    const contents = contentsOf(await this.#files.read());
    const reported = new Set<string>();
    for (const [path, messages] of contents.errors) {
      for (const message of messages) {
        const line = `CDI spec ${path}: ${message}`;
        if (!this.#reported.has(line)) this.#log.warn({ path }, `${line}; its devices are not available, those of other files are`);
        reported.add(line);
      }
    }
    this.#reported = reported;
    return contents;
  }

  #unresolvable(names: readonly string[], { devices, errors }: Contents): string {
    const reasons = names.map((name) => {
      try {
        const { vendor, class: className } = parseQualifiedName(name);
        const kind = `${vendor}/${className}`;
        const siblings = [...devices].filter(([, { spec }]) => spec.kind === kind).map(([sibling]) => sibling);
        return siblings.length === 0 ? `no usable spec file has devices of ${kind}` : `of ${kind} there are: ${siblings.sort().join(", ")}`;
      } catch (error) {
        return messageOf(error);
      }
    });
    const broken = [...errors].map(([path, messages]) => `${path}: ${messages.join("; ")}`);
    return [
      `unresolvable CDI devices ${names.join(", ")}`,
      [...new Set(reasons)].join("; "),
      `spec files are looked for in ${this.#dirs.join(" and ")}: install the vendor's driver or device plugin, which writes them` +
        (broken.length === 0 ? "" : `, and mend these: ${broken.join("; ")}`),
    ].join(": ");
  }
}

/**
 * Which file a device comes from. Of two in folders of different priority the higher counts; of two of the same, neither: nobody could tell
 * which one is meant.
 */
function contentsOf(files: readonly SpecFile[]): Contents {
  const devices = new Map<string, Device>();
  const conflicts = new Map<string, number>();
  const errors = new Map<string, string[]>();
  const note = (path: string, message: string) => errors.set(path, [...(errors.get(path) ?? []), message]);
  for (const { path, priority, spec, error } of files) {
    if (error !== undefined) note(path, error);
    for (const [name, edits] of spec?.devices ?? []) {
      const qualified = `${spec?.kind}=${name}`;
      const other = devices.get(qualified);
      if (spec === undefined) continue;
      if (other?.priority === priority) {
        const message = `conflicting device ${JSON.stringify(qualified)} (specs ${other.spec.path}, ${path})`;
        note(path, message);
        note(other.spec.path, message);
        conflicts.set(qualified, priority);
      } else {
        devices.set(qualified, { spec, priority, edits });
      }
    }
  }
  // A conflict below a folder that has the device too does no harm.
  for (const [name, priority] of conflicts) if (devices.get(name)?.priority === priority) devices.delete(name);
  return { devices, errors };
}
