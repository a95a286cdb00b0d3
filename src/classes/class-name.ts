/** A resource class that annotations ask for: kubernetes/annotations.go of github.com/intel/goresctrl has their names and order. */
export interface ClassRequest {
  container: string;
  containerAnnotations: Readonly<Record<string, string>>;
  podAnnotations: Readonly<Record<string, string>>;
}

/**
 * The class that a container is to be in; "" = none. The container's own annotation comes before the pod's for that container, and that before
 * the pod's for all of its containers.
 */
export function classFromAnnotations(kind: "blockio" | "rdt", request: ClassRequest): string {
  const { container, containerAnnotations, podAnnotations } = request;
  return (
    own(containerAnnotations, `io.kubernetes.cri.${kind}-class`) ??
    own(podAnnotations, `${kind}.resources.beta.kubernetes.io/container.${container}`) ??
    own(podAnnotations, `${kind}.resources.beta.kubernetes.io/pod`) ??
    ""
  );
}

const own = (record: Readonly<Record<string, string>>, key: string): string | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined;
