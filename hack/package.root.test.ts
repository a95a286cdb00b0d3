import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import manifest from "../package.json" with { type: "json" };

// The release tarball, unpacked over a copy of this machine's / and used from there.

const repo = join(import.meta.dirname, "..");
const directory = mkdtempSync(join(tmpdir(), "crid-package-"));
const tarball = join(repo, `dist/release/crid-${manifest.version}-linux-amd64.tar.gz`);
after(() => rmSync(directory, { recursive: true }));

/*
 * Its own pid namespace is not for tidiness: the daemon runs with its default paths here, and must not see the shims of another
 * that does so, too. The upper layer is a tmpfs, as one cannot lie inside of its own lower layer.
 */
const inCopy = `
set -eu
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
mount -t proc proc /mnt/root/proc
mount --rbind /sys /mnt/root/sys
mount --rbind /dev /mnt/root/dev
mount -t tmpfs tmpfs /mnt/root/run
ip link set lo up
tar -C /mnt/root -xzf "$1"
exec chroot /mnt/root /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash -eu -c "$2"
`;

function run(script: string): { status: number | null; stdout: string; stderr: string } {
  const file = join(directory, "copy.sh");
  writeFileSync(file, inCopy);
  const own = ["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"];
  return spawnSync("unshare", [...own, "bash", file, tarball, script], { encoding: "utf8", timeout: 100_000 });
}

before(() => {
  // Not built anew: other tests run from dist/ at the same time.
  const { status, stderr } = spawnSync("bash", [join(repo, "hack/package"), "--no-build", "amd64"], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
});

test("the tarball has what a node needs, owned by root, and no entry for folders of the system", () => {
  const { stdout } = spawnSync("tar", ["-tvzf", tarball], { encoding: "utf8", maxBuffer: 1 << 24 });
  const lines = stdout.split("\n").filter(Boolean);
  const names = lines.map((line) => line.split(/\s+/).slice(5).join(" "));
  for (const name of [
    "usr/bin/crid -> ../lib/crid/bin/crid",
    "usr/lib/crid/node",
    "usr/lib/crid/crid.mjs",
    "usr/lib/crid/pause/rootfs/pause",
    "usr/lib/systemd/system/crid.service",
    "usr/lib/sysctl.d/60-crid.conf",
    "usr/lib/modules-load.d/60-crid.conf",
    "usr/share/crid/config.yaml",
    "usr/share/crid/crictl.yaml",
    "usr/share/crid/cni/10-crid.conflist",
    "usr/share/crid/kubeadm/init.yaml",
    "usr/share/crid/kubeadm/join.yaml",
    "usr/share/crid/prometheus.yaml",
    "usr/share/bash-completion/completions/crid",
    "usr/share/doc/crid/LICENSE",
    "usr/share/doc/crid/licences/nodejs",
  ])
    assert.ok(names.includes(name), name);
  for (const line of lines) assert.match(line, /^\S+ root\/root /);
  assert.deepEqual(
    names.filter((name) => /^(usr|usr\/(bin|lib|share)|usr\/lib\/systemd.*|usr\/share\/(doc|bash-completion.*))\/$/.test(name)),
    [],
  );
  assert.ok(!names.some((name) => name.startsWith("etc/")), "an upgrade would overwrite what the operator wrote");
});

test("the shipped configuration is the default, with every key", () => {
  const { status, stdout, stderr } = run(
    "crid version; crid config check --config /usr/share/crid/config.yaml; crid config default | cmp - /usr/share/crid/config.yaml",
  );
  assert.equal(status, 0, stderr);
  assert.match(stdout, new RegExp(`^crid ${manifest.version}$`, "m"));
  assert.match(stdout, /the configuration is fine/);
});

test("systemd takes the unit", { skip: spawnSync("systemd-analyze", ["--version"]).status !== 0 }, () => {
  const { status, stderr } = run("systemd-analyze verify /usr/lib/systemd/system/crid.service");
  assert.equal(status, 0, stderr);
  assert.doesNotMatch(stderr, /crid\.service/);
  const unit = readFileSync(join(repo, "deploy/root/usr/lib/systemd/system/crid.service"), "utf8");
  for (const line of ["Type=notify", "Delegate=yes", "KillMode=process", "OOMScoreAdjust=-999", "TasksMax=infinity", "Restart=always"])
    assert.match(unit, new RegExp(`^${line}$`, "m"));
});

test("it serves with its defaults and ends on SIGTERM", () => {
  const script = `
    mkdir -p /var/lib/crid; mount -t tmpfs tmpfs /var/lib/crid
    crid serve 2>/run/log & pid=$!
    for i in $(seq 200); do [ ! -S /run/crid/crid.sock ] || break; sleep 0.1; done
    ${repo}/.tools/bin/crictl --config /usr/share/crid/crictl.yaml version
    crid doctor --json --crictl-config /usr/share/crid/crictl.yaml || true
    kill $pid; wait $pid; echo ended $?
    crid logger --stop --state /run/crid
  `;
  const { status, stdout, stderr } = run(script);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^RuntimeName: {2}crid$/m);
  assert.match(stdout, /^ended 0$/m);
  const { findings } = JSON.parse(stdout.slice(stdout.indexOf("{\n"), stdout.lastIndexOf("}\n") + 1)) as {
    findings: { subject: string; verdict: string; message: string }[];
  };
  const verdict = (subject: string): string | undefined => findings.find((one) => one.subject === subject)?.verdict;
  assert.equal(verdict("CRI socket"), "ok");
  assert.equal(verdict("crictl"), "ok");
  assert.equal(verdict("built-in pause"), "ok");
});

test("bash completes commands and flags", () => {
  const { status, stdout, stderr } = run(`
    . /usr/share/bash-completion/completions/crid
    complete_of() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _crid; echo "$* -> $(printf '%s\\n' "\${COMPREPLY[@]}" | sort | tr '\\n' ' ')"; }
    complete_of crid do
    complete_of crid config ''
    complete_of crid doctor --j
  `);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^crid do -> doctor $/m);
  assert.match(stdout, /^crid config {2}-> .*check .*default .*dump /m);
  assert.match(stdout, /^crid doctor --j -> --json $/m);
});
