import { readFileSync } from "node:fs";

/** What became of one spec in one run. */
export interface SpecResult {
  name: string;
  /** The outermost container's text: `[k8s.io] Streaming`. */
  group: string;
  outcome: "passed" | "failed" | "skipped";
  /** Why it failed or was skipped, with the place in critest's source. */
  reason: string;
  ms: number;
  /** Passed only after a repetition. */
  flaky: boolean;
}

/** The parts that are read of ginkgo's JSON report (`ginkgo/v2/types.Report`). */
interface GinkgoReport {
  SpecReports?: {
    ContainerHierarchyTexts?: string[] | null;
    LeafNodeType: string;
    LeafNodeText: string;
    State: string;
    RunTime: number;
    NumAttempts: number;
    Failure?: { Message?: string; Location?: { FileName?: string; LineNumber?: number } };
  }[];
}

/**
 * The results in a report of ginkgo. Specs that a filter left out are not in them: they have no attempt and no message. Nodes around the specs
 * (BeforeSuite and the like) are, when they failed.
 *
 * @throws when the report does not exist or is no report
 */
export function readReport(path: string): SpecResult[] {
  const reports = JSON.parse(readFileSync(path, "utf8")) as GinkgoReport[];
  const results: SpecResult[] = [];
  for (const spec of reports.flatMap((report) => report.SpecReports ?? [])) {
    const texts = spec.ContainerHierarchyTexts ?? [];
    const isSpec = spec.LeafNodeType === "It";
    const message = withoutDump(spec.Failure?.Message ?? "");
    const outcome = spec.State === "passed" ? "passed" : spec.State === "skipped" || spec.State === "pending" ? "skipped" : "failed";
    if (outcome === "skipped" && message === "") continue;
    if (!isSpec && outcome !== "failed") continue;
    const file = spec.Failure?.Location?.FileName?.split("/").at(-1);
    const place = file === undefined || outcome === "skipped" ? "" : ` (${file}:${spec.Failure?.Location?.LineNumber ?? 0})`;
    results.push({
      name: [...texts, spec.LeafNodeText].join(" ") || spec.LeafNodeType,
      group: texts[0] ?? spec.LeafNodeType,
      outcome,
      reason: outcome === "passed" ? "" : `${spec.State === "failed" || outcome === "skipped" ? "" : `${spec.State}: `}${message}${place}`,
      ms: spec.RunTime / 1e6,
      flaky: outcome === "passed" && spec.NumAttempts > 1,
    });
  }
  return results;
}

/** gomega's messages without the dump of the Go value, which repeats the line above it over a screen. */
function withoutDump(message: string): string {
  return message.replace(/\n( *)\{\n[\s\S]*?\n\1\}(?=\n|$)/g, "");
}
