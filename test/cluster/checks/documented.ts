import assert from "node:assert/strict";
import { docsCommands } from "../../../hack/docs-block.ts";
import type { Cluster } from "../cluster.ts";
import { isReady, statusOf } from "../kubectl.ts";
import { busybox, pod } from "../objects.ts";
import { alone, type Check, type CheckContext } from "../runner.ts";

const onlyCrid = ({ runtime }: Cluster): string | undefined => (runtime === "crid" ? undefined : "is about crid");

/** Runs a block of docs/ on the worker and answers what it printed. */
async function typed({ cluster }: CheckContext, page: string, name: string, values: Record<string, string> = {}): Promise<string> {
  return cluster.worker.shell(docsCommands(page, name, values), { timeoutMs: 120_000 });
}

/** What an operator types to find out what is wrong: the blocks of docs/ on a node with pods. */
export const documentedChecks: readonly Check[] = [
  alone(
    "the commands of docs/ for finding and mending faults do what the pages say, and pods do not notice",
    async (context) => {
      const { cluster, namespace, run } = context;
      const node = cluster.worker;
      const [before] = await run(pod("p", { nodeName: node.name }));
      assert.ok(before !== undefined);

      const configuration = await typed(context, "configuration.md", "configuration");
      assert.match(configuration, /^# root: \/var\/lib\/crid$/m);
      assert.match(configuration, /the configuration is fine/);
      const explained = await typed(context, "troubleshooting.md", "explain", { IMAGE: busybox });
      assert.match(explained, new RegExp(cluster.machine.endpoints[0]?.replaceAll(".", "\\.") ?? "-"));
      await typed(context, "troubleshooting.md", "images-check");
      assert.match(await typed(context, "storage.md", "sqlite"), new RegExp(`${namespace}\\|p\\|`));
      for (const command of ["crictl info", "crid pulls", "crictl imagefsinfo", "crid config check", "crictl rmi --prune"])
        await node.shell(command, { timeoutMs: 120_000 });
      // Its exit code is 1 where this place cannot give a node what it should have.
      assert.match(await node.shell("crid doctor || true"), /^ok {4}CRI socket: /m);
      assert.match(await node.shell("crid doctor --registry registry.k8s.io/pause:3.10.2 || true"), /registry\.k8s\.io\/pause:3\.10\.2/);
      assert.match(await node.shell("curl -sf http://127.0.0.1:1339/metrics"), /^crid_cni_retries/m);

      await typed(context, "troubleshooting.md", "rebuild");
      const after = await cluster.kubectl.get("pod", "p", namespace);
      assert.ok(isReady(after));
      assert.equal(statusOf(after).containerID, statusOf(before).containerID);
    },
    onlyCrid,
  ),
];
