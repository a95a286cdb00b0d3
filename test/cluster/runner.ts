import { appendFileSync } from "node:fs";
import { join } from "node:path";
import type { Cluster } from "./cluster.ts";
import { isReady, type KubeObject } from "./kubectl.ts";

/** What a check gets: the cluster and a Kubernetes namespace of its own, which ends with it. */
export interface CheckContext {
  cluster: Cluster;
  namespace: string;
  /** Applies objects in the namespace of the check. */
  create(...objects: object[]): Promise<void>;
  /** Applies pods (or other objects) in the namespace of the check and waits until the pods among them are Ready. */
  run(...objects: object[]): Promise<KubeObject[]>;
}

export interface Check {
  /** One line, in the words of who relies on it. */
  name: string;
  /** At the same time as others; the ones that harm a node or measure run alone, after all of these. */
  together: boolean;
  /** Skipped with this reason when it gives one. */
  skip?: (cluster: Cluster) => string | undefined;
  run(context: CheckContext): Promise<void>;
}

export interface Outcome {
  name: string;
  seconds: number;
  failure?: string;
  skipped?: string;
}

/** Declares a check that runs beside others. */
export function together(name: string, run: Check["run"], skip?: Check["skip"]): Check {
  return { name, together: true, run, ...(skip === undefined ? {} : { skip }) };
}

/** Declares a check that needs the cluster for itself. */
export function alone(name: string, run: Check["run"], skip?: Check["skip"]): Check {
  return { name, together: false, run, ...(skip === undefined ? {} : { skip }) };
}

/** Runs the checks: those that can, `width` at a time, then the others one after the other. One line for each as it ends. */
export async function runChecks(
  cluster: Cluster,
  checks: readonly Check[],
  width: number,
  say: (line: string) => void,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  let serial = 0;
  const one = async (check: Check): Promise<void> => {
    const outcome = await runCheck(cluster, check, `check-${++serial}`);
    outcomes.push(outcome);
    const time = `${outcome.seconds.toFixed(1)} s`;
    if (outcome.skipped !== undefined) say(`skip  ${check.name} (${outcome.skipped})`);
    else if (outcome.failure === undefined) say(`ok    ${check.name} (${time})`);
    else say(`FAIL  ${check.name} (${time}): ${outcome.failure.split("\n")[0]}`);
  };
  const queue = checks.filter((check) => check.together);
  const worker = async (): Promise<void> => {
    for (let check = queue.shift(); check !== undefined; check = queue.shift()) await one(check);
  };
  await Promise.all(Array.from({ length: width }, worker));
  for (const check of checks.filter((each) => !each.together)) await one(check);
  return outcomes;
}

async function runCheck(cluster: Cluster, check: Check, namespace: string): Promise<Outcome> {
  const { name } = check;
  const skipped = check.skip?.(cluster);
  if (skipped !== undefined) return { name, seconds: 0, skipped };
  const start = performance.now();
  const { kubectl } = cluster;
  let failure: string | undefined;
  try {
    await kubectl.run(["create", "namespace", namespace]);
    // Pods are refused before a controller has made the namespace's account.
    await kubectl.run(["wait", "--for=create", "serviceaccount/default", "-n", namespace, "--timeout=30s"]);
    await check.run({
      cluster,
      namespace,
      create: async (...objects) => void (await applyIn(cluster, namespace, objects)),
      run: (...objects) => applyAndWait(cluster, namespace, objects),
    });
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
    await report(cluster, check, namespace, error);
  }
  const seconds = (performance.now() - start) / 1000;
  await kubectl.try(["delete", "namespace", namespace, "--wait=false"]);
  return failure === undefined ? { name, seconds } : { name, seconds, failure };
}

async function applyIn(cluster: Cluster, namespace: string, objects: readonly object[]): Promise<KubeObject[]> {
  const placed = objects.map((object) => {
    const { metadata } = object as { metadata: object };
    return { ...object, metadata: { namespace, ...metadata } };
  });
  await cluster.kubectl.apply(...placed);
  return placed as unknown as KubeObject[];
}

async function applyAndWait(cluster: Cluster, namespace: string, objects: readonly object[]): Promise<KubeObject[]> {
  const pods = (await applyIn(cluster, namespace, objects)).filter((object) => object.kind === "Pod");
  return Promise.all(pods.map((pod) => cluster.kubectl.pod(pod.metadata.name, namespace, "Ready", isReady, 90_000)));
}

/** Keeps what explains a failure: the pods, the events, the ends of the runtimes' logs. */
async function report(cluster: Cluster, check: Check, namespace: string, error: unknown): Promise<void> {
  const file = join(cluster.directory, "failures.log");
  const { kubectl } = cluster;
  const describe = await kubectl.try(["describe", "pods", "-n", namespace]);
  const events = await kubectl.try(["get", "events", "-n", namespace, "--sort-by=.lastTimestamp"]);
  const logs = await Promise.all(
    cluster.nodes.map(
      async (node) =>
        `--- ${node.name} runtime\n${await node.log(cluster.runtime, 60)}\n--- ${node.name} kubelet\n${await node.log("kubelet", 30)}`,
    ),
  );
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  appendFileSync(file, `\n=== ${check.name}\n${text}\n--- pods\n${describe.stdout}\n--- events\n${events.stdout}\n${logs.join("\n")}\n`);
}
