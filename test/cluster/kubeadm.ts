import { loadAll } from "js-yaml";
import type { ClusterNode } from "./node.ts";

export const podNetwork = "10.244.0.0/16";
export const token = "abcdef.0123456789abcdef";
export const kubernetesVersion = "v1.37.2";

/** What this kind of machine needs of a kubelet that others don't: cgroup v1, which 1.37 refuses unless it is told; a cgroup of its own. */
const ignored = ["SystemVerification"];

/** Off by default, and used by checks. */
const featureGates = { ContainerStopSignals: true };

const gatesFlag = (gates: Record<string, boolean>): string =>
  Object.entries(gates)
    .map(([name, on]) => `${name}=${on}`)
    .join();

export interface KubeletOptions {
  featureGates?: Record<string, boolean>;
}

function registration(node: ClusterNode, socket: string): Document {
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

/** The configurations that a release of crid brings, in place. */
export const shipped = { init: "/usr/share/crid/kubeadm/init.yaml", join: "/usr/share/crid/kubeadm/join.yaml" };

type Document = Record<string, unknown>;

const isDocument = (value: unknown): value is Document => typeof value === "object" && value !== null && !Array.isArray(value);

/** `more` over `base`, key by key. */
function merged(base: Document, more: Document): Document {
  const result = { ...base };
  for (const [key, value] of Object.entries(more)) {
    const old = result[key];
    result[key] = isDocument(old) && isDocument(value) ? merged(old, value) : value;
  }
  return result;
}

/** What this place needs, over the documents of the same kind of a file that a release brings ("" for none). */
function over(text: string, documents: readonly Document[]): string {
  const rest = [...documents];
  const all = (text === "" ? [] : (loadAll(text) as Document[])).map((base) => {
    const index = rest.findIndex((document) => document.kind === base.kind);
    return index < 0 ? base : merged(base, rest.splice(index, 1)[0] ?? {});
  });
  return [...all, ...rest].map((document) => JSON.stringify(document, null, 2)).join("\n---\n");
}

/** The configuration for `kubeadm init`: default image repository and names, one control plane without taints. */
export function initConfiguration(node: ClusterNode, socket: string, base: string, options: KubeletOptions = {}): string {
  const documents: Document[] = [
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
      apiServer: { extraArgs: [{ name: "feature-gates", value: gatesFlag(featureGates) }] },
      networking: { podSubnet: podNetwork, serviceSubnet: "10.96.0.0/16" },
    },
    {
      apiVersion: "kubelet.config.k8s.io/v1beta1",
      kind: "KubeletConfiguration",
      failCgroupV1: false,
      // Small and checked often, so that a test of log rotation does not take long.
      containerLogMaxSize: "1Mi",
      containerLogMonitorInterval: "3s",
      // Zero means the default, two minutes.
      imageMinimumGCAge: "1s",
      evictionPressureTransitionPeriod: "10s",
      featureGates: { ...featureGates, ...options.featureGates },
    },
    {
      apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
      kind: "KubeProxyConfiguration",
      mode: "nftables",
      // These sysctls belong to the first network namespace alone.
      conntrack: { maxPerCore: 0, min: 0, tcpCloseWaitTimeout: "0s", tcpEstablishedTimeout: "0s" },
    },
  ];
  return over(base, documents);
}

export function joinConfiguration(node: ClusterNode, socket: string, base: string, controlPlane: ClusterNode, caHash: string): string {
  return over(base, [
    {
      apiVersion: "kubeadm.k8s.io/v1beta4",
      kind: "JoinConfiguration",
      discovery: { bootstrapToken: { token, apiServerEndpoint: `${controlPlane.address}:6443`, caCertHashes: [caHash] } },
      nodeRegistration: registration(node, socket),
    },
  ]);
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
