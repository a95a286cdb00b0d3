import assert from "node:assert/strict";
import { test } from "node:test";
import { differences, judge } from "./compare.ts";
import { keyOf, leavesOf, parseSeries } from "./series.ts";

const id = "0123456789abcdef".repeat(4);

test("lines of the Prometheus text format", () => {
  const [plain, labelled, escaped] = parseSeries(`# HELP a b
a 1
b{id="/pod/${id}",pod="kube-proxy-x7k2p",empty="",x="y"} 1.5e+06 1700000000000
c{v="a\\"b\\\\c,d=\\"e\\""} NaN
`);
  assert.deepEqual(plain, { name: "a", labels: {}, value: 1 });
  assert.equal(keyOf(labelled ?? { name: "", labels: {}, value: 0 }), 'b{id="/pod/ID",pod="kube-proxy-*",x="y"}');
  assert.deepEqual([labelled?.value, escaped?.labels], [1_500_000, { v: 'a"b\\c,d="e"' }]);
});

test("leaves of a summary are found by the names of pods and containers", () => {
  const summary = { pods: [{ podRef: { name: "p", namespace: "n" }, containers: [{ name: "main", cpu: { usage: 1 } }] }], list: [7] };
  assert.deepEqual(
    [...leavesOf(summary).keys()],
    [
      "pods[n/p].podRef.name",
      "pods[n/p].podRef.namespace",
      "pods[n/p].containers[main].name",
      "pods[n/p].containers[main].cpu.usage",
      "list[0]",
    ],
  );
});

test("differences in presence, in zeros and in limits; reasons that explain nothing are told", () => {
  const found = differences(
    { cadvisor: "container_processes 1\nchance 1\nb 2\ncontainer_spec_x 5\nsame 1\n", resource: "", summary: '{"x":{"y":1}}' },
    { cadvisor: "container_processes 0\nchance 0\nd 3\ncontainer_spec_x 6\nsame 2\n", resource: "r 1\n", summary: '{"x":{}}' },
  );
  assert.deepEqual(found, [
    "added cadvisor d{} = 3",
    "added resource r{} = 1",
    "missing cadvisor b{} = 2",
    "missing summary x.y = 1",
    "value cadvisor container_processes{} = 1, 0",
    "value cadvisor container_spec_x{} = 5, 6",
  ]);
  const { byReason, unexplained, unused } = judge(found, [
    { difference: /^added/, reason: "more" },
    { difference: / b\{/, reason: "less" },
    { difference: /nothing/, reason: "none" },
  ]);
  assert.deepEqual([byReason.get("more")?.length, byReason.get("less")?.length, unexplained.length, unused], [2, 1, 3, ["none"]]);
});
