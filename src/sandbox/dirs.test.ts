import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { podDirs, podHostname, resolvConf } from "./dirs.ts";
import { podConfig } from "./test-pods.ts";

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(os.tmpdir(), "crid-dirs-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

function hostFiles(host: string, resolved?: string): { host: string; resolved: string } {
  writeFileSync(join(dir, "host"), host);
  if (resolved !== undefined) writeFileSync(join(dir, "resolved"), resolved);
  return { host: join(dir, "host"), resolved: join(dir, "resolved") };
}

function withoutDns(network: "pod" | "node" = "pod"): ReturnType<typeof podConfig> {
  const { dns: _, ...config } = podConfig();
  config.security.namespaces.network = network;
  return config;
}

test("resolv.conf is what the kubelet says", () => {
  const files = hostFiles("nameserver 192.0.2.1\n");
  const config = { ...podConfig(), dns: { servers: ["10.0.0.10", "fd00::a"], searches: ["a.b", "b"], options: ["ndots:5", "edns0"] } };
  assert.equal(resolvConf(config, files), "search a.b b\nnameserver 10.0.0.10\nnameserver fd00::a\noptions ndots:5 edns0\n");
  assert.equal(resolvConf({ ...config, dns: { servers: ["10.0.0.10"], searches: [], options: [] } }, files), "nameserver 10.0.0.10\n");
  assert.equal(
    resolvConf({ ...config, dns: { servers: [], searches: [], options: [] } }, files),
    "nameserver 192.0.2.1\n",
    "empty: the host's",
  );
});

test("resolv.conf is the host's; instead of systemd-resolved's stub, its real servers", () => {
  const stub = "# stub\nnameserver 127.0.0.53\noptions edns0\n";
  assert.equal(resolvConf(withoutDns(), hostFiles("nameserver 192.0.2.1\n", "nameserver 192.0.2.2\n")), "nameserver 192.0.2.1\n");
  assert.equal(resolvConf(withoutDns(), hostFiles(stub, "nameserver 192.0.2.2\n")), "nameserver 192.0.2.2\n");
  assert.equal(resolvConf(withoutDns("node"), hostFiles(stub)), stub, "the stub answers on the host's network");
});

test("the stub stays when there is nothing better; a host without a file gives an empty one", () => {
  const stub = "nameserver 127.0.0.53\n";
  assert.equal(resolvConf(withoutDns(), hostFiles(stub)), stub);
  assert.equal(resolvConf(withoutDns(), { host: join(dir, "none"), resolved: join(dir, "none") }), "");
});

test("the host's name where the kubelet gives none; the host's /dev/shm in its ipc namespace", () => {
  assert.equal(podHostname(podConfig()), "web");
  assert.equal(podHostname({ ...podConfig(), hostname: "" }), os.hostname());
  const settings = { bundlesDir: "/s/bundles", podsDir: "/s/pods" };
  assert.equal(podDirs("a", podConfig(), settings).shm, "/s/pods/a/shm");
  const config = podConfig();
  config.security.namespaces.ipc = "node";
  assert.equal(podDirs("a", config, settings).shm, "/dev/shm");
});
