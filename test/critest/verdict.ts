import type { SpecResult } from "./report.ts";
import type { AllowedSkip } from "./skips.ts";

export interface Verdict {
  passed: number;
  failed: number;
  skipped: number;
  /** What makes the run a failure, a line each; empty = it is none. */
  problems: string[];
  /** Skips that are allowed: reason -> how many. */
  allowed: Map<string, number>;
}

/** Judges one run: a failure, a flake, a skip that is not allowed, or no spec at all make it fail. */
export function judge(results: SpecResult[], allowedSkips: AllowedSkip[]): Verdict {
  const problems: string[] = [];
  const allowed = new Map<string, number>();
  const count = (outcome: SpecResult["outcome"]): number => results.filter((result) => result.outcome === outcome).length;
  for (const result of results) {
    if (result.outcome === "failed") problems.push(`failed: ${result.name}\n${indent(result.reason)}`);
    else if (result.flaky) problems.push(`flaky: ${result.name}`);
    else if (result.outcome === "skipped") {
      const entry = allowedSkips.find((candidate) => candidate.name.test(result.name));
      if (entry === undefined)
        problems.push(`skipped, and not on the list of test/critest/skips.ts: ${result.name}\n${indent(result.reason)}`);
      else allowed.set(entry.reason, (allowed.get(entry.reason) ?? 0) + 1);
    }
  }
  for (const { reason, most } of allowedSkips) {
    const skips = allowed.get(reason) ?? 0;
    if (skips > most) problems.push(`${skips} specs are skipped because ${reason}; at most ${most} may`);
  }
  if (results.length === 0) problems.push("no spec ran");
  return { passed: count("passed"), failed: count("failed"), skipped: count("skipped"), problems, allowed };
}

/** Specs that passed in one run and failed in another, with how often. */
export function flakes(runs: SpecResult[][]): string[] {
  const outcomes = new Map<string, { passed: number; failed: number }>();
  for (const result of runs.flat()) {
    const entry = outcomes.get(result.name) ?? { passed: 0, failed: 0 };
    if (result.outcome !== "skipped") entry[result.outcome]++;
    outcomes.set(result.name, entry);
  }
  return [...outcomes]
    .filter(([, { passed, failed }]) => passed > 0 && failed > 0)
    .map(([name, o]) => `${name}: failed ${o.failed} of ${o.passed + o.failed}`);
}

/** A line for each group of specs. */
export function byGroup(results: SpecResult[]): string[] {
  const groups = new Map<string, { passed: number; failed: number; skipped: number; ms: number }>();
  for (const result of results) {
    const entry = groups.get(result.group) ?? { passed: 0, failed: 0, skipped: 0, ms: 0 };
    entry[result.outcome]++;
    entry.ms += result.ms;
    groups.set(result.group, entry);
  }
  return [...groups]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(
      ([name, g]) =>
        `${name.padEnd(46)} ${String(g.passed).padStart(3)} passed ${String(g.failed).padStart(3)} failed ${String(g.skipped).padStart(3)} skipped ${(g.ms / 1000).toFixed(1).padStart(7)} s of specs`,
    );
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, "    ");
}
