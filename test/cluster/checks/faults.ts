import assert from "node:assert/strict";
import type { Cluster } from "../cluster.ts";
import { agnhost, idle, pod } from "../objects.ts";
import { alone, type Check, type CheckContext } from "../runner.ts";
import { until } from "../shell.ts";

const conflist = "/etc/cni/net.d/10-podnet.conflist";

type Change = (cluster: Cluster) => Promise<void>;

/** Waits for an event of the pod that says what is wrong. */
async function complaint({ cluster, namespace }: CheckContext, name: string, says: RegExp): Promise<void> {
  const { kubectl } = cluster;
  await until(
    `an event of ${name} with ${says}`,
    60_000,
    async () => ((await kubectl.events(name, namespace)).some(({ message }) => says.test(message)) ? true : undefined),
    async () => (await kubectl.events(name, namespace)).map(({ message }) => message).join("\n"),
  );
}

/** Breaks something on the worker, asserts that a new pod's events name it, mends it, and waits until the pod runs without a restart of the runtime. */
function fault(
  name: string,
  options: { breaks: Change; says: RegExp; mends: Change; restores?: Change; image?: string; skip?: Check["skip"] },
): Check {
  const run: Check["run"] = async (context) => {
    const { cluster, namespace, create } = context;
    const node = cluster.worker;
    await options.breaks(cluster);
    const before = await node.servicePid(cluster.runtime);
    try {
      await create(
        pod("p", {
          nodeName: node.name,
          containers: [idle(options.image === undefined ? {} : { image: options.image, imagePullPolicy: "Always" })],
        }),
      );
      await complaint(context, "p", options.says);
    } finally {
      await options.mends(cluster);
    }
    await cluster.kubectl.ready("p", namespace, 150_000);
    assert.equal(await node.servicePid(cluster.runtime), before, "the runtime was restarted");
    await cluster.kubectl.run(["delete", "pod", "p", "-n", namespace]);
    await options.restores?.(cluster);
  };
  return alone(`fault: ${name}`, run, options.skip);
}

/** Changes the worker's kubelet by a script, runs `use`, and changes it back. */
async function kubeletWith(cluster: Cluster, script: string, back: string, use: () => Promise<void>): Promise<void> {
  const node = cluster.worker;
  await node.shell(script);
  await node.restartService("kubelet");
  try {
    await use();
  } finally {
    await node.shell(back);
    await node.restartService("kubelet");
    await cluster.ready();
  }
}

const onlyCrid = ({ runtime }: Cluster): string | undefined => (runtime === "crid" ? undefined : "is about crid");
const kubeletConfig = "/var/lib/kubelet/config.yaml";
const ballast = "/var/tmp/ballast";

/** Bad input on a node: said in the pod's events, and mended without a restart. */
export const faultChecks: readonly Check[] = [
  fault("a conflist that is no JSON, and no other", {
    // Gone first: the last good text of a file that breaks stays in use.
    breaks: async ({ worker }) => void (await worker.shell(`mv ${conflist} /root/good; sleep 1; echo '{' >${conflist}; sleep 1`)),
    says: /10-podnet\.conflist|cni/i,
    mends: async ({ worker }) => void (await worker.run(["cp", "/root/good", conflist])),
  }),
  fault("no conflist at all", {
    breaks: async ({ worker }) => void (await worker.shell(`mv ${conflist} /root/good`)),
    says: /no network|cni/i,
    mends: async ({ worker }) => void (await worker.run(["cp", "/root/good", conflist])),
  }),
  fault("a plugin that is missing", {
    breaks: async ({ worker }) => void (await worker.run(["mv", "/opt/cni/bin/host-local", "/opt/cni/bin/away"])),
    says: /host-local/,
    mends: async ({ worker }) => void (await worker.run(["mv", "/opt/cni/bin/away", "/opt/cni/bin/host-local"])),
  }),
  fault("a registry that does not answer", {
    breaks: async ({ worker }) =>
      void (await worker.run(["nft", "-f", "-"], {
        input: "table ip away { chain out { type filter hook output priority 0; tcp dport { 5000, 5001 } reject with tcp reset; }; }",
      })),
    says: /registry\.k8s\.io\/e2e-test-images\/agnhost.*refused/is,
    mends: async ({ worker }) => void (await worker.run(["nft", "delete", "table", "ip", "away"])),
    image: agnhost,
  }),
  fault("a mirror that is wrong: its hosts.toml leads nowhere", {
    breaks: async ({ worker, machine }) =>
      void (await worker.write(
        "/etc/crid/certs.d/mirrored.test/hosts.toml",
        `server = "http://${machine.lan}.1:5999"\n[host."http://${machine.lan}.1:5998"]\n`,
      )),
    // Both endpoints with what each of them said.
    says: /mirrored\.test.*:5998.*refused.*:5999.*refused/is,
    mends: async ({ worker, machine }) =>
      void (await worker.write("/etc/crid/certs.d/mirrored.test/hosts.toml", `server = "${machine.endpoints[0]}"\n`)),
    restores: async ({ worker }) => void (await worker.run(["rm", "-r", "/etc/crid/certs.d"])),
    image: agnhost.replace(/^[^/]+/, "mirrored.test"),
    skip: onlyCrid,
  }),
  fault("a hosts.toml that cannot be read", {
    breaks: async ({ worker }) => void (await worker.write("/etc/crid/certs.d/mirrored.test/hosts.toml", "server = http://no quotes\n")),
    says: /certs\.d\/mirrored\.test\/hosts\.toml/,
    mends: async ({ worker, machine }) =>
      void (await worker.write("/etc/crid/certs.d/mirrored.test/hosts.toml", `server = "${machine.endpoints[0]}"\n`)),
    restores: async ({ worker }) => void (await worker.run(["rm", "-r", "/etc/crid/certs.d"])),
    image: agnhost.replace(/^[^/]+/, "mirrored.test"),
    skip: onlyCrid,
  }),
  fault("a sandbox image that cannot be had", {
    breaks: async (cluster) => {
      await cluster.worker.write("/etc/crid/conf.d/pause.yaml", "sandbox: { image: registry.k8s.io/no/pause:1 }\n");
      await cluster.worker.restartService("crid");
      await cluster.runtimeReady(cluster.worker);
    },
    says: /registry\.k8s\.io\/no\/pause:1.*not found.*set sandbox\.image/is,
    mends: async ({ worker }) => {
      await worker.run(["crictl", "pull", "registry.k8s.io/pause:3.10.2"]);
      await worker.run(["crid", "images", "tag", "registry.k8s.io/pause:3.10.2", "registry.k8s.io/no/pause:1"]);
    },
    restores: async (cluster) => {
      await cluster.worker.run(["rm", "/etc/crid/conf.d/pause.yaml"]);
      await cluster.worker.restartService("crid");
      await cluster.runtimeReady(cluster.worker);
    },
    skip: onlyCrid,
  }),

  alone("fault: a disk that is full", async (context) => {
    const { cluster, namespace, create } = context;
    const node = cluster.worker;
    const before = await node.servicePid(cluster.runtime);
    // The kubelet would see it coming and let no pod start; here it comes at once.
    const gone = `echo 'KUBELET_EXTRA_ARGS="--eviction-hard=memory.available<1Mi --image-gc-high-threshold=100"' >/etc/default/kubelet`;
    await kubeletWith(cluster, gone, "rm /etc/default/kubelet", async () => {
      await cluster.ready();
      await node.try(["crictl", "rmi", agnhost]);
      await node.shell(`fallocate -l $(($(df --output=avail -B1 /var | tail -n1) - 4194304)) ${ballast}`);
      try {
        await create(pod("p", { nodeName: node.name, containers: [{ name: "main", image: agnhost, args: ["pause"] }] }));
        await complaint(context, "p", /no space left.*crictl rmi --prune/is);
      } finally {
        await node.run(["rm", ballast]);
      }
      await cluster.kubectl.ready("p", namespace, 150_000);
    });
    assert.equal(await node.servicePid(cluster.runtime), before, "the runtime was restarted");
  }),

  alone(
    "fault: a kubelet configuration with another cgroup driver: the runtime's is used, and crid doctor warns",
    async (context) => {
      const { cluster, run } = context;
      const node = cluster.worker;
      const other = (await node.shell("crid doctor || true")).includes("cgroup driver: cgroupfs") ? "systemd" : "cgroupfs";
      await kubeletWith(
        cluster,
        `cp ${kubeletConfig} /root/kubelet.yaml; sed -i '/^cgroupDriver:/d' ${kubeletConfig}; echo 'cgroupDriver: ${other}' >>${kubeletConfig}`,
        `mv /root/kubelet.yaml ${kubeletConfig}`,
        async () => {
          await cluster.ready();
          await run(pod("p", { nodeName: node.name, containers: [idle({ resources: { limits: { memory: "32Mi" } } })] }));
          const advice = await node.shell("crid doctor || true");
          assert.match(advice, new RegExp(`cgroup driver of the kubelet: ${kubeletConfig} says ${other}`));
        },
      );
    },
    onlyCrid,
  ),

  alone(
    "fault: a criSocket that is not there: crid doctor says what to type, and that is enough",
    async (context) => {
      const { cluster, run } = context;
      const node = cluster.worker;
      const before = await node.servicePid(cluster.runtime);
      await node.shell(
        `sed -i 's|^containerRuntimeEndpoint:.*|containerRuntimeEndpoint: unix:///run/crid/no.sock|' /var/lib/kubelet/*config.yaml`,
      );
      await node.restartService("kubelet");
      const log = `tail -n 400 /var/log/kubelet.log | grep -c 'run/crid/no.sock' || true`;
      await until("the kubelet to say so", 60_000, async () => (Number(await node.shell(log)) > 0 ? true : undefined));
      const advice = await node.shell("crid doctor || true");
      const [, command] = /leads the kubelet to unix:\/\/\/run\/crid\/no\.sock.*\n\s+(sed .*)/.exec(advice) ?? [];
      assert.ok(command !== undefined, advice);
      // What kubeadm keeps beside it, which is merged over it at the next upgrade.
      await node.shell(`${command}\n${command.replaceAll(kubeletConfig, "/var/lib/kubelet/instance-config.yaml").replace(/&&.*/, "")}`);
      await cluster.ready();
      await run(pod("p", { nodeName: node.name }));
      assert.equal(await node.servicePid(cluster.runtime), before, "the runtime was restarted");
    },
    onlyCrid,
  ),
];
