import assert from "node:assert/strict";
import type { Cluster } from "../cluster.ts";
import { agnhost, idle, pod } from "../objects.ts";
import { alone, type Check, type CheckContext } from "../runner.ts";
import { until } from "../shell.ts";

const conflist = "/etc/cni/net.d/10-podnet.conflist";

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
  options: { breaks: (cluster: Cluster) => Promise<void>; says: RegExp; mends: (cluster: Cluster) => Promise<void>; image?: string },
): Check {
  return alone(`fault: ${name}`, async (context) => {
    const { cluster, namespace, create } = context;
    const node = cluster.worker;
    const before = await node.servicePid(cluster.runtime);
    await options.breaks(cluster);
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
    await cluster.kubectl.ready("p", namespace, 120_000);
    assert.equal(await node.servicePid(cluster.runtime), before, "the runtime was restarted");
  });
}

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
];
