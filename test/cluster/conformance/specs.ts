import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readReport, type SpecResult } from "../../critest/report.ts";
import type { Cluster } from "../cluster.ts";
import { kube, tools } from "../machine.ts";

/** Results by the full name of a spec. */
export type Outcomes = Map<string, SpecResult>;

/** As upstream's jobs choose them: what runs beside others, on any cluster. */
export function flags(focus: string | undefined): { focus: string; skip: string } {
  return {
    focus: focus === undefined ? "\\[NodeConformance\\]" : `\\[NodeConformance\\].*(${focus})|(${focus}).*\\[NodeConformance\\]`,
    skip: "\\[Slow\\]|\\[Serial\\]|\\[Disruptive\\]|\\[Flaky\\]|\\[LinuxOnly\\].*\\[Feature:Windows\\]",
  };
}

export interface SpecOptions {
  cluster: Cluster;
  /** For the report. */
  directory: string;
  /** Specs at a time. */
  procs: number;
  /** How often a spec may be tried before it has failed. */
  attempts: number;
  focus: string;
  skip: string;
  /** Gets the output of the specs. */
  log: number;
}

/**
 * Runs upstream's e2e binary against the cluster, in the network of its nodes.
 *
 * @throws when it wrote no report
 */
export async function runSpecs(options: SpecOptions): Promise<Outcomes> {
  const { cluster, directory } = options;
  const report = join(directory, "report.json");
  const ginkgo = [
    join(tools, "bin/ginkgo"),
    `--procs=${options.procs}`,
    "--timeout=3h",
    "--no-color",
    `--flake-attempts=${options.attempts}`,
    `--focus=${options.focus}`,
    `--skip=${options.skip}`,
    `--json-report=${report}`,
    join(kube, "bin/e2e.test"),
    "--",
  ];
  const e2e = [
    `--kubeconfig=${cluster.kubectl.kubeconfig}`,
    "--provider=skeleton",
    `--kubectl-path=${join(kube, "bin/kubectl")}`,
    "--num-nodes=1",
    `--report-dir=${directory}`,
    "--dump-logs-on-failure=false",
    "--disable-log-dump=true",
  ];
  const argv = ["nsenter", "-t", String(cluster.machine.pid), "-n", "--", ...ginkgo, ...e2e];
  const [file = "", ...args] = argv;
  const child = spawn(file, args, { cwd: directory, stdio: ["ignore", options.log, options.log] });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", resolve);
  });
  if (!existsSync(report)) throw new Error(`the e2e tests wrote no report (status ${status}): see ${directory}`);
  return new Map(readReport(report).map((result) => [result.name, result]));
}
