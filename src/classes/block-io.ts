import { readFile } from "node:fs/promises";
import { CridError, messageOf } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { parseQuantity } from "../base/quantity.ts";
import { anyCase, dictionary, fields, list, parseForeignYaml, text } from "../config/foreign-yaml.ts";
import { type BlockDevice, ioScheduler, matchBlockDevices } from "./block-devices.ts";

/** `linux.resources.blockIO` of the OCI runtime spec, as far as classes fill it. */
export interface BlockIoLimits {
  /** Of all devices that are not named; 10 to 1000. */
  weight?: number;
  weightDevice?: DeviceValue<"weight">[];
  throttleReadBpsDevice?: DeviceValue<"rate">[];
  throttleWriteBpsDevice?: DeviceValue<"rate">[];
  throttleReadIOPSDevice?: DeviceValue<"rate">[];
  throttleWriteIOPSDevice?: DeviceValue<"rate">[];
}

type DeviceValue<Name extends string> = { major: number; minor: number } & Record<Name, number>;

/** One entry of a class: parameters for some devices, or the weight for the rest. Quantities like "50M". */
interface DeviceParameters {
  Devices?: string[];
  ThrottleReadBps?: string;
  ThrottleWriteBps?: string;
  ThrottleReadIOPS?: string;
  ThrottleWriteIOPS?: string;
  Weight?: string;
}

const parameterNames = ["Devices", "ThrottleReadBps", "ThrottleWriteBps", "ThrottleReadIOPS", "ThrottleWriteIOPS", "Weight"] as const;
/** In the file, and in the OCI spec. */
const throttles = [
  ["ThrottleReadBps", "throttleReadBpsDevice"],
  ["ThrottleWriteBps", "throttleWriteBpsDevice"],
  ["ThrottleReadIOPS", "throttleReadIOPSDevice"],
  ["ThrottleWriteIOPS", "throttleWriteIOPSDevice"],
] as const;

/** The file of github.com/intel/goresctrl, pkg/blockio, which containerd and CRI-O take too. */
const readFileShape = anyCase(
  ["Classes"],
  fields<{ Classes: Map<string, DeviceParameters[]> }>(
    {
      Classes: dictionary(
        list(
          anyCase(
            parameterNames,
            fields<DeviceParameters>(
              {
                Devices: list(text),
                ThrottleReadBps: text,
                ThrottleWriteBps: text,
                ThrottleReadIOPS: text,
                ThrottleWriteIOPS: text,
                Weight: text,
              },
              {},
            ),
          ),
        ),
      ),
    },
    { Classes: new Map() },
  ),
);

export interface BlockIoStatus {
  configFile: string;
  classes: string[];
  /** "" = the file can be used, or there is none. */
  error: string;
}

/** Block I/O classes: limits and weights by name, from a file that is read when a container asks for a class. */
export class BlockIoClasses {
  readonly #configFile: string;
  readonly #ignoreNotEnabled: boolean;
  readonly #log: Logger;

  /**
   * @param options.configFile "" = there are no classes
   * @param options.ignoreNotEnabledErrors without a usable file a container is created without its class, instead of refused
   */
  constructor(options: { configFile: string; ignoreNotEnabledErrors: boolean; log: Logger }) {
    this.#configFile = options.configFile;
    this.#ignoreNotEnabled = options.ignoreNotEnabledErrors;
    this.#log = options.log.child({ part: "blockio" });
  }

  /**
   * The limits of a class, for the devices that there are now. Undefined: there are no classes here, and that is to be ignored.
   *
   * @throws failed-precondition when there is no such class, or it cannot be used
   */
  async resolve(name: string): Promise<BlockIoLimits | undefined> {
    let classes: Map<string, DeviceParameters[]>;
    try {
      classes = await this.#read();
    } catch (error) {
      const why = messageOf(error);
      if (!this.#ignoreNotEnabled) throw new CridError("failed-precondition", `block I/O class "${name}": ${why}`, { cause: error });
      this.#log.debug(`block I/O class "${name}" is ignored: ${why}`);
      return undefined;
    }
    const parameters = classes.get(name);
    if (parameters === undefined) {
      const known = [...classes.keys()].sort().join(", ") || "none";
      throw new CridError("failed-precondition", `block I/O class "${name}": ${this.#configFile} has no such class (it has: ${known})`);
    }
    const { limits, warnings } = await limitsOf(parameters, `block I/O class "${name}" of ${this.#configFile}`);
    for (const warning of warnings) this.#log.warn({ class: name }, warning);
    return limits;
  }

  async status(): Promise<BlockIoStatus> {
    const configFile = this.#configFile;
    try {
      return { configFile, classes: configFile === "" ? [] : [...(await this.#read()).keys()].sort(), error: "" };
    } catch (error) {
      return { configFile, classes: [], error: messageOf(error) };
    }
  }

  /** @throws Error that says what to do */
  async #read(): Promise<Map<string, DeviceParameters[]>> {
    if (this.#configFile === "") throw new Error("there are no classes: runtime.blockio.configFile is not set");
    try {
      return parseBlockIoClasses(await readFile(this.#configFile, "utf8"), this.#configFile);
    } catch (error) {
      throw new Error(`runtime.blockio.configFile ${this.#configFile} cannot be used: ${messageOf(error)}`, { cause: error });
    }
  }
}

/** By name. @throws Error with the place */
export function parseBlockIoClasses(content: string, path: string): Map<string, DeviceParameters[]> {
  const document = parseForeignYaml(content, path);
  return document === undefined ? new Map() : readFileShape(document, "").Classes;
}

/** Of two entries for one device the later wins. @throws failed-precondition with every bad value */
export async function limitsOf(
  parameters: readonly DeviceParameters[],
  what: string,
): Promise<{ limits: BlockIoLimits; warnings: string[] }> {
  const warnings: string[] = [];
  const problems: string[] = [];
  const limits: BlockIoLimits = {};
  for (const entry of parameters) {
    const number = (name: "Weight" | (typeof throttles)[number][0], range: { min: bigint; max: bigint }) => {
      const value = entry[name];
      if (value === undefined || value === "") return undefined;
      try {
        const parsed = parseQuantity(value);
        if (parsed >= range.min && parsed <= range.max) return Number(parsed);
        problems.push(`${name}: ${value} is out of range ${range.min} to ${range.max}`);
      } catch (error) {
        problems.push(`${name}: ${messageOf(error)}`);
      }
      return undefined;
    };
    const weight = number("Weight", { min: 10n, max: 1000n });
    const rates = throttles.map(([name, field]) => ({ field, rate: number(name, { min: 0n, max: BigInt(Number.MAX_SAFE_INTEGER) }) }));
    if (entry.Devices === undefined) {
      if (weight !== undefined) limits.weight = weight;
      if (rates.some(({ rate }) => rate !== undefined)) problems.push("throttling needs Devices");
      continue;
    }
    const { devices, problems: unmatched } = await matchBlockDevices(entry.Devices);
    warnings.push(...unmatched.map((problem) => `${what}: ${problem}`));
    for (const device of devices) {
      if (weight !== undefined) {
        limits.weightDevice = set(limits.weightDevice, device, { weight });
        const scheduler = await ioScheduler(device);
        if (scheduler !== "" && scheduler !== "bfq" && scheduler !== "cfq") {
          warnings.push(`${what}: the weight has no effect on ${device.path}: its I/O scheduler is ${scheduler}, not bfq`);
        }
      }
      for (const { field, rate } of rates) {
        if (rate !== undefined) limits[field] = set(limits[field], device, { rate });
      }
    }
  }
  if (problems.length > 0) throw new CridError("failed-precondition", `${what}: ${problems.join("; ")}`);
  return { limits, warnings };
}

function set<Value extends object>(
  all: readonly ({ major: number; minor: number } & Value)[] | undefined,
  { major, minor }: BlockDevice,
  value: Value,
): ({ major: number; minor: number } & Value)[] {
  const others = all ?? [];
  const there = others.some((other) => other.major === major && other.minor === minor);
  if (!there) return [...others, { major, minor, ...value }];
  return others.map((other) => (other.major === major && other.minor === minor ? { ...other, ...value } : other));
}
