import type { Explained } from "./compare.ts";

/** Pods on the node's network: the test's own, and those of the control plane. */
const onHost = 'pod="(host|etcd-node1|kube-[^"]*)"';
const onHostInSummary = String.raw`pods\[(stats/host|kube-system/(etcd-node1|kube-[^\]]*))\]`;

/** Every reason is a paragraph of docs/stats.md. */
export const explained: readonly Explained[] = [
  {
    difference: /^missing cadvisor (?!.*pod=").*(id="|cadvisor_version_info|container_scrape_error)/,
    reason: "with the gate the kubelet tells of pods alone, not of other cgroups and of the node's disks",
  },
  {
    difference: new RegExp(`^missing (cadvisor container_network_.*${onHost}|summary ${onHostInSummary}\\.network\\.)`),
    reason: "the node's traffic is not counted as that of each pod on the node's network",
  },
  {
    difference: /^missing summary pods\[.*\]\.network\.interfaces\[eth0\]/,
    reason: "the CRI tells of the default interface apart from the others; its numbers are in network itself",
  },
  { difference: /^missing summary pods\[.*\]\.swap\./, reason: "the CRI has no swap of a pod; containers and /metrics/resource have it" },
  { difference: /^missing cadvisor container_health_state/, reason: "always -1, which the CRI's numbers cannot say" },
  {
    difference: /^value cadvisor container_cpu_(usage|user|system)_seconds_total/,
    reason: "the CRI's metrics are whole numbers: seconds of CPU without a fraction",
  },
  { difference: /^added cadvisor container_pressure_/, reason: "pressure is told on a hybrid of cgroup v1 and v2 as well" },
  {
    difference: /^added cadvisor container_fs_/,
    reason: "what a container has written is told, which cAdvisor does not count for containerd",
  },
  {
    difference: /^(added|value) resource container_swap_limit_bytes|^value summary .*\.swap\.swapAvailableBytes/,
    reason: "swap that may be used is 0 where it is, also on cgroup v1, and told of every container",
  },
];
