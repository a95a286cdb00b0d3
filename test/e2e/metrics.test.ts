import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { FeatureBed } from "./support/features.ts";
import { TestNode } from "./support/node.ts";
import { busybox } from "./support/pods.ts";

interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** The text format of Prometheus, version 0.0.4. */
function parse(text: string): Sample[] {
  return [...text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)].map(([, name = "", labels = "", value = ""]) => ({
    name,
    labels: Object.fromEntries([...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = "", text = ""]) => [key, text])),
    value: Number(value),
  }));
}

test("Prometheus: a pod's life is counted right, by labels that do not grow with it", async () => {
  const address = "127.0.0.1:18339";
  const node = new TestNode({ config: { metrics: { address } } });
  await node.start();
  const scrape = async (): Promise<Sample[]> => parse(await (await fetch(`http://${address}/metrics`)).text());
  try {
    await node.crictl("pull", busybox);
    const bed = new FeatureBed(node);
    const pods = [await bed.pod(), await bed.pod()];
    for (const pod of pods) {
      const containerId = await bed.start(pod, {});
      await bed.exec(containerId, "true");
      const bad = await bed.create(pod, { container: { command: ["/no/such/program"] } });
      await assert.rejects(bed.cri.startContainer({ containerId: bad }));
      await bed.create(pod, {});
    }
    await assert.rejects(
      bed.cri.stopContainer({ containerId: "none-such", timeout: 0n }).then(() => bed.cri.containerStatus({ containerId: "none-such" })),
    );
    let samples = await scrape();
    const value = (name: string, labels: Record<string, string> = {}): number | undefined =>
      samples.find((one) => one.name === name && Object.entries(labels).every(([key, text]) => one.labels[key] === text))?.value;
    const calls = (method: string, code = "OK"): number => value("crid_rpc_duration_seconds_count", { method, code }) ?? 0;

    assert.deepEqual(
      [calls("RunPodSandbox"), calls("CreateContainer"), calls("StartContainer"), calls("ExecSync"), calls("PullImage")],
      [2, 6, 2, 2, 1],
    );
    assert.deepEqual([calls("StartContainer", "InvalidArgument"), calls("ContainerStatus", "NotFound")], [2, 1]);
    const plugin = (command: string, name: string) =>
      value("crid_cni_operation_duration_seconds_count", { command, plugin: name, network: "e2e-1", result: "ok" });
    assert.deepEqual([plugin("ADD", "bridge"), plugin("ADD", "portmap"), plugin("DEL", "bridge")], [2, 2, undefined]);
    assert.deepEqual([value("crid_pods", { state: "ready" }), value("crid_images"), value("crid_cni_retries")], [2, 1, 0]);
    const states = ["created", "running", "exited", "unknown"];
    assert.deepEqual(
      states.map((state) => value("crid_containers", { state })),
      [2, 2, 2, 0],
    );
    assert.equal(value("crid_image_pull_duration_seconds_count", { result: "ok" }), 1);
    assert.ok((value("crid_image_pulled_bytes_total") ?? 0) > 500_000);
    for (const stage of ["resolve", "download", "write"])
      assert.ok((value("crid_image_pull_stage_seconds_total", { stage }) ?? 0) > 0, stage);
    assert.deepEqual([value("crid_image_resumed_bytes_total"), value("crid_image_cached_blobs_total")], [0, 0]);
    assert.equal(value("crid_step_duration_seconds_count", { operation: "run-pod-sandbox", step: "start shim" }), 2);
    assert.equal(value("crid_event_subscribers_dropped_total"), 0);
    const series = samples.length;

    for (const pod of pods) {
      await bed.cri.stopPodSandbox({ podSandboxId: pod.id });
      await bed.cri.removePodSandbox({ podSandboxId: pod.id });
    }
    bed[Symbol.dispose]();
    samples = await scrape();
    assert.deepEqual([calls("StopPodSandbox"), calls("RemovePodSandbox"), plugin("DEL", "bridge")], [2, 2, 2]);
    assert.ok(["ready", "not-ready"].every((state) => (value("crid_pods", { state }) ?? 0) === 0));
    assert.deepEqual(
      states.map((state) => value("crid_containers", { state })),
      [0, 0, 0, 0],
    );
    assert.ok(samples.length < series + 200, "new methods and steps, and no more");

    // The labels are those of docs/metrics.md (its names are checked by hack/docs.test.ts), and none of their values is of a pod.
    const rows = readFileSync(join(import.meta.dirname, "../../docs/metrics.md"), "utf8").matchAll(
      /^\| `(crid_\w+)` \| (\w+) \|([^|]*)\|/gm,
    );
    const documented = new Map(
      [...rows].map(([, name = "", , labels = ""]) => [name, [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label).sort()]),
    );
    const unmentionable = new RegExp(
      [...pods.flatMap(({ id, config }) => [id.slice(0, 12), config.metadata?.name ?? id]), "busybox", node.directory].join("|"),
    );
    for (const { name, labels } of samples.filter((one) => !/^crid_(process|nodejs)_/.test(one.name))) {
      const base = name.replace(/_(bucket|count|sum)$/, "");
      assert.deepEqual(
        Object.keys(labels)
          .filter((label) => label !== "le")
          .sort(),
        documented.get(base),
        name,
      );
      for (const text of Object.values(labels)) assert.doesNotMatch(text, unmentionable, name);
    }
  } finally {
    await node.close();
  }
});
