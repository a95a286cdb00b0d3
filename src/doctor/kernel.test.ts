import assert from "node:assert/strict";
import { test } from "node:test";
import type { Finding } from "./finding.ts";
import { checkKernel } from "./kernel.ts";

const good: Record<string, string> = {
  "/proc/sys/kernel/osrelease": "6.18.5-cloud",
  "/proc/filesystems": "nodev\tproc\n\text4\nnodev\toverlay\n\terofs",
  "/proc/self/status": "Name:\tnode\nSeccomp:\t0",
  "/proc/sys/user/max_user_namespaces": "15000",
  "/proc/sys/net/bridge/bridge-nf-call-iptables": "1",
};

function verdicts(files: Record<string, string | undefined>): Record<string, Finding["verdict"]> {
  const read = (path: string): string | undefined => ({ ...good, ...files })[path];
  return Object.fromEntries(checkKernel(read).map(({ subject, verdict }) => [subject, verdict]));
}

test("a kernel with all that is needed", () => {
  assert.deepEqual(new Set(Object.values(verdicts({}))), new Set(["ok"]));
});

test("what is missing is told by how much it hurts", () => {
  assert.equal(verdicts({ "/proc/sys/kernel/osrelease": "5.4.0" }).kernel, "failure");
  assert.equal(verdicts({ "/proc/filesystems": "\text4" }).overlayfs, "failure");
  assert.equal(verdicts({ "/proc/filesystems": "nodev\toverlay" }).EROFS, "ok");
  assert.equal(verdicts({ "/proc/self/status": "Name:\tnode" }).seccomp, "failure");
  assert.equal(verdicts({ "/proc/sys/user/max_user_namespaces": "0" })["user namespaces"], "warning");
  assert.equal(verdicts({ "/proc/sys/kernel/osrelease": "6.1.0-32-amd64" })["user namespaces"], "warning");
  assert.equal(verdicts({ "/proc/sys/net/bridge/bridge-nf-call-iptables": undefined })["module br_netfilter"], "warning");
  assert.equal(verdicts({ "/proc/sys/net/bridge/bridge-nf-call-iptables": "0" })["module br_netfilter"], "warning");
});
