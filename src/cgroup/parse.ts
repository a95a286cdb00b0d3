import type { Pressure, PressureLine } from "./stats.ts";

/** A file with one number; "max" and what is no number give undefined. */
export function parseNumber(text: string | undefined): bigint | undefined {
  const digits = text?.trim() ?? "";
  return /^\d+$/.test(digits) ? BigInt(digits) : undefined;
}

/** A flat keyed file, `key value` in each line (memory.stat, cpu.stat, memory.events). Other lines are left out. */
export function parseFlatKeyed(text: string): Map<string, bigint> {
  const values = new Map<string, bigint>();
  for (const line of text.split("\n")) {
    const [, key, digits] = /^(\S+) (\d+)$/.exec(line) ?? [];
    if (key !== undefined && digits !== undefined) values.set(key, BigInt(digits));
  }
  return values;
}

/** A nested keyed file, `name key=value key=value` in each line (io.stat). */
export function parseNestedKeyed(text: string): Map<string, Map<string, bigint>> {
  const lines = new Map<string, Map<string, bigint>>();
  for (const line of text.split("\n")) {
    const [name, ...pairs] = line.split(" ");
    if (name === undefined || name === "") continue;
    const values = new Map<string, bigint>();
    for (const pair of pairs) {
      const [, key, digits] = /^([^=]+)=(\d+)$/.exec(pair) ?? [];
      if (key !== undefined && digits !== undefined) values.set(key, BigInt(digits));
    }
    lines.set(name, values);
  }
  return lines;
}

/** A blkio file of v1, `<device> <operation> <value>` in each line: values by device and operation. */
export function parseBlkio(text: string): Map<string, Map<string, bigint>> {
  const devices = new Map<string, Map<string, bigint>>();
  for (const line of text.split("\n")) {
    const [, device, operation, digits] = /^(\d+:\d+) (\w+) (\d+)$/.exec(line) ?? [];
    if (device === undefined || operation === undefined || digits === undefined) continue;
    const values = devices.get(device) ?? new Map<string, bigint>();
    values.set(operation, BigInt(digits));
    devices.set(device, values);
  }
  return devices;
}

/** A pressure file (Documentation/accounting/psi.rst); undefined when it has no "some" line. */
export function parsePressure(text: string | undefined): Pressure | undefined {
  let some: PressureLine | undefined;
  let full: PressureLine | undefined;
  for (const line of text?.split("\n") ?? []) {
    const [, kind, avg10, avg60, avg300, total] =
      /^(some|full) avg10=([\d.]+) avg60=([\d.]+) avg300=([\d.]+) total=(\d+)$/.exec(line) ?? [];
    if (total === undefined) continue;
    const parsed = { avg10: Number(avg10), avg60: Number(avg60), avg300: Number(avg300), totalMicros: BigInt(total) };
    if (kind === "some") some = parsed;
    else full = parsed;
  }
  return some === undefined ? undefined : { some, ...(full !== undefined && { full }) };
}
