/**
 * The skips that do not fail a run: specs that cannot run here, each with its reason. A skip that no entry covers is a failure, and so is an
 * entry that covers more specs than it says: the list can only shrink by itself, never grow.
 */
export interface AllowedSkip {
  /** Matches the spec's full name. */
  name: RegExp;
  /** How many specs it may cover at most. */
  most: number;
  reason: string;
}

export const allowedSkips: AllowedSkip[] = [{ name: /AppArmor/, most: 9, reason: "AppArmor is not in this kernel" }];
