import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { metricDescriptors } from "../convert/pod-metrics.ts";
import { containerRecord, podStatus, request, testCall, testNode } from "../fixtures.ts";
import { listPodSandboxMetrics } from "./list-pod-sandbox-metrics.ts";

const { v1 } = runtime;

test("every metric has the labels of its descriptor", async () => {
  const node = testNode();
  node.pods.set("p1", podStatus("p1"));
  node.records.set("c1", containerRecord("c1"));
  const answer = await listPodSandboxMetrics(node)(request(v1.ListPodSandboxMetricsRequest, {}), testCall());
  const { podMetrics } = v1.ListPodSandboxMetricsResponse.decode(v1.ListPodSandboxMetricsResponse.encode(answer as object).finish());
  const [pod] = podMetrics;
  assert.equal(pod?.podSandboxId, "p1");
  const labels = new Map(metricDescriptors.map(({ name, labelKeys }) => [name, labelKeys?.length]));
  const metrics = [...(pod?.metrics ?? []), ...(pod?.containerMetrics[0]?.metrics ?? [])];
  for (const { name, labelValues } of metrics) assert.equal(labelValues.length, labels.get(name), name);
  const value = (name: string) => metrics.find((metric) => metric.name === name)?.value?.value;
  const of = (name: string) => metrics.filter((metric) => metric.name === name).map(({ labelValues }) => labelValues.join(" "));
  // The pod's cgroup, the pause, the container.
  assert.deepEqual(of("container_cpu_usage_seconds_total"), [
    " /kubepods/podu-1   shop web total",
    " /kubepods/podu-1/p1 built-in p1 shop web total",
    "main /kubepods/podu-1/c1 nginx:1 c1 shop web total",
  ]);
  assert.deepEqual(of("container_network_receive_errors_total"), [
    " /kubepods/podu-1/p1 built-in p1 shop web net1",
    " /kubepods/podu-1/p1 built-in p1 shop web eth0",
  ]);
  assert.equal(value("container_cpu_usage_seconds_total"), 5n);
  assert.equal(value("container_spec_cpu_quota"), 20_000n);
  assert.equal(value("container_network_transmit_bytes_total"), 11n);
  assert.equal(value("container_oom_events_total"), 1n);
  assert.equal(value("container_pressure_cpu_waiting_seconds_total"), 2n);
  assert.equal(value("container_fs_inodes_free"), 60n);
  assert.equal(metrics.find(({ name }) => name === "container_fs_usage_bytes")?.labelValues.at(-1), "/dev/vda");
  assert.equal(value("container_ulimits_soft"), 1024n);
});
