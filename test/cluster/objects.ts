export const busybox = "registry.k8s.io/e2e-test-images/busybox:1.29-2";
export const nginx = "registry.k8s.io/e2e-test-images/nginx:1.14-2";
export const agnhost = "registry.k8s.io/e2e-test-images/agnhost:2.66.1";

/** A container named "main" of busybox that runs a shell script; `more` is merged over it. */
export function shell(script: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return { name: "main", image: busybox, imagePullPolicy: "IfNotPresent", command: ["sh", "-c", script], ...more };
}

/** A container that does nothing until it is told to end, at which it ends at once. */
export function idle(more: Record<string, unknown> = {}): Record<string, unknown> {
  return shell("trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done", more);
}

/** A pod; a spec without containers gets an idle one. */
export function pod(name: string, spec: Record<string, unknown> = {}, metadata: Record<string, unknown> = {}): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels: { app: name }, ...metadata },
    spec: { containers: [idle()], terminationGracePeriodSeconds: 5, enableServiceLinks: false, ...spec },
  };
}

/** A pod whose one container runs a script to its end, once. */
export function job(name: string, script: string, spec: Record<string, unknown> = {}, container: Record<string, unknown> = {}): object {
  return pod(name, { restartPolicy: "Never", containers: [shell(script, container)], ...spec });
}

export function configMap(name: string, data: Record<string, string>): object {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data };
}

export function deployment(name: string, replicas: number, spec: Record<string, unknown>): object {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { terminationGracePeriodSeconds: 3, enableServiceLinks: false, ...spec } },
    },
  };
}

export function service(name: string, port: number, targetPort: number, type = "ClusterIP"): object {
  return { apiVersion: "v1", kind: "Service", metadata: { name }, spec: { type, selector: { app: name }, ports: [{ port, targetPort }] } };
}
