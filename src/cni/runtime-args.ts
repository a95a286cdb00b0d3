import { isIP } from "node:net";
import { CridError } from "../base/errors.ts";
import { parseQuantity } from "../base/quantity.ts";
import type { DnsConfig, PortMapping } from "../records/pod-config.ts";

/** What the network setup needs to know of a pod. */
export interface CniPod {
  /** The sandbox id: CNI_CONTAINERID. */
  id: string;
  netnsPath: string;
  name: string;
  namespace: string;
  uid: string;
  portMappings: PortMapping[];
  /** Bits per second. Absent: taken from the annotations. */
  bandwidth?: Bandwidth;
  dns?: DnsConfig;
  annotations: Record<string, string>;
  labels: Record<string, string>;
  cgroupPath?: string;
}

export interface Bandwidth {
  ingress?: number;
  egress?: number;
}

/**
 * CNI_ARGS of a pod, in order: the keys that calico, multus, cilium and others read. IgnoreUnknown lets the plugins that don't
 * know them pass.
 *
 * @throws CridError invalid-argument when a value would break out of the `KEY=value;...` form.
 */
export function podArgs(pod: CniPod): [string, string][] {
  const args: [string, string][] = [
    ["IgnoreUnknown", "1"],
    ["K8S_POD_NAMESPACE", pod.namespace],
    ["K8S_POD_NAME", pod.name],
    ["K8S_POD_INFRA_CONTAINER_ID", pod.id],
    ["K8S_POD_UID", pod.uid],
  ];
  for (const [key, value] of args) {
    if (/[;\0\n]/.test(value))
      throw new CridError("invalid-argument", `pod ${pod.namespace}/${pod.name}: ${key} must not hold ";" or line breaks`);
  }
  return args;
}

/**
 * The capability arguments of a pod by capability name, for those in `wanted` (what the network's plugins declare). Shapes:
 * CNI CONVENTIONS.md, "Dynamic Plugin specific Fields"; the two in the CRI's own style are containerd's.
 */
export function podCapabilities(pod: CniPod, wanted: ReadonlySet<string>, podCidrs: readonly string[]): Record<string, unknown> {
  const mappings = pod.portMappings
    .filter((one) => one.hostPort > 0)
    .map((one) => ({ hostPort: one.hostPort, containerPort: one.containerPort, protocol: one.protocol, hostIP: one.hostIp }));
  const all: Record<string, unknown> = {
    portMappings: mappings.length === 0 ? undefined : mappings,
    bandwidth: wanted.has("bandwidth") ? bandwidthArgument(pod.bandwidth ?? annotatedBandwidth(pod.annotations)) : undefined,
    dns: pod.dns === undefined ? undefined : { servers: pod.dns.servers, searches: pod.dns.searches, options: pod.dns.options },
    ipRanges: podCidrs.length === 0 ? undefined : podCidrs.map((subnet) => [{ subnet }]),
    cgroupPath: pod.cgroupPath,
    "io.kubernetes.cri.pod-annotations": pod.annotations,
  };
  return Object.fromEntries(Object.entries(all).filter(([name, value]) => value !== undefined && wanted.has(name)));
}

// The bounds of k8s.io/kubernetes/pkg/util/bandwidth: below 1k or above 1P is taken for a mistake.
const minRate = 1_000n;
const maxRate = 1_000_000_000_000_000n;

/**
 * A pod's bandwidth from its annotations kubernetes.io/ingress-bandwidth and egress-bandwidth, in bits per second.
 *
 * @throws CridError invalid-argument naming the annotation.
 */
export function annotatedBandwidth(annotations: Record<string, string>): Bandwidth {
  const read = (name: string): number | undefined => {
    const text = annotations[name];
    if (text === undefined) return undefined;
    let rate: bigint;
    try {
      rate = parseQuantity(text);
    } catch (error) {
      throw CridError.from(error, `annotation ${name}`);
    }
    if (rate < minRate || rate > maxRate) {
      throw new CridError("invalid-argument", `annotation ${name}: ${text} is outside of 1k to 1P bits per second`);
    }
    return Number(rate);
  };
  const [ingress, egress] = [read("kubernetes.io/ingress-bandwidth"), read("kubernetes.io/egress-bandwidth")];
  return { ...(ingress === undefined ? {} : { ingress }), ...(egress === undefined ? {} : { egress }) };
}

/** The plugin wants a burst with each rate; the largest that it takes leaves the rate alone as the limit, as in the kubelet. */
function bandwidthArgument(limits: Bandwidth): Record<string, number> | undefined {
  const burst = 2 ** 32 - 1;
  if (limits.ingress === undefined && limits.egress === undefined) return undefined;
  return {
    ...(limits.ingress === undefined ? {} : { ingressRate: limits.ingress, ingressBurst: burst }),
    ...(limits.egress === undefined ? {} : { egressRate: limits.egress, egressBurst: burst }),
  };
}

/**
 * The pod CIDRs of UpdateRuntimeConfig: one, or one of each family with a comma between.
 *
 * @throws CridError invalid-argument.
 */
export function parsePodCidrs(text: string): string[] {
  const cidrs = text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
  for (const cidr of cidrs) {
    const [address = "", bits = "", ...rest] = cidr.split("/");
    const family = isIP(address);
    if (family === 0 || rest.length > 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > (family === 4 ? 32 : 128)) {
      throw new CridError("invalid-argument", `pod_cidr: ${JSON.stringify(cidr)} is not an address range such as 10.244.1.0/24`);
    }
  }
  return cidrs;
}
