import assert from "node:assert/strict";
import { test } from "node:test";
import type { NamespaceOptions, PodSecurity } from "../records/pod-config.ts";
import { podSysctls, touchesInterfaces } from "./sysctls.ts";

const pod = (sysctls: Record<string, string>, namespaces: Partial<NamespaceOptions> = {}) =>
  podSysctls({
    sysctls,
    security: { namespaces: { network: "pod", pid: "pod", ipc: "pod", targetId: "", ...namespaces } } as PodSecurity,
  });

test("low ports and ping are free in a network of the pod's own, unless it says otherwise", () => {
  assert.deepEqual(pod({}), { "net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647" });
  assert.equal(pod({ "net.ipv4.ip_unprivileged_port_start": "1024" })["net.ipv4.ip_unprivileged_port_start"], "1024");
  assert.deepEqual(pod({}, { network: "node" }), {});
});

test("a name with slashes means the same", () => {
  assert.equal(pod({ "net/ipv4/conf/eth0.100/forwarding": "1" })["net.ipv4.conf.eth0/100.forwarding"], "1");
});

test("nothing of a namespace that the pod shares with the host is changed", () => {
  const shared = { kind: "invalid-argument", message: /shares with the host/ };
  assert.throws(() => pod({ "net.core.somaxconn": "1" }, { network: "node" }), shared);
  assert.throws(() => pod({ "net/core/somaxconn": "1" }, { network: "node" }), shared);
  assert.throws(() => pod({ "kernel.shmmax": "1" }, { ipc: "node" }), shared);
  assert.throws(() => pod({ "fs.mqueue.queues_max": "1" }, { ipc: "node" }), shared);
  assert.equal(pod({ "kernel.shmmax": "1" }, { network: "node" })["kernel.shmmax"], "1");
  assert.throws(() => pod({ "a\nb": "1" }), { kind: "invalid-argument", message: /is not a sysctl/ });
});

test("what needs the network first", () => {
  assert.ok(touchesInterfaces("net.ipv4.conf.eth0.forwarding"));
  assert.ok(touchesInterfaces("net.ipv6.conf.all.disable_ipv6"));
  assert.ok(!touchesInterfaces("net.core.somaxconn"));
});
