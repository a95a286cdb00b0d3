import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { crictl, crictlJson, leftovers, property, restartCrid, run, shell, until } from "../guest.ts";
import type { GuestCheck } from "../main.ts";
import { inspect, start } from "../pods.ts";
import { startRegistry } from "./install.ts";

/** A pod that the reboot ends. */
export const beforeReboot: readonly GuestCheck[] = [
  {
    name: "a pod runs before the machine reboots",
    always: true,
    run() {
      rmSync("/etc/crid/conf.d/cgroups.yaml", { force: true });
      restartCrid();
      start("systemd", "rebooted", ["sleep", "100000"]);
      run("sync");
    },
  },
];

interface Pods {
  items: { id: string; state: string }[];
}

export const afterReboot: readonly GuestCheck[] = [
  {
    name: "after a reboot crid is up by itself, the old pod is not ready and can be removed, a new one runs with a fresh address",
    always: true,
    async run() {
      await until("crid", () => (property("crid", "ActiveState") === "active" ? true : undefined));
      startRegistry();
      const { items } = crictlJson<Pods>("pods");
      assert.deepEqual(
        items.map(({ state }) => state),
        ["SANDBOX_NOTREADY"],
      );
      const [container = ""] = crictl("ps", "-a", "-q").split("\n");
      assert.equal(inspect(container).state, "CONTAINER_EXITED");
      const { pod } = start("systemd", "fresh", ["sleep", "100000"]);
      crictl("rmp", items[0]?.id ?? "");
      assert.deepEqual(
        crictlJson<Pods>("pods").items.map(({ id, state }) => [id, state]),
        [[pod, "SANDBOX_READY"]],
      );
      const ip = crictlJson<{ status: { network: { ip: string } } }>("inspectp", pod).status.network.ip;
      // host-local's record of the old pod's address is gone with it.
      assert.equal(shell("ls /var/lib/cni/networks/crid | grep -c '^10\\.'"), "1");
      assert.match(ip, /^10\.244\.0\./);
      crictl("rmp", "-fa");
      assert.deepEqual(leftovers(), []);
    },
  },
];
