// The checks of the guest of hack/guest: run in it as root by the release's own Node, once a boot. Exit code 75: go on after a reboot.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { driverChecks } from "./checks/driver.ts";
import { installChecks } from "./checks/install.ts";
import { afterReboot, beforeReboot } from "./checks/reboot.ts";
import { specChecks } from "./checks/specs.ts";
import { attempt, payload } from "./guest.ts";

export interface GuestCheck {
  name: string;
  /** Others need what it does: never left out. */
  always?: boolean;
  run(): void | Promise<void>;
}

const boots: readonly (readonly GuestCheck[])[] = [
  [
    ...installChecks,
    ...driverChecks("systemd"),
    ...specChecks("systemd"),
    ...driverChecks("cgroupfs"),
    ...specChecks("cgroupfs"),
    ...beforeReboot,
  ],
  afterReboot,
];
const memory = "/root/checks.json";
const tally = existsSync(memory)
  ? (JSON.parse(readFileSync(memory, "utf8")) as { boot: number; passed: number; failed: number })
  : { boot: 0, passed: 0, failed: 0 };
const only = new RegExp(readFileSync(join(payload, "only"), "utf8"), "i");

for (const check of boots[tally.boot] ?? []) {
  if (check.always !== true && !only.test(check.name)) continue;
  const started = performance.now();
  const seconds = (): string => `${((performance.now() - started) / 1000).toFixed(0)} s`;
  try {
    await check.run();
    tally.passed++;
    say(`ok    ${check.name} (${seconds()})`);
  } catch (error) {
    tally.failed++;
    say(`FAIL  ${check.name} (${seconds()}): ${error instanceof Error ? error.message : String(error)}`);
    say(journalSince(started).replaceAll(/^/gm, "      | "));
  }
}
tally.boot++;
writeFileSync(memory, JSON.stringify(tally));
if (tally.boot < boots.length) process.exit(75);
say(`${tally.passed} passed, ${tally.failed} failed`);

/** What crid and systemd said since the check began, without what is said of every call. */
function journalSince(started: number): string {
  const seconds = Math.ceil((performance.now() - started) / 1000) + 1;
  const { stdout } = attempt("journalctl", "-u", "crid", "--since", `-${seconds}s`, "--no-pager", "-o", "short-monotonic");
  const lines = stdout.split("\n").filter((line) => !/"call":|Found left-over|usually indicates/.test(line));
  return lines
    .slice(-60)
    .map((line) => line.slice(0, 500))
    .join("\n");
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
