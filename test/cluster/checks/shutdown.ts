import assert from "node:assert/strict";
import type { Cluster } from "../cluster.ts";
import type { KubeObject } from "../kubectl.ts";
import type { ClusterNode } from "../node.ts";
import { nginx, pod, shell } from "../objects.ts";
import { alone, type Check } from "../runner.ts";
import { until } from "../shell.ts";

const bus = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>
`;
const configuration = "/var/lib/kubelet/config.yaml";

/** Starts a system bus with a stand-in for logind on a node, and the kubelet with grace periods: 8 s, of them 4 for critical pods. */
async function withShutdown(cluster: Cluster, node: ClusterNode, use: () => Promise<void>): Promise<void> {
  await node.write("/etc/dbus-test.conf", bus);
  await node.shell(`mkdir -p /run/dbus
    setsid dbus-daemon --config-file=/etc/dbus-test.conf --nofork --nopidfile </dev/null >/var/log/dbus.log 2>&1 & echo $! >/run/dbus/pid
    until [ -S /run/dbus/system_bus_socket ]; do sleep 0.05; done
    setsid logind </dev/null >/var/log/logind.log 2>&1 & echo $! >/run/dbus/logind.pid
    until grep -q up /var/log/logind.log; do sleep 0.05; done
    cp ${configuration} /root/kubelet.yaml
    sed -i '/^shutdownGracePeriod/d' ${configuration}
    printf 'shutdownGracePeriod: 8s\\nshutdownGracePeriodCriticalPods: 4s\\n' >>${configuration}`);
  await node.restartService("kubelet");
  try {
    await until("the kubelet's lock", 60_000, async () =>
      (await node.shell("cat /var/log/logind.log")).includes("lock delay shutdown of kubelet") ? true : undefined,
    );
    await cluster.ready();
    await use();
  } finally {
    await node.shell(`mv /root/kubelet.yaml ${configuration}`);
    await node.restartService("kubelet");
    await node.shell("kill $(cat /run/dbus/logind.pid) $(cat /run/dbus/pid); rm -r /run/dbus /etc/dbus-test.conf");
    await cluster.ready(180_000);
  }
}

/** Writes each signal with its time, and ends on the first; the file is the node's, as the pod's log goes with the pod. */
const witness = (name: string, more: Record<string, unknown> = {}): Record<string, unknown> =>
  shell(`for s in TERM QUIT USR1; do trap "echo $s ${name} \\$(date +%s) >>/shutdown/log; exit 0" $s; done; while :; do sleep 0.05; done`, {
    image: nginx,
    volumeMounts: [{ name: "v", mountPath: "/shutdown" }],
    ...more,
  });

/** A node that is about to shut down. */
export const shutdownChecks: readonly Check[] = [
  alone("a node shuts down: ordinary pods end before critical ones, each by its stop signal within its time", async (context) => {
    const { cluster, namespace, run } = context;
    const node = cluster.worker;
    const spec = (name: string, more: object, container: Record<string, unknown> = {}): object =>
      pod(name, {
        nodeName: node.name,
        os: { name: "linux" },
        restartPolicy: "Never",
        terminationGracePeriodSeconds: 30,
        containers: [witness(name, container)],
        volumes: [{ name: "v", hostPath: { path: "/var/tmp/shutdown", type: "DirectoryOrCreate" } }],
        ...more,
      });
    await node.run(["rm", "-rf", "/var/tmp/shutdown"]);
    await withShutdown(cluster, node, async () => {
      await run(
        spec("image", {}),
        spec("own", {}, { lifecycle: { stopSignal: "SIGUSR1" } }),
        spec("critical", { priorityClassName: "system-node-critical" }),
        pod("deaf", {
          nodeName: node.name,
          restartPolicy: "Never",
          terminationGracePeriodSeconds: 30,
          containers: [shell("trap '' TERM; while :; do sleep 1; done")],
        }),
      );
      const start = performance.now();
      await node.shell("kill -USR1 $(cat /run/dbus/logind.pid)");
      await until(
        "the kubelet to let go",
        60_000,
        async () => ((await node.shell("cat /var/log/logind.log")).includes("released by kubelet") ? true : undefined),
        () => node.log("kubelet"),
      );
      const seconds = (performance.now() - start) / 1000;
      assert.ok(seconds < 20, `the kubelet held the shutdown for ${seconds} s`);
      const lines = (await node.shell("cat /var/tmp/shutdown/log")).trim().split("\n");
      const seen = lines.map((line) => line.split(" ").slice(0, 2).join(" "));
      assert.deepEqual(new Set(seen), new Set(["QUIT image", "USR1 own", "QUIT critical"]));
      const at = (name: string): number => Number(lines.find((line) => line.includes(` ${name} `))?.split(" ")[2]);
      // The deaf one holds the ordinary ones' part to its end.
      for (const name of ["image", "own"]) assert.ok(at("critical") - at(name) >= 3, `${name} ${at("critical") - at(name)} s before`);
      await node.shell("kill -USR2 $(cat /run/dbus/logind.pid)");
      const over = (object: KubeObject): boolean => object.status?.phase === "Failed" || object.status?.phase === "Succeeded";
      for (const name of ["image", "own", "deaf", "critical"]) await cluster.kubectl.pod(name, namespace, "over", over, 60_000);
      assert.match((await cluster.kubectl.get("pod", "deaf", namespace)).status?.message ?? "", /shutdown/);
      assert.equal((await node.run(["crictl", "ps", "-q", "--namespace", namespace])).trim(), "");
    });
    await node.run(["rm", "-rf", "/var/tmp/shutdown"]);
    await cluster.kubectl.run(["delete", "pods", "--all", "-n", namespace]);
  }),
];
