import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { runCritest } from "../../critest/critest.ts";
import { crictl, leftovers, socket, until } from "../guest.ts";
import type { GuestCheck } from "../main.ts";
import type { Driver } from "../pods.ts";

/** Specs of critest about what the cgroup driver and this kernel decide. */
const groups: readonly { name: string; focus: string; least: number; drivers: readonly Driver[] }[] = [
  { name: "OOM, stats, metrics and resources", focus: "OOM|stats|metrics|[Rr]esources?\\b", least: 8, drivers: ["systemd", "cgroupfs"] },
  { name: "AppArmor", focus: "AppArmor", least: 9, drivers: ["systemd"] },
];

/** Skips are failures here: this machine has all that these specs ask for. */
export function specChecks(driver: Driver): readonly GuestCheck[] {
  return groups
    .filter(({ drivers }) => drivers.includes(driver))
    .map(({ name, focus, least }) => ({
      name: `${driver}: critest's specs: ${name}`,
      async run() {
        const directory = `/root/critest-${driver}`;
        mkdirSync(directory, { recursive: true });
        assert.ok(existsSync(socket));
        // The AppArmor specs call apparmor_parser through it, whoever they are.
        writeFileSync("/usr/local/bin/sudo", '#!/bin/sh\nexec "$@"\n', { mode: 0o755 });
        const { results } = await runCritest({
          socket,
          nriSocket: "/run/nri/nri.sock",
          directory,
          parallel: 1,
          focus,
          flags: ["-ginkgo.timeout=25m"],
        });
        const bad = results.filter(({ outcome }) => outcome !== "passed").map((spec) => `${spec.outcome}: ${spec.name}: ${spec.reason}`);
        assert.deepEqual(bad, []);
        assert.ok(results.length >= least, `only ${results.length} specs ran`);
        crictl("rmp", "-fa");
        await until("everything to be gone", () => (leftovers().length === 0 ? true : undefined)).catch(() =>
          assert.deepEqual(leftovers(), []),
        );
      },
    }));
}
