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
  assert.equal(value("container_cpu_usage_seconds_total"), 5n);
  assert.equal(value("container_network_transmit_bytes_total"), 11n);
  assert.equal(value("container_oom_events_total"), 1n);
  assert.equal(value("container_pressure_cpu_waiting_seconds_total"), 2n);
  assert.equal(value("container_fs_inodes_free"), 60n);
  assert.equal(metrics.find(({ name }) => name === "container_fs_usage_bytes")?.labelValues.at(-1), "/dev/vda");
  assert.equal(value("container_ulimits_soft"), 1024n);
});
