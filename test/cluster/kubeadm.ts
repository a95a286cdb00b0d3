import type { ClusterNode } from "./node.ts";

export const podNetwork = "10.244.0.0/16";
export const token = "abcdef.0123456789abcdef";
export const kubernetesVersion = "v1.37.2";

/** What this kind of machine needs of a kubelet that others don't: cgroup v1, which 1.37 refuses unless it is told; a cgroup of its own. */
const ignored = ["SystemVerification"];

export interface KubeletOptions {
  featureGates?: Record<string, boolean>;
}

function registration(node: ClusterNode, socket: string): object {
  return {
    criSocket: `unix://${socket}`,
    name: node.name,
    taints: [],
    ignorePreflightErrors: ignored,
    imagePullPolicy: "IfNotPresent",
    kubeletExtraArgs: [
      { name: "node-ip", value: node.address },
      { name: "cgroup-root", value: node.cgroup },
    ],
  };
}

/** The configuration for `kubeadm init`: default image repository and names, one control plane without taints. */
export function initConfiguration(node: ClusterNode, socket: string, options: KubeletOptions = {}): string {
  const documents: object[] = [
    {
      apiVersion: "kubeadm.k8s.io/v1beta4",
      kind: "InitConfiguration",
      bootstrapTokens: [
        { token, ttl: "24h0m0s", usages: ["signing", "authentication"], groups: ["system:bootstrappers:kubeadm:default-node-token"] },
      ],
      localAPIEndpoint: { advertiseAddress: node.address, bindPort: 6443 },
      nodeRegistration: registration(node, socket),
    },
    {
      apiVersion: "kubeadm.k8s.io/v1beta4",
      kind: "ClusterConfiguration",
      kubernetesVersion,
      networking: { podSubnet: podNetwork, serviceSubnet: "10.96.0.0/16" },
    },
    {
      apiVersion: "kubelet.config.k8s.io/v1beta1",
      kind: "KubeletConfiguration",
      failCgroupV1: false,
      // Small and checked often, so that a test of log rotation does not take long.
      containerLogMaxSize: "1Mi",
      containerLogMonitorInterval: "3s",
      imageMinimumGCAge: "0s",
      evictionPressureTransitionPeriod: "10s",
      featureGates: options.featureGates ?? {},
    },
    {
      apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
      kind: "KubeProxyConfiguration",
      mode: "nftables",
      // These sysctls belong to the first network namespace alone.
      conntrack: { maxPerCore: 0, min: 0, tcpCloseWaitTimeout: "0s", tcpEstablishedTimeout: "0s" },
    },
  ];
  return documents.map((document) => JSON.stringify(document, null, 2)).join("\n---\n");
}

export function joinConfiguration(node: ClusterNode, socket: string, controlPlane: ClusterNode): string {
  return JSON.stringify(
    {
      apiVersion: "kubeadm.k8s.io/v1beta4",
      kind: "JoinConfiguration",
      discovery: { bootstrapToken: { token, apiServerEndpoint: `${controlPlane.address}:6443`, unsafeSkipCAVerification: true } },
      nodeRegistration: registration(node, socket),
    },
    null,
    2,
  );
}

/** The node's share of the pod network: what a network plugin writes. The bridge is the pods' gateway; other nodes are reached by routes. */
export function conflist(podCidr: string): string {
  return JSON.stringify(
    {
      cniVersion: "1.0.0",
      name: "podnet",
      plugins: [
        {
          type: "bridge",
          bridge: "cni0",
          isGateway: true,
          hairpinMode: true,
          ipam: { type: "host-local", ranges: [[{ subnet: podCidr }]], routes: [{ dst: "0.0.0.0/0" }] },
        },
        { type: "portmap", capabilities: { portMappings: true }, snat: true },
      ],
    },
    null,
    2,
  );
}
