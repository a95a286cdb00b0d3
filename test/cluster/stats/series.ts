/** One line of the Prometheus text format. */
export interface Series {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** Reads the Prometheus text format, without comments and time stamps. */
export function parseSeries(text: string): Series[] {
  return text.split("\n").flatMap((line) => {
    const match = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: -?\d+)?$/.exec(line);
    if (match === null) return [];
    const [, name = "", inBraces = "", value = ""] = match;
    const labels: Record<string, string> = {};
    for (const [, key = "", text = ""] of inBraces.matchAll(/([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g))
      labels[key] = text.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));
    return [{ name, labels, value: Number(value) }];
  });
}

/**
 * A label value or a name without what differs from one cluster to the next: ids of containers, uids of pods, the random ends of pods' names,
 * cgroups of the test.
 */
export function withoutChance(text: string): string {
  return text
    .replaceAll(/[0-9a-f]{64}/g, "ID")
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|pod[0-9a-f]{32}/g, "UID")
    .replaceAll(/crid-cluster-[0-9a-f]+/g, "CLUSTER")
    .replace(/^(coredns|metrics-server)-[a-z0-9]+-[a-z0-9]{5}$/, "$1-*")
    .replace(/^(kube-proxy|kube-api-access)-[a-z0-9]{5}$/, "$1-*");
}

/**
 * `name{key="value",...}` with the labels in order, without what is chance. Labels with an empty value are none: so says Prometheus. The pause's image is
 * a matter of configuration.
 */
export function keyOf({ name, labels }: Series): string {
  const pairs = Object.entries(labels)
    .filter(([, value]) => value !== "")
    .map(([key, value]) => `${key}="${key === "image" ? value.replace(/^(.*\/pause:.*|built-in)$/, "PAUSE") : withoutChance(value)}"`);
  return `${name}{${pairs.sort().join(",")}}`;
}

/** Every leaf of the kubelet's summary by its path, pods and containers by their names: `pods[ns/name].containers[main].cpu.usageNanoCores`. */
export function leavesOf(value: unknown, path = ""): Map<string, unknown> {
  const leaves = new Map<string, unknown>();
  const add = (child: unknown, at: string): void => {
    for (const [key, leaf] of leavesOf(child, at)) leaves.set(key, leaf);
  };
  if (Array.isArray(value)) for (const [index, item] of value.entries()) add(item, `${path}[${nameOf(item) ?? index}]`);
  else if (typeof value === "object" && value !== null)
    for (const [key, child] of Object.entries(value)) add(child, path === "" ? key : `${path}.${key}`);
  else leaves.set(path, value);
  return leaves;
}

function nameOf(item: unknown): string | undefined {
  if (typeof item !== "object" || item === null) return undefined;
  const { name, podRef } = item as { name?: string; podRef?: { name: string; namespace: string } };
  return podRef === undefined ? name && withoutChance(name) : `${podRef.namespace}/${withoutChance(podRef.name)}`;
}
