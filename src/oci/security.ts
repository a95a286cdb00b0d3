import { CridError } from "../base/errors.ts";
import type { SecurityProfile } from "../records/pod-config.ts";

/** The profile that stands for RuntimeDefault under AppArmor: the administrator's, or the one that crid loads at its start. */
export const DEFAULT_APPARMOR_PROFILE = "crid-default";

export interface ApparmorInput {
  profile: SecurityProfile | undefined;
  privileged: boolean;
  /** Whether the kernel has it enabled. */
  available: boolean;
  /** Whether a profile of this name is loaded. Asked only when `available`. */
  loaded(profile: string): boolean;
}

/**
 * The AppArmor profile of a process; undefined = none.
 *
 * @throws failed-precondition when one is asked for that the kernel does not have
 */
export function apparmorProfile(input: ApparmorInput): string | undefined {
  const type = input.profile?.type;
  if (!input.available) {
    if (type === undefined || type === "unconfined") return undefined;
    throw new CridError("failed-precondition", "apparmor is not supported: it is not enabled in this kernel");
  }
  if (type === "unconfined") return undefined;
  if (type === "localhost") {
    const name = (input.profile?.localhostRef ?? "").replace(/^localhost\//, "");
    if (name === "" || !input.loaded(name))
      throw new CridError("failed-precondition", `apparmor profile not found ${name}: it is not loaded`);
    return name;
  }
  // Nobody asked, or RuntimeDefault.
  if (input.privileged || !input.loaded(DEFAULT_APPARMOR_PROFILE)) return undefined;
  return DEFAULT_APPARMOR_PROFILE;
}
