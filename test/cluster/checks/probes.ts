import assert from "node:assert/strict";
import { isReady, statusOf } from "../kubectl.ts";
import { agnhost, idle, pod, shell } from "../objects.ts";
import { type Check, together } from "../runner.ts";
import { pause } from "../shell.ts";

const quick = { periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 1 };
const net = (more: object): object => ({ name: "main", image: agnhost, args: ["netexec"], ...more });

/** Probes of every kind. */
export const probeChecks: readonly Check[] = [
  together("readiness: http, tcp, exec and gRPC probes", async ({ run }) => {
    await run(
      pod("http", { containers: [net({ readinessProbe: { httpGet: { path: "/healthz", port: 8080 }, ...quick } })] }),
      pod("tcp", { containers: [net({ readinessProbe: { tcpSocket: { port: 8080 }, ...quick } })] }),
      pod("exec", { containers: [idle({ readinessProbe: { exec: { command: ["true"] }, ...quick } })] }),
      pod("grpc", {
        containers: [{ name: "main", image: agnhost, args: ["grpc-health-checking"], readinessProbe: { grpc: { port: 5000 }, ...quick } }],
      }),
    );
  }),

  together("readiness comes and goes with the probe", async ({ cluster, namespace, run }) => {
    await run(
      pod("p", {
        containers: [shell("touch /tmp/ok; exec sleep 1000", { readinessProbe: { exec: { command: ["cat", "/tmp/ok"] }, ...quick } })],
      }),
    );
    await cluster.kubectl.exec("p", namespace, ["rm", "/tmp/ok"]);
    await cluster.kubectl.pod("p", namespace, "not Ready", (object) => !isReady(object), 20_000);
    await cluster.kubectl.exec("p", namespace, ["touch", "/tmp/ok"]);
    await cluster.kubectl.ready("p", namespace, 20_000);
  }),

  together("liveness: a failing exec probe restarts the container, a slow one times out", async ({ cluster, namespace, create }) => {
    const probe = (command: string[]): Record<string, unknown> => ({
      livenessProbe: { exec: { command }, initialDelaySeconds: 1, ...quick },
    });
    await create(pod("fails", { containers: [idle(probe(["false"]))] }), pod("slow", { containers: [idle(probe(["sleep", "30"]))] }));
    for (const name of ["fails", "slow"])
      await cluster.kubectl.pod(
        name,
        namespace,
        "restarted",
        (object) => (object.status?.containerStatuses?.[0]?.restartCount ?? 0) > 0,
        60_000,
      );
    const events = await cluster.kubectl.events("slow", namespace);
    const unhealthy = events.find(({ reason }) => reason === "Unhealthy");
    assert.match(unhealthy?.message ?? "", /timed out|timeout|deadline/i);
  }),

  together("startup: liveness waits for it", async ({ cluster, namespace, run }) => {
    const startupProbe = { exec: { command: ["cat", "/tmp/up"] }, periodSeconds: 1, failureThreshold: 30 };
    const livenessProbe = { exec: { command: ["cat", "/tmp/up"] }, ...quick };
    const [object] = await run(
      pod("p", { containers: [shell("sleep 4; touch /tmp/up; exec sleep 1000", { startupProbe, livenessProbe })] }),
    );
    await pause(2000);
    assert.ok(object !== undefined);
    assert.equal(statusOf(await cluster.kubectl.get("pod", "p", namespace)).restartCount, 0);
  }),
];
