import { CridError } from "../../base/errors.ts";

/** Bad input from the caller, with the path of the field as the CRI's proto spells it: `config.linux.resources.cpu_quota`. */
export function badField(path: string, problem: string): CridError {
  return new CridError("invalid-argument", `${path}: ${problem}`);
}

/** A message that must be there. */
export function required<T>(value: T | null | undefined, path: string): T {
  if (value === null || value === undefined) throw badField(path, "is required");
  return value;
}

/** A string that must not be empty. */
export function filled(value: string, path: string): string {
  if (value === "") throw badField(path, "is required");
  return value;
}

/** A path that must be absolute and clean enough to be a path. */
export function absolute(value: string, path: string): string {
  filled(value, path);
  if (!value.startsWith("/")) throw badField(path, `${JSON.stringify(value)} is not an absolute path`);
  return withoutNul(value, path);
}

/** The kernel ends a string at the first NUL: what follows would be dropped without a word. */
export function withoutNul(value: string, path: string): string {
  if (value.includes("\0")) throw badField(path, "contains a NUL character");
  return value;
}

/** Longest name that is taken: four times what Kubernetes allows. */
const mostNameBytes = 1024;

/** A name. It ends up in environments of plugins, in file names, log lines and metrics, where a control character is another line or the end. */
export function name(value: string, path: string): string {
  if (Buffer.byteLength(value) > mostNameBytes) throw badField(path, `is longer than ${mostNameBytes} bytes`);
  return printable(value, path);
}

/**
 * Labels and annotations together may be as big as this: four times what Kubernetes allows an object. All of them are in every list, and a list of a few pods that is
 * longer than a message may be (16 MiB) stops the kubelet.
 */
const mostTextBytes = 1024 * 1024;

/** Labels or annotations, as a map of its own. */
export function texts(values: Readonly<Record<string, string>>, path: string): Record<string, string> {
  let bytes = 0;
  for (const [key, value] of Object.entries(values)) bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  if (bytes > mostTextBytes) throw badField(path, `are ${bytes} bytes together; at most ${mostTextBytes} are taken`);
  return { ...values };
}

/** Text of one line. */
export function printable(value: string, path: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(value)) throw badField(path, `${JSON.stringify(value)} contains a control character`);
  return value;
}

/** An int64 as a number. @throws invalid-argument when it is past what a number holds exactly */
export function exact(value: bigint, path: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw badField(path, `${value} is out of range`);
  return number;
}

/**
 * A limit as a number. Callers write "no limit" as the largest int64 too; what is past 2^53 means the same to the kernel as 2^53
 * does (8 PiB, 104 days of CPU a period), so it is cut instead of refused.
 */
export function limit(value: bigint): number {
  const most = BigInt(Number.MAX_SAFE_INTEGER);
  return Number(value > most ? most : value < -most ? -most : value);
}

/** A user or group id as the kernel takes it. 4294967295 is its "no id". */
export function userId(value: bigint, path: string): number {
  if (value < 0n || value >= 0xffff_ffffn) throw badField(path, `${value} is no user or group id; it must be 0 to 4294967294`);
  return Number(value);
}

/** The word for an enum's number. @throws invalid-argument for a number that the enum does not have */
export function word<Word>(words: readonly Word[], value: number, path: string): Word {
  const found = words[value];
  if (found === undefined) throw badField(path, `${value} is not a known value`);
  return found;
}
