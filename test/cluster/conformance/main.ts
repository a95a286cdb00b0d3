// Upstream's [NodeConformance] specs on a one-node cluster of each runtime, one after the other: what passes on containerd must pass on crid. See
// hack/conformance.

import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { SpecResult } from "../../critest/report.ts";
import { Cluster } from "../cluster.ts";
import type { RuntimeName } from "../runtimes.ts";
import { flags, type Outcomes, runSpecs } from "./specs.ts";

const { values } = parseArgs({
  options: {
    runtime: { type: "string", default: "both" },
    /** Only the specs that this matches, of those. */
    focus: { type: "string" },
    procs: { type: "string", default: "4" },
    attempts: { type: "string", default: "2" },
    /** Where the results of each runtime go; what is there already of a runtime that does not run now is compared with. */
    results: { type: "string" },
    /** Leaves the cluster of a single runtime running. */
    keep: { type: "boolean", default: false },
  },
});
const runtimes: readonly RuntimeName[] = ["containerd", "crid"];
if (values.runtime !== "both" && !runtimes.some((name) => name === values.runtime)) fail("--runtime is crid, containerd or both");
const procs = natural("--procs", values.procs);
const attempts = natural("--attempts", values.attempts);

let cluster: Cluster | undefined;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.once(signal, () => void cluster?.down().finally(() => process.exit(130)));

const all = new Map<RuntimeName, Outcomes>();
for (const runtime of runtimes) {
  const kept = values.results === undefined ? "" : join(values.results, `${runtime}.json`);
  if (values.runtime === "both" || values.runtime === runtime) all.set(runtime, await specsOn(runtime));
  else if (existsSync(kept))
    all.set(runtime, new Map((JSON.parse(readFileSync(kept, "utf8")) as SpecResult[]).map((one) => [one.name, one])));
}
report();
process.exit();

async function specsOn(runtime: RuntimeName): Promise<Outcomes> {
  say(`cluster: one node on ${runtime}`);
  cluster = await Cluster.boot({ runtime, nodes: 1, say });
  const running = cluster;
  try {
    await running.up();
    const directory = join(running.directory, "e2e");
    mkdirSync(directory);
    const log = openSync(join(directory, "e2e.log"), "a");
    const outcomes = await runSpecs({ cluster: running, directory, procs, attempts, log, ...flags(values.focus) });
    closeSync(log);
    const count = (wanted: string): number => [...outcomes.values()].filter(({ outcome }) => outcome === wanted).length;
    say(`${runtime}: ${count("passed")} passed, ${count("failed")} failed, ${count("skipped")} skipped`);
    const failed = [...outcomes.values()].filter(({ outcome }) => outcome === "failed");
    if (values.results !== undefined) {
      mkdirSync(values.results, { recursive: true });
      writeFileSync(join(values.results, `${runtime}.json`), JSON.stringify([...outcomes.values()], null, 2));
    }
    if (failed.length > 0) say(`logs of the node: ${await running.saveLogs()}`);
    return outcomes;
  } finally {
    if (values.keep && values.runtime !== "both") {
      await running.keep();
      say(`the cluster stays: export KUBECONFIG=${running.kubectl.kubeconfig}; its end: hack/cluster --down ${running.directory}`);
    } else for (const path of await running.down()) say(`left behind: ${path}`);
  }
}

function report(): void {
  const crid = all.get("crid");
  const containerd = all.get("containerd");
  let worse = 0;
  for (const { name, outcome, reason } of (crid ?? containerd)?.values() ?? []) {
    if (outcome !== "failed") continue;
    const other = crid === undefined ? undefined : containerd?.get(name)?.outcome;
    const where = crid === undefined ? "on containerd" : other === undefined ? "on crid" : other === "failed" ? "on both" : "ONLY on crid";
    if (other !== "failed") worse++;
    say(`\nfails ${where}: ${name}\n${reason.replaceAll(/^/gm, "    ")}`);
  }
  for (const { name, outcome } of containerd?.values() ?? [])
    if (outcome === "failed" && crid?.get(name)?.outcome === "passed") say(`\npasses on crid only: ${name}`);
  const passed = [...((crid ?? containerd)?.values() ?? [])].filter(({ outcome }) => outcome === "passed").length;
  say(`\n${passed} passed, ${worse} failed${all.size > 1 ? " (of those that containerd passes)" : ""}`);
  if (worse > 0 || passed === 0) process.exitCode = 1;
}

function natural(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) fail(`${option} is a number from 1, not ${text}`);
  return value;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function fail(message: string): never {
  process.stderr.write(`error: ${message}\n`);
  process.exit(2);
}
