import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isKind, messageOf } from "../base/errors.ts";
import { silentLogger } from "../base/log.ts";
import type { CniAttachment } from "../records/cni-attachment.ts";
import { Cni, type CniOperation, type CniPod } from "./cni.ts";

// Plugins here are shell scripts that keep what they were given: the real ones are in cni.root.test.ts.
let base = "";
let cni: Cni;
let operations: CniOperation[] = [];
const dirs = () => ({ bin: join(base, "bin"), conf: join(base, "conf"), calls: join(base, "calls") });

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "crid-cni-"));
  for (const dir of Object.values(dirs())) mkdirSync(dir);
  operations = [];
});
afterEach(async () => {
  await cni.close();
  rmSync(base, { recursive: true });
});

const begin = async (more: object = {}): Promise<void> => {
  cni = new Cni({
    binDirs: [join(base, "none"), dirs().bin],
    confDir: dirs().conf,
    log: silentLogger(),
    onOperation: (one) => operations.push(one),
    ...more,
  });
  await cni.start();
};

/** Each call becomes a file NN-COMMAND-PLUGIN with stdin and environment. */
function plugin(name: string, script = ""): void {
  const file = join(dirs().bin, name);
  const recorder = `n=$(ls '${dirs().calls}' | wc -l); f='${dirs().calls}'/$(printf %02d $n)-$CNI_COMMAND-${name}; cat > $f; env > $f.env`;
  writeFileSync(file, `#!/bin/sh\n${recorder.replace("ls", "ls -1")}\n${script}\n`);
  chmodSync(file, 0o755);
}
const calls = (): string[] =>
  readdirSync(dirs().calls)
    .filter((name) => !name.endsWith(".env"))
    .map((name) => name.slice(3));
const given = (name: string): Record<string, unknown> => {
  const file = readdirSync(dirs().calls).find((one) => one.slice(3) === name);
  return JSON.parse(readFileSync(join(dirs().calls, file ?? "none"), "utf8"));
};
const environment = (name: string): string[] => {
  const file = readdirSync(dirs().calls).find((one) => one.slice(3) === `${name}.env`);
  return readFileSync(join(dirs().calls, file ?? "none"), "utf8").split("\n");
};
const conf = (document: object): void =>
  writeFileSync(join(dirs().conf, "10-t.conflist"), JSON.stringify({ cniVersion: "1.0.0", name: "t", ...document }));

const pod: CniPod = {
  id: "c0ffee".padEnd(64, "0"),
  netnsPath: "/proc/self/ns/net",
  name: "web",
  namespace: "shop",
  uid: "u1",
  portMappings: [{ protocol: "tcp", containerPort: 80, hostPort: 8080, hostIp: "" }],
  annotations: {},
  labels: {},
};
const options = { signal: new AbortController().signal };
const planOne = (): CniAttachment => {
  const [attachment, ...others] = cni.plan(pod);
  assert.ok(attachment !== undefined && others.length === 0);
  return attachment;
};

const result = (ip: string, more = ""): string => `echo '{"cniVersion":"1.0.0","ips":[{"address":"${ip}/24"}]${more}}'`;

test("ADD chains results and capabilities, DEL goes back with the last result, CHECK forward", async () => {
  plugin("first", result("10.0.0.1"));
  plugin("second", result("10.0.0.2", ',"dns":{"nameservers":["9.9.9.9"]},"own":1'));
  conf({
    plugins: [
      { type: "first", mtu: 1400 },
      { type: "second", capabilities: { portMappings: true, bandwidth: true } },
    ],
  });
  await begin();
  const planned = planOne();
  assert.deepEqual(
    [planned.networkName, planned.cniVersion, planned.ifName, planned.pending, planned.result],
    ["t", "1.0.0", "eth0", true, undefined],
  );
  process.env.NOTIFY_SOCKET = "/run/none";
  process.env.CNI_COMMAND = "NOPE";
  const added = await cni.add(planned, pod, options);
  delete process.env.NOTIFY_SOCKET;
  delete process.env.CNI_COMMAND;
  assert.deepEqual([added.ips, added.attachment.pending, added.result.dns.nameservers], [["10.0.0.2"], false, ["9.9.9.9"]]);
  assert.deepEqual(given("ADD-first"), { type: "first", mtu: 1400, name: "t", cniVersion: "1.0.0" });
  assert.deepEqual(given("ADD-second"), {
    type: "second",
    capabilities: { portMappings: true, bandwidth: true },
    name: "t",
    cniVersion: "1.0.0",
    runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp", hostIP: "" }] },
    prevResult: { cniVersion: "1.0.0", ips: [{ address: "10.0.0.1/24" }] },
  });
  const env = environment("ADD-first");
  for (const line of [
    `CNI_CONTAINERID=${pod.id}`,
    "CNI_NETNS=/proc/self/ns/net",
    "CNI_IFNAME=eth0",
    `CNI_PATH=${join(base, "none")}:${dirs().bin}`,
    `CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=${pod.id};K8S_POD_UID=u1`,
    "CNI_COMMAND=ADD",
  ])
    assert.ok(env.includes(line), line);
  assert.ok(
    !env.some((line) => line.startsWith("NOTIFY_SOCKET")) &&
      /(^|:)\/usr\/sbin(:|$)/.test(env.find((line) => line.startsWith("PATH=")) ?? ""),
  );

  // the file is gone and so is the daemon: what was stored is enough
  rmSync(join(dirs().conf, "10-t.conflist"));
  const stored: CniAttachment = JSON.parse(JSON.stringify(added.attachment));
  await cni.check(stored, pod, options);
  await cni.del(stored, pod, options);
  await cni.del(stored, { id: pod.id, netnsPath: join(base, "gone") }, options);
  assert.deepEqual(calls(), [
    "ADD-first",
    "ADD-second",
    "CHECK-first",
    "CHECK-second",
    "DEL-second",
    "DEL-first",
    "DEL-second",
    "DEL-first",
  ]);
  const previous = { cniVersion: "1.0.0", ips: [{ address: "10.0.0.2/24" }], dns: { nameservers: ["9.9.9.9"] }, own: 1 };
  for (const name of ["CHECK-first", "CHECK-second", "DEL-first", "DEL-second"]) assert.deepEqual(given(name).prevResult, previous, name);
  assert.deepEqual((given("DEL-second").runtimeConfig as { portMappings: unknown[] }).portMappings.length, 1);
  assert.ok(environment("DEL-first").includes("CNI_NETNS=/proc/self/ns/net"));
  const lastDel =
    readdirSync(dirs().calls)
      .filter((name) => name.endsWith("DEL-first.env"))
      .at(-1) ?? "";
  assert.ok(readFileSync(join(dirs().calls, lastDel), "utf8").includes("CNI_NETNS=\n"), "a namespace that is gone is given as empty");
  assert.deepEqual(operations.map((one) => `${one.command} ${one.plugin} ${one.network} ${one.ok}`).slice(0, 2), [
    "ADD first t true",
    "ADD second t true",
  ]);
  assert.ok(operations.every((one) => one.ms > 0));
});

test("0.3.1: no prevResult at DEL, no CHECK; results with the family of an address", async () => {
  plugin("p", `echo '{"ips":[{"address":"10.0.0.2/24"}]}'`);
  plugin("q", `echo '{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.0.0.2/24"}]}'`);
  conf({ cniVersion: "0.3.1", plugins: [{ type: "p" }, { type: "q" }] });
  await begin();
  const { attachment, ips } = await cni.add(planOne(), pod, options);
  assert.deepEqual(ips, ["10.0.0.2"]);
  assert.equal((given("ADD-q").prevResult as { cniVersion: string }).cniVersion, "0.3.1");
  await cni.check(attachment, pod, options);
  await cni.del(attachment, pod, options);
  assert.deepEqual(calls(), ["ADD-p", "ADD-q", "DEL-q", "DEL-p"]);
  assert.equal(given("DEL-q").prevResult, undefined);
});

test("a failing plugin: its message, code, details and stderr; the same call works once it is mended", async () => {
  plugin("first", result("10.0.0.1"));
  plugin(
    "bad",
    `echo 'cannot open /dev/x' >&2; echo '{"cniVersion":"1.0.0","code":101,"msg":"no free port","details":"8080 is taken"}'; exit 1`,
  );
  conf({ plugins: [{ type: "first" }, { type: "bad" }] });
  await begin();
  const attachment = planOne();
  await assert.rejects(cni.add(attachment, pod, options), (error) => {
    assert.equal(
      messageOf(error),
      "CNI ADD of network t for pod shop/web (sandbox c0ffee000000): plugin bad: no free port; 8080 is taken; on stderr: cannot open /dev/x (code 101)",
    );
    return isKind(error, "internal");
  });
  await cni
    .del(attachment, pod, options)
    .catch((error) => assert.match(messageOf(error), /^CNI DEL of network t for sandbox c0ffee000000: plugin bad: /));
  assert.deepEqual(calls(), ["ADD-first", "ADD-bad", "DEL-bad"], "DEL stops where it fails");
  assert.equal(given("DEL-bad").prevResult, undefined);
  plugin("bad", result("10.0.0.7"));
  assert.deepEqual((await cni.add(attachment, pod, options)).ips, ["10.0.0.7"]);
});

test("other ways to fail are named too", async () => {
  conf({ plugins: [{ type: "p" }] });
  await begin({ timeoutMs: 400 });
  const attachment = planOne();
  const fails = async (kind: Parameters<typeof isKind>[1], message: RegExp): Promise<void> => {
    await assert.rejects(cni.add(attachment, pod, options), (error) => {
      assert.match(messageOf(error), message);
      return isKind(error, kind);
    });
  };
  await fails(
    "failed-precondition",
    new RegExp(`plugin p: not found in ${join(base, "none")}, ${dirs().bin}; install it there or set cni.binDirs`),
  );
  writeFileSync(join(dirs().bin, "p"), "#!/bin/sh\n");
  await fails("failed-precondition", /plugin p: .*\/bin\/p cannot be run: .*EACCES/);
  plugin("p", "echo oops >&2; echo more >&2; exit 3");
  await fails("internal", /plugin p: exit status 3; on stderr: oops \| more$/);
  plugin("p", "kill -9 $$");
  await fails("internal", /plugin p: killed by SIGKILL$/);
  plugin("p", "echo hello");
  await fails("internal", /plugin p: printed no JSON: "hello\\n"/);
  plugin("p", "echo '{}'");
  await fails("internal", /gave the pod no address/);
  plugin("p", `echo '{"code":11,"msg":"later"}'; exit 1`);
  await fails("unavailable", /plugin p: later \(code 11\)/);
  plugin("p", `sleep 20 & echo $! > '${join(base, "pid")}'; wait`);
  await fails("deadline-exceeded", /CNI ADD of network t for pod shop\/web .*: plugin p: ADD: no answer after 400 ms/);
  const pid = readFileSync(join(base, "pid"), "utf8").trim();
  await sleep(20);
  assert.ok(
    !existsSync(`/proc/${pid}`) || / Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8")),
    "what the plugin had started is killed with it",
  );
  const reason = new Error("the caller went away");
  const controller = new AbortController();
  setTimeout(() => controller.abort(reason), 50);
  await assert.rejects(
    cni.add(attachment, pod, { signal: controller.signal }),
    (error) => error instanceof Error && error.cause instanceof Error,
  );
});

test("status: which file, or why none; a missing binary is told before a pod meets it", async () => {
  await begin();
  assert.deepEqual(cni.status(), {
    ready: false,
    reason: "NetworkPluginNotReady",
    message: `no CNI network: no .conflist, .conf or .json file in ${dirs().conf}`,
    networks: [],
  });
  assert.throws(
    () => cni.plan(pod),
    (error) => isKind(error, "failed-precondition") && /network of pod shop\/web: no CNI network/.test(error.message),
  );
  const settled = async (pattern: RegExp): Promise<void> => {
    for (let i = 0; i < 200 && !pattern.test(cni.status().message); i++) await sleep(10);
    assert.match(cni.status().message, pattern);
  };
  writeFileSync(join(dirs().conf, "10-t.conflist"), "{");
  await settled(/no usable file in .*10-t\.conflist: not JSON/);
  conf({ plugins: [{ type: "p" }] });
  await settled(/network t of .*10-t\.conflist: plugin p: not found/);
  assert.equal(cni.status().ready, false);
  plugin("p", result("10.0.0.1"));
  assert.deepEqual(cni.status(), {
    ready: true,
    reason: "",
    message: `CNI network t of ${join(dirs().conf, "10-t.conflist")}`,
    file: join(dirs().conf, "10-t.conflist"),
    networks: ["t"],
  });
  writeFileSync(join(dirs().conf, "00-x.conf"), "[]");
  await settled(/; not used: .*00-x\.conf: document/);
  assert.equal(cni.status().ready, true);
});

test("1.1.0: STATUS decides on readiness, GC gets the valid attachments, other runtimes' too; neither before, nor with disableGC", async () => {
  plugin("s", `[ $CNI_COMMAND = STATUS ] && { echo '{"code":50,"msg":"no route yet"}'; exit 1; }; exit 0`);
  plugin("g");
  conf({ cniVersions: ["1.0.0", "1.1.0"], plugins: [{ type: "s" }, { type: "g" }] });
  const results = join(base, "libcni/results");
  mkdirSync(results, { recursive: true });
  const cached = (name: string, info: object): void => writeFileSync(join(results, name), JSON.stringify(info));
  cached("t-b2-eth1", { kind: "cniCacheV1", containerId: "b2", ifName: "eth1", networkName: "t" });
  cached("t-x-c3-eth0", { kind: "cniCacheV1", containerId: "c3", ifName: "eth0", networkName: "t-x" });
  cached("t-d4-eth0", { cniVersion: "1.0.0" });
  writeFileSync(join(results, "t-e5-eth0"), "cut");
  await begin({ gc: true, libcniCache: join(base, "libcni") });
  assert.match(cni.status().message, /CNI STATUS of network t: plugin s: no route yet \(code 50\)/);
  assert.equal(cni.status().ready, false);
  const valid = [{ containerId: "a1", ifName: "eth0" }];
  await cni.gc(valid, options);
  assert.deepEqual(calls().slice(-2), ["GC-s", "GC-g"]);
  const wire = [
    { containerID: "a1", ifname: "eth0" },
    { containerID: "b2", ifname: "eth1" },
  ];
  assert.deepEqual(
    [given("GC-g")["cni.dev/valid-attachments"], given("GC-g")["cni.dev/attachments"], given("GC-g").cniVersion],
    [wire, wire, "1.1.0"],
  );
  plugin("s", `[ $CNI_COMMAND = GC ] && { echo broken >&2; exit 1; }; exit 0`);
  await assert.rejects(cni.gc(valid, options), /CNI GC of network t: plugin s: exit status 1; on stderr: broken/);
  assert.deepEqual(calls().slice(-2), ["GC-s", "GC-g"], "every plugin gets its turn");
  const before = calls().length;
  conf({ cniVersion: "1.1.0", disableGC: true, plugins: [{ type: "g" }] });
  for (let i = 0; i < 200 && !cni.status().ready; i++) await sleep(10);
  await cni.gc(valid, options);
  assert.ok(
    !calls()
      .slice(before)
      .some((call) => call.startsWith("GC")),
  );
});

test("GC is not run unless the configuration says that the network is crid's", async () => {
  plugin("g");
  conf({ cniVersion: "1.1.0", plugins: [{ type: "g" }] });
  await begin();
  await cni.gc([], options);
  assert.deepEqual(
    calls().filter((call) => call.startsWith("GC")),
    [],
  );
});

test("pod CIDRs reach plugins that can use them", async () => {
  plugin("p", result("10.0.0.1"));
  conf({ plugins: [{ type: "p", capabilities: { ipRanges: true } }] });
  await begin();
  cni.setPodCidr("10.9.0.0/24");
  assert.deepEqual(planOne().capabilityArgs, { ipRanges: [[{ subnet: "10.9.0.0/24" }]] });
  assert.throws(
    () => cni.setPodCidr("nope"),
    (error) => isKind(error, "invalid-argument"),
  );
});
