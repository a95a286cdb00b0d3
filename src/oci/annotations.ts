import type { PodConfig } from "../records/pod-config.ts";

/**
 * Annotations of a spec in the names that containerd gave them: the shim groups by `sandbox-id`; sandboxed runtimes (kata, gVisor) tell pod and
 * container apart by `container-type`; NRI and monitoring tools read the rest.
 */
export function podAnnotations(
  id: string,
  pod: PodConfig,
  imageName: string,
  passed: Readonly<Record<string, string>>,
): Record<string, string> {
  const resources = pod.resources;
  return {
    ...passed,
    ...common(id, pod),
    "io.kubernetes.cri.container-type": "sandbox",
    "io.kubernetes.cri.sandbox-log-directory": pod.logDirectory,
    "io.kubernetes.cri.podsandbox.image-name": imageName,
    ...(resources !== undefined && {
      "io.kubernetes.cri.sandbox-cpu-period": String(resources.cpuPeriod),
      "io.kubernetes.cri.sandbox-cpu-quota": String(resources.cpuQuota),
      "io.kubernetes.cri.sandbox-cpu-shares": String(resources.cpuShares),
      "io.kubernetes.cri.sandbox-memory": String(resources.memoryLimitBytes),
    }),
  };
}

export function containerAnnotations(
  podId: string,
  pod: PodConfig,
  container: { name: string; imageName: string },
  passed: Readonly<Record<string, string>>,
): Record<string, string> {
  return {
    ...passed,
    ...common(podId, pod),
    "io.kubernetes.cri.container-type": "container",
    "io.kubernetes.cri.container-name": container.name,
    "io.kubernetes.cri.image-name": container.imageName,
  };
}

/**
 * The annotations whose names match one of the patterns: what a runtime handler passes on. In a pattern, `*` stands for anything and `?` for one
 * character but `/`, `[a-z]` for one of these, `\\` takes the next one as it is: Go's path.Match, as containerd's `pod_annotations` have it.
 */
export function passedOn(annotations: Readonly<Record<string, string>>, patterns: readonly string[]): Record<string, string> {
  const rules = patterns.flatMap((pattern) => ruleOf(pattern) ?? []);
  return Object.fromEntries(Object.entries(annotations).filter(([name]) => rules.some((rule) => rule.test(name))));
}

/** undefined for one that is not well-formed: it matches nothing. */
function ruleOf(pattern: string): RegExp | undefined {
  let source = "";
  for (const [part, escaped, not, set] of pattern.matchAll(/\\(.)|\[(\^?)((?:\\.|[^\]\\])+)\]|./gsu)) {
    if (escaped !== undefined) source += literal(escaped);
    else if (set !== undefined) source += `[${not}${set.replaceAll(/[[&~|^/(){}]/g, "\\$&")}]`;
    else if (part === "[" || part === "\\") return undefined;
    else source += part === "*" ? "[^/]*" : part === "?" ? "[^/]" : literal(part);
  }
  try {
    return new RegExp(`^${source}$`, "su");
  } catch {
    return undefined;
  }
}

function literal(char: string): string {
  return `\\u{${char.codePointAt(0)?.toString(16)}}`;
}

function common(podId: string, pod: PodConfig): Record<string, string> {
  return {
    "io.kubernetes.cri.sandbox-id": podId,
    "io.kubernetes.cri.sandbox-name": pod.name,
    "io.kubernetes.cri.sandbox-namespace": pod.namespace,
    "io.kubernetes.cri.sandbox-uid": pod.uid,
  };
}
