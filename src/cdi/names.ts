import { CridError } from "../base/errors.ts";

/** The parts of `<vendor>/<class>=<name>`. */
export interface QualifiedName {
  vendor: string;
  class: string;
  name: string;
}

/** Keys of annotations that ask for devices, before the CRI had a field for them. */
export const ANNOTATION_PREFIX = "cdi.k8s.io/";

const VENDOR_OR_CLASS = /^[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?$/;
const DEVICE = /^[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?$/;

/**
 * Splits a device's name. CDI's SPEC.md, "Kind" and "CDI Devices"; the Go library is looser than its text (no lengths, capitals in vendors),
 * and vendors test against that.
 *
 * @throws Error saying which part is wrong
 */
export function parseQualifiedName(device: string): QualifiedName {
  const [kind, name] = cut(device.startsWith("/") ? "" : device, "=");
  const [vendor, className] = cut(kind, "/");
  if (vendor === "" || className === "" || name === "") {
    throw new Error(`unqualified device ${JSON.stringify(device)}: must be vendor/class=name`);
  }
  for (const problem of [vendorProblem(vendor), classProblem(className), deviceProblem(name)]) {
    if (problem !== undefined) throw new Error(`invalid device ${JSON.stringify(device)}: ${problem}`);
  }
  return { vendor, class: className, name };
}

export function isQualifiedName(device: string): boolean {
  try {
    parseQualifiedName(device);
    return true;
  } catch {
    return false;
  }
}

/** The halves of a spec's `kind`, checked. @throws Error */
export function parseKind(kind: string): { vendor: string; class: string } {
  const [vendor, className] = cut(kind, "/");
  const problem = vendor === "" || className === "" ? "must be vendor/class" : (vendorProblem(vendor) ?? classProblem(className));
  if (problem !== undefined) throw new Error(`invalid kind ${JSON.stringify(kind)}: ${problem}`);
  return { vendor, class: className };
}

/** What is wrong with the name of a device within its kind; undefined: nothing. */
export function deviceProblem(name: string): string | undefined {
  return DEVICE.test(name)
    ? undefined
    : `device name ${JSON.stringify(name)} must be of letters, digits, "_", "-", "." and ":", a letter or digit at both ends`;
}

const vendorProblem = (vendor: string): string | undefined => vendorOrClassProblem("vendor", vendor);
const classProblem = (className: string): string | undefined => vendorOrClassProblem("class", className);

function vendorOrClassProblem(what: string, name: string): string | undefined {
  return VENDOR_OR_CLASS.test(name)
    ? undefined
    : `${what} ${JSON.stringify(name)} must be of letters, digits, "_", "-" and ".", begin with a letter, end with a letter or digit`;
}

/**
 * The devices that a container asks for: those of the CRI's field first, then those of its annotations in the order of their keys; each once.
 *
 * @throws invalid-argument for an annotation that names no device
 */
export function requestedCdiDevices(field: readonly string[], annotations: Readonly<Record<string, string>>): string[] {
  const devices = new Set(field);
  for (const key of Object.keys(annotations).sort()) {
    if (!key.startsWith(ANNOTATION_PREFIX)) continue;
    for (const device of (annotations[key] ?? "").split(",")) {
      if (!isQualifiedName(device)) {
        throw new CridError(
          "invalid-argument",
          `annotations["${key}"]: invalid CDI device name ${JSON.stringify(device)}: must be vendor/class=name`,
        );
      }
      devices.add(device);
    }
  }
  return [...devices];
}

/** Around the first separator; the second half is "" without one. */
function cut(whole: string, separator: string): [string, string] {
  const at = whole.indexOf(separator);
  return at < 0 ? [whole, ""] : [whole.slice(0, at), whole.slice(at + 1)];
}
