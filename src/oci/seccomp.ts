import { CridError } from "../base/errors.ts";
import type { SecurityProfile } from "../records/pod-config.ts";
import {
  architectureCalls,
  capabilityCalls,
  generalCalls,
  LAST_ADDRESS_FAMILY,
  NAMESPACE_FLAGS,
  PERSONALITIES,
  REFUSED_ADDRESS_FAMILIES,
} from "./seccomp-table.ts";
import type { OciSeccomp, OciSyscallRule } from "./spec.ts";

/** errno of "no such system call": programs then fall back to an older call, as glibc does from clone3 to clone. */
const ENOSYS = 38;

export interface SeccompInput {
  /** Absent: unconfined, unless the configuration says otherwise (the caller has put that in). */
  profile: SecurityProfile | undefined;
  privileged: boolean;
  /** Whether the kernel has seccomp filters. */
  available: boolean;
  /** The bounding set that the process gets: some calls are let through for capabilities. */
  bounding: readonly string[];
  /** As `process.arch` has it. */
  arch: string;
  /** Reads a localhost profile. @throws not-found */
  readProfile(path: string): string;
}

/**
 * The seccomp part of a spec; undefined = no filter.
 *
 * @throws failed-precondition (no seccomp in the kernel), invalid-argument (bad profile), and what `readProfile` throws
 */
export function seccompFor(input: SeccompInput): OciSeccomp | undefined {
  const { profile } = input;
  if (input.privileged || profile === undefined || profile.type === "unconfined") return undefined;
  if (!input.available) throw new CridError("failed-precondition", "seccomp is not supported by this kernel; use profile Unconfined");
  if (profile.type === "runtime-default") {
    if (profile.localhostRef !== "") {
      throw new CridError("invalid-argument", "seccomp: localhost_ref must be empty unless the profile type is Localhost");
    }
    return defaultSeccomp(input.bounding, input.arch);
  }
  // Old kubelets wrote the prefix into the reference.
  const path = profile.localhostRef.replace(/^localhost\//, "");
  if (path === "") throw new CridError("invalid-argument", "seccomp: localhost_ref is empty, it must name the profile's file");
  return parseProfile(path, input.readProfile(path));
}

/** The RuntimeDefault profile for a process with this bounding set. */
export function defaultSeccomp(bounding: readonly string[], arch: string): OciSeccomp {
  const machine = architectureCalls(arch);
  const allowed = new Set([...generalCalls(), ...machine.calls, ...bounding.flatMap(capabilityCalls)]);
  const rules: OciSyscallRule[] = [{ names: [...allowed], action: "SCMP_ACT_ALLOW" }, ...socketRules(), ...personalityRules()];
  if (!bounding.includes("CAP_SYS_ADMIN")) {
    rules.push({
      names: ["clone"],
      action: "SCMP_ACT_ALLOW",
      // On s390 the flags are the second argument. For MASKED_EQ `value` is the mask and `valueTwo` what must be left.
      args: [{ index: arch.startsWith("s390") ? 1 : 0, value: NAMESPACE_FLAGS, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }],
    });
    // The flags of clone3 lie behind a pointer, where a filter cannot look.
    rules.push({ names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: ENOSYS });
  }
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    ...(machine.architectures.length > 0 && { architectures: machine.architectures }),
    syscalls: rules,
  };
}

/** One rule for the unbroken range below the first refused family, then one each: runc joins several conditions on one argument by OR. */
function socketRules(): OciSyscallRule[] {
  const firstRefused = Math.min(...REFUSED_ADDRESS_FAMILIES);
  const allow = (value: number, op: string): OciSyscallRule => ({
    names: ["socket"],
    action: "SCMP_ACT_ALLOW",
    args: [{ index: 0, value, op }],
  });
  const rules = [allow(firstRefused, "SCMP_CMP_LT")];
  for (let family = firstRefused; family <= LAST_ADDRESS_FAMILY; family++) {
    if (!REFUSED_ADDRESS_FAMILIES.includes(family)) rules.push(allow(family, "SCMP_CMP_EQ"));
  }
  return rules;
}

function personalityRules(): OciSyscallRule[] {
  return PERSONALITIES.map((value) => ({
    names: ["personality"],
    action: "SCMP_ACT_ALLOW",
    args: [{ index: 0, value, op: "SCMP_CMP_EQ" }],
  }));
}

/** A localhost profile is the `linux.seccomp` object of the runtime specification; the low-level runtime checks its details. */
function parseProfile(path: string, text: string): OciSeccomp {
  let profile: unknown;
  try {
    profile = JSON.parse(text);
  } catch (error) {
    throw new CridError("invalid-argument", `seccomp profile ${path}: not JSON`, { cause: error });
  }
  if (typeof profile !== "object" || profile === null || !("defaultAction" in profile) || typeof profile.defaultAction !== "string") {
    throw new CridError(
      "invalid-argument",
      `seccomp profile ${path}: defaultAction is missing; it must be a seccomp object of the OCI runtime spec`,
    );
  }
  return profile as OciSeccomp;
}
