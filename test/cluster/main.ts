// A Kubernetes cluster on crid (or, for comparison, containerd): kubeadm init and join, then a matrix of checks. See hack/cluster.

import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { checks } from "./checks/all.ts";
import { Cluster } from "./cluster.ts";
import { compare, reportFigures } from "./compare.ts";
import { runChecks } from "./runner.ts";
import type { RuntimeName } from "./runtimes.ts";
import { takeDown } from "./state.ts";

const { values } = parseArgs({
  options: {
    runtime: { type: "string", default: "crid" },
    nodes: { type: "string", default: "2" },
    /** Only the checks whose name this matches. */
    only: { type: "string" },
    /** How many checks at a time. */
    width: { type: "string", default: "4" },
    /** Leaves the cluster running and prints its KUBECONFIG. */
    keep: { type: "boolean", default: false },
    /** Writes timings and outcomes. */
    json: { type: "string" },
    list: { type: "boolean", default: false },
    /** Measures crid against containerd instead. */
    compare: { type: "boolean", default: false },
    /** Clusters of each runtime with --compare. */
    rounds: { type: "string", default: "3" },
    /** Seconds of steady state with --compare. */
    steady: { type: "string", default: "600" },
    /** Ends the cluster that an earlier run kept. */
    down: { type: "string" },
  },
});
if (values.runtime !== "crid" && values.runtime !== "containerd") fail(`--runtime is crid or containerd, not ${values.runtime}`);
const runtime: RuntimeName = values.runtime;
const nodes = natural("--nodes", values.nodes);
if (nodes > 2) fail("--nodes is 1 or 2");
const only = new RegExp(values.only ?? "", "i");
const chosen = checks.filter((check) => only.test(check.name));
if (values.list) {
  for (const check of chosen) say(check.name);
  process.exit(0);
}

if (values.down !== undefined) {
  for (const path of await takeDown(values.down)) say(`left behind: ${path}`);
  process.exit(0);
}

let interrupted = false;
let cluster: Cluster | undefined;
/** Of a comparison. */
const running = new Set<Cluster>();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    interrupted = true;
    say(`${signal}: taking everything down`);
    void Promise.all([cluster, ...running].map((each) => each?.down())).finally(() => process.exit(130));
  });
}

if (values.compare) {
  const [rounds, steadySeconds] = [Number(values.rounds), Number(values.steady)];
  if (!(rounds >= 0 && steadySeconds >= 0)) fail("--rounds and --steady are numbers");
  const start = performance.now();
  const figures = await compare({ rounds, steadySeconds, say, running });
  if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(figures, null, 2));
  const beyond = reportFigures(figures, say);
  say(`${figures.length} figures, ${beyond} beyond their limit (${Math.round((performance.now() - start) / 1000)} s)`);
  process.exit(beyond > 0 ? 1 : 0);
}

const started = performance.now();
try {
  await test();
} catch (error) {
  if (!interrupted) {
    say(`FAIL  ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
    if (values.keep && cluster !== undefined) await leave(cluster);
    else if (cluster !== undefined) {
      say(`logs: ${await cluster.saveLogs().catch(String)}`);
      await cluster.down();
    }
  }
}

// A cluster that stays holds open pipes of this process.
process.exit();

async function test(): Promise<void> {
  say(`cluster: ${nodes} nodes on ${runtime}`);
  cluster = await Cluster.boot({ runtime, nodes, say });
  await cluster.up();
  await cluster.metricsServer();
  const outcomes = await runChecks(cluster, chosen, natural("--width", values.width), say);
  const failed = outcomes.filter(({ failure }) => failure !== undefined);
  const skipped = outcomes.filter(({ skipped: reason }) => reason !== undefined);
  if (values.json !== undefined)
    writeFileSync(values.json, JSON.stringify({ runtime, nodes, timings: cluster.timings, outcomes }, null, 2));
  if (values.keep) {
    await leave(cluster);
  } else {
    if (failed.length > 0) say(`logs of the nodes and the failures in full: ${await cluster.saveLogs()}`);
    const left = await cluster.down();
    for (const path of left) say(`left behind: ${path}`);
    if (left.length > 0) process.exitCode = 1;
  }
  const seconds = Math.round((performance.now() - started) / 1000);
  for (const { name, failure } of failed) say(`\nFAIL  ${name}\n${failure}`);
  say(
    `\n${outcomes.length - failed.length - skipped.length} passed, ${failed.length} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ""} (${seconds} s)`,
  );
  if (failed.length > 0) process.exitCode = 1;
}

async function leave(running: Cluster): Promise<void> {
  await running.keep();
  say(`the cluster stays: export KUBECONFIG=${running.kubectl.kubeconfig}`);
  say(`a shell on a node: nsenter -t ${running.control.pid} -a    (its files lie in ${running.directory})`);
  say(`its end: hack/cluster --down ${running.directory}`);
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
