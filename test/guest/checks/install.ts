import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { attempt, busybox, crictl, payload, property, registry, run, shell } from "../guest.ts";
import type { GuestCheck } from "../main.ts";

const hosts = ["registry.k8s.io", "gcr.io", "k8s.gcr.io", "docker.io", "public.ecr.aws"];

interface Finding {
  subject: string;
  verdict: string;
  message: string;
  fix?: string;
}

/** The steps of docs/install.md on a Debian 12, up to the point where kubeadm takes over. */
export const installChecks: readonly GuestCheck[] = [
  {
    name: "the machine has systemd as pid 1 and only cgroup v2",
    always: true,
    run() {
      assert.equal(readFileSync("/proc/1/comm", "utf8").trim(), "systemd");
      assert.equal(run("stat", "-f", "-c", "%T", "/sys/fs/cgroup"), "cgroup2fs");
      const controllers = readFileSync("/sys/fs/cgroup/cgroup.controllers", "utf8").trim().split(" ");
      for (const one of ["cpuset", "cpu", "io", "memory", "pids"]) assert.ok(controllers.includes(one), one);
      run("systemd-analyze", "verify", "/usr/lib/systemd/system/crid.service");
    },
  },
  {
    name: "systemctl enable --now crid: the unit is active once the socket answers",
    always: true,
    run() {
      mkdirSync("/etc/crid/conf.d", { recursive: true });
      // As docs/install.md says for Debian's plugins.
      writeFileSync("/etc/crid/conf.d/cni.yaml", "cni: { binDirs: [/opt/cni/bin, /usr/lib/cni] }\n");
      const mirrors = hosts.map((host) => `    ${host}: { endpoints: ["http://${registry}"] }`).join("\n");
      writeFileSync("/etc/crid/conf.d/mirrors.yaml", `registry:\n  mirrors:\n${mirrors}\n`);
      shell("systemctl restart systemd-modules-load && sysctl -q --system && swapoff -a");
      shell("systemctl daemon-reload && systemctl enable --now crid");
      // Type=notify: no waiting is needed from here on.
      cpSync("/usr/share/crid/crictl.yaml", "/etc/crictl.yaml");
      assert.match(crictl("version"), /RuntimeName: {2}crid/);
      assert.equal(property("crid", "ActiveState"), "active");
      assert.equal(property("crid", "Type"), "notify");
      mkdirSync("/etc/cni/net.d", { recursive: true });
      cpSync("/usr/share/crid/cni/10-crid.conflist", "/etc/cni/net.d/10-crid.conflist");
      startRegistry();
      crictl("pull", busybox);
    },
  },
  {
    name: "crid doctor finds nothing that keeps pods from working",
    run() {
      const { status, stdout, stderr } = attempt("crid", "doctor", "--json");
      const { findings } = JSON.parse(stdout) as { findings: Finding[] };
      const failures = findings.filter(({ verdict }) => verdict === "failure");
      assert.deepEqual(failures, [], stderr);
      assert.equal(status, 0);
      // There is no kubelet here, and volumes with mapped ids came with Linux 6.3. All else is as it should be.
      const warnings = findings.filter(({ verdict, subject }) => verdict === "warning" && !/kubelet|user namespaces/i.test(subject));
      assert.deepEqual(warnings, []);
      assert.match(findings.map(({ message }) => message).join("\n"), /systemd/);
    },
  },
];

/** The registry with the test images, as a service: a reboot ends it. */
export function startRegistry(): void {
  const config = "/root/registry.json";
  writeFileSync(
    config,
    JSON.stringify({
      version: "0.1",
      log: { level: "warn", accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(payload, ".tools/registry") }, maintenance: { readonly: { enabled: true } } },
      http: { addr: registry, secret: "guest" },
    }),
  );
  const binary = join(payload, ".tools/bin/registry");
  assert.ok(existsSync(binary));
  run("systemd-run", "--quiet", "--unit=registry", "--setenv=OTEL_TRACES_EXPORTER=none", binary, "serve", config);
  shell(`for i in $(seq 300); do ! (echo >/dev/tcp/${registry.replace(":", "/")}) 2>/dev/null || exit 0; sleep 1; done; exit 1`);
}
