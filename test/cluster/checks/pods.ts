import assert from "node:assert/strict";
import { statusOf } from "../kubectl.ts";
import { agnhost, busybox, configMap, idle, job, pod, shell } from "../objects.ts";
import { type Check, type CheckContext, together } from "../runner.ts";

const done = (phase: string) => (object: { status?: { phase?: string } }) => object.status?.phase === phase;

/** Runs a script as a pod of its own to its end and answers what it printed. */
export async function output(
  { cluster, namespace, create }: CheckContext,
  script: string,
  options: { spec?: Record<string, unknown>; container?: Record<string, unknown>; name?: string } = {},
): Promise<string> {
  const { name = "once" } = options;
  await create(job(name, script, options.spec, options.container));
  const ended = await cluster.kubectl.pod(
    name,
    namespace,
    "over",
    (object) => ["Succeeded", "Failed"].includes(object.status?.phase ?? ""),
    90_000,
  );
  const text = await cluster.kubectl.logs(name, namespace);
  assert.equal(ended.status?.phase, "Succeeded", text);
  return text.trimEnd();
}

/** What a pod's containers see: files, environment, volumes, identity, limits. */
export const podChecks: readonly Check[] = [
  together("a pod runs; kubectl exec and logs reach it", async ({ cluster, namespace, run }) => {
    await run(pod("first", { containers: [shell("echo started; exec sleep 1000")] }));
    assert.equal(await cluster.kubectl.exec("first", namespace, ["echo", "hello"]), "hello\n");
    assert.equal(await cluster.kubectl.logs("first", namespace), "started\n");
  }),

  together("environment: downward API, ConfigMap, Secret, service links", async (context) => {
    const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "s" }, stringData: { password: "hunter2" } };
    await context.run(configMap("c", { color: "blue" }), secret);
    const env = [
      { name: "POD", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
      { name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
      { name: "NODE", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
      { name: "LIMIT", valueFrom: { resourceFieldRef: { resource: "limits.memory" } } },
      { name: "COLOR", valueFrom: { configMapKeyRef: { name: "c", key: "color" } } },
      { name: "PASSWORD", valueFrom: { secretKeyRef: { name: "s", key: "password" } } },
    ];
    const container = { env, resources: { limits: { memory: "64Mi" } } };
    const text = await output(context, 'echo "$POD $NODE $LIMIT $COLOR $PASSWORD $KUBERNETES_SERVICE_HOST"; echo "$IP"; hostname -i', {
      container,
      spec: { enableServiceLinks: true },
    });
    const [line, ip, own] = text.split("\n");
    assert.match(line ?? "", /^once node\d 67108864 blue hunter2 10\.96\.0\.1$/);
    assert.equal(ip, own?.trim());
  }),

  together("volumes: ConfigMap, Secret, projected token, downward API; updates arrive", async (context) => {
    const { cluster, namespace } = context;
    const sources = [
      { configMap: { name: "c" } },
      { downwardAPI: { items: [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }] } },
      { serviceAccountToken: { path: "token", expirationSeconds: 3600 } },
    ];
    const volumeMounts = [{ name: "all", mountPath: "/all" }];
    await context.run(
      configMap("c", { color: "blue" }),
      pod("p", { containers: [idle({ volumeMounts })], volumes: [{ name: "all", projected: { sources } }] }),
    );
    assert.equal(await cluster.kubectl.exec("p", namespace, ["cat", "/all/color"]), "blue");
    assert.match(await cluster.kubectl.exec("p", namespace, ["cat", "/all/labels"]), /app="p"/);
    assert.match(await cluster.kubectl.exec("p", namespace, ["cat", "/all/token"]), /^ey/);
  }),

  together("volumes: emptyDir in memory with a size, subPath, subPathExpr, read-only", async (context) => {
    const volumes = [
      { name: "memory", emptyDir: { medium: "Memory", sizeLimit: "8Mi" } },
      { name: "disk", emptyDir: {} },
    ];
    const volumeMounts = [
      { name: "memory", mountPath: "/memory" },
      { name: "disk", mountPath: "/sub", subPath: "a/b" },
      { name: "disk", mountPath: "/expr", subPathExpr: "x-$(POD)" },
      { name: "disk", mountPath: "/all", readOnly: true },
    ];
    const env = [{ name: "POD", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }];
    const script = "df /memory | tail -n1; echo 1 >/sub/f; echo 2 >/expr/f; cat /all/a/b/f /all/x-once/f; touch /all/no 2>&1 || true";
    const text = await output(context, script, { container: { volumeMounts, env }, spec: { volumes } });
    assert.match(text, /^tmpfs\s+8192 /);
    assert.match(text, /\n1\n2\n.*Read-only file system/);
  }),

  together("volumes: hostPath with mount propagation from the host and back", async ({ cluster, namespace, run }) => {
    const node = cluster.worker;
    await node.shell("mkdir -p /var/tmp/propagation");
    const container = idle({
      securityContext: { privileged: true },
      volumeMounts: [{ name: "host", mountPath: "/host", mountPropagation: "Bidirectional" }],
    });
    await run(
      pod("p", { nodeName: node.name, containers: [container], volumes: [{ name: "host", hostPath: { path: "/var/tmp/propagation" } }] }),
    );
    await node.shell(
      "mkdir -p /var/tmp/propagation/down && mount -t tmpfs down /var/tmp/propagation/down && touch /var/tmp/propagation/down/file",
    );
    assert.equal(await cluster.kubectl.exec("p", namespace, ["ls", "/host/down"]), "file\n");
    await cluster.kubectl.exec("p", namespace, ["sh", "-c", "mkdir -p /host/up && mount -t tmpfs up /host/up && touch /host/up/file"]);
    assert.equal(await node.shell("ls /var/tmp/propagation/up"), "file\n");
    await node.shell("umount /var/tmp/propagation/up /var/tmp/propagation/down");
  }),

  together("volumes: an image as a volume", async (context) => {
    const volumes = [{ name: "image", image: { reference: busybox, pullPolicy: "IfNotPresent" } }];
    const text = await output(context, "ls /image/bin/busybox; touch /image/no 2>&1 || true", {
      container: { volumeMounts: [{ name: "image", mountPath: "/image" }] },
      spec: { volumes },
    });
    assert.match(text, /^\/image\/bin\/busybox\n.*Read-only file system/);
  }),

  together("volumes: an image as a volume with subPath", async (context) => {
    const volumes = [{ name: "image", image: { reference: busybox, pullPolicy: "IfNotPresent" } }];
    const text = await output(context, "ls /image/busybox", {
      container: { volumeMounts: [{ name: "image", mountPath: "/image", subPath: "bin" }] },
      spec: { volumes },
    });
    assert.equal(text, "/image/busybox");
  }),

  together("volumes: recursive read-only mounts", async (context) => {
    const { cluster } = context;
    const node = cluster.worker;
    await node.shell("mkdir -p /var/tmp/rro/below && { mountpoint -q /var/tmp/rro/below || mount -t tmpfs rro /var/tmp/rro/below; }");
    const text = await output(context, "touch /rro/below/f 2>&1 || true; touch /ro/below/f 2>&1 && echo written", {
      container: {
        volumeMounts: [
          { name: "h", mountPath: "/rro", readOnly: true, recursiveReadOnly: "Enabled" },
          { name: "h", mountPath: "/ro", readOnly: true },
        ],
      },
      spec: { nodeName: node.name, volumes: [{ name: "h", hostPath: { path: "/var/tmp/rro" } }] },
    });
    await node.shell("umount /var/tmp/rro/below");
    assert.match(text, /Read-only file system\nwritten/);
  }),

  together("identity: runAsUser, runAsGroup, fsGroup, supplemental groups", async (context) => {
    const spec = {
      securityContext: { runAsUser: 1001, runAsGroup: 2001, fsGroup: 3001, supplementalGroups: [4001] },
      volumes: [{ name: "v", emptyDir: {} }],
    };
    const text = await output(context, "id -u; id -g; id -G; touch /v/f; stat -c %g /v/f", {
      spec,
      container: { volumeMounts: [{ name: "v", mountPath: "/v" }] },
    });
    const [user, group, groups, owner] = text.split("\n");
    assert.deepEqual([user, group, owner], ["1001", "2001", "3001"]);
    assert.deepEqual(new Set(groups?.split(" ")), new Set(["2001", "3001", "4001"]));
  }),

  together("identity: supplementalGroupsPolicy Merge and Strict, and the user in the status", async (context) => {
    const { cluster, namespace } = context;
    const image = "gcr.io/k8s-staging-cri-tools/test-image-predefined-group:latest";
    const of = (policy: string): object =>
      pod(policy.toLowerCase(), {
        securityContext: { runAsUser: 1000, supplementalGroups: [60000], supplementalGroupsPolicy: policy },
        containers: [idle({ image })],
      });
    const [merge, strict] = await context.run(of("Merge"), of("Strict"));
    assert.equal(await cluster.kubectl.exec("merge", namespace, ["id", "-G"]), "1000 50000 60000\n");
    assert.equal(await cluster.kubectl.exec("strict", namespace, ["id", "-G"]), "1000 60000\n");
    assert.ok(merge !== undefined && strict !== undefined);
    assert.deepEqual(statusOf(strict).user?.linux, { uid: 1000, gid: 1000, supplementalGroups: [1000, 60000] });
  }),

  together("security: capabilities, privileged, read-only root, no new privileges", async (context) => {
    const script = "grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; touch /x 2>&1 || true";
    const few = await output(context, script, {
      name: "few",
      container: {
        securityContext: { capabilities: { drop: ["ALL"], add: ["CHOWN"] }, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false },
      },
    });
    assert.match(few, /CapEff:\t0000000000000001\nNoNewPrivs:\t1\nSeccomp:\t0\n.*Read-only file system/);
    const all = await output(
      context,
      "grep CapEff /proc/self/status; ls /dev/kmsg; mount -t tmpfs x /mnt 2>/dev/null || mkdir -p /mnt && mount -t tmpfs x /mnt && echo mounted",
      {
        name: "all",
        container: { securityContext: { privileged: true } },
      },
    );
    assert.match(all, /\/dev\/kmsg\nmounted/);
  }),

  together("security: seccomp RuntimeDefault and a profile on the node", async (context) => {
    const { cluster } = context;
    const seccomp = (profile: object): Record<string, unknown> => ({ container: { securityContext: { seccompProfile: profile } } });
    assert.match(
      await output(context, "grep Seccomp: /proc/self/status", { name: "default", ...seccomp({ type: "RuntimeDefault" }) }),
      /2$/,
    );
    const node = cluster.worker;
    const profile = { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO" }] };
    await node.write("/var/lib/kubelet/seccomp/nomkdir.json", JSON.stringify(profile));
    const text = await output(context, "mkdir /new 2>&1 || true", {
      name: "local",
      spec: { nodeName: node.name },
      ...seccomp({ type: "Localhost", localhostProfile: "nomkdir.json" }),
    });
    assert.match(text, /Operation not permitted/);
  }),

  together("security: safe sysctls of a pod", async (context) => {
    const sysctls = [
      { name: "kernel.shm_rmid_forced", value: "1" },
      { name: "net.ipv4.ip_unprivileged_port_start", value: "443" },
    ];
    const text = await output(context, "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_unprivileged_port_start", {
      spec: { securityContext: { sysctls } },
    });
    assert.equal(text, "1\n443");
  }),

  together("user namespaces: hostUsers false, with volumes and exec", async ({ cluster, namespace, run }) => {
    const container = idle({
      volumeMounts: [
        { name: "v", mountPath: "/v" },
        { name: "c", mountPath: "/c" },
      ],
    });
    const volumes = [
      { name: "v", emptyDir: {} },
      { name: "c", configMap: { name: "c" } },
    ];
    await run(configMap("c", { color: "blue" }), pod("p", { hostUsers: false, containers: [container], volumes }));
    const map = await cluster.kubectl.exec("p", namespace, ["cat", "/proc/self/uid_map"]);
    assert.match(map, /^\s*0\s+[1-9]\d+\s+65536\s*$/);
    const text = await cluster.kubectl.exec("p", namespace, ["sh", "-c", "id -u; touch /v/f && stat -c %u /v/f; cat /c/color"]);
    assert.equal(text, "0\n0\nblue");
  }),

  together("init containers in their order, a sidecar before and after", async ({ cluster, namespace, create }) => {
    const volumeMounts = [{ name: "v", mountPath: "/v" }];
    const step = (name: string, script: string, more: object = {}): object => shell(script, { name, volumeMounts, ...more });
    const spec = {
      restartPolicy: "Never",
      volumes: [{ name: "v", emptyDir: {} }],
      initContainers: [
        step("one", "echo one >>/v/log"),
        step("sidecar", "echo sidecar >>/v/log; trap 'exit 0' TERM; while :; do sleep 0.2; done", { restartPolicy: "Always" }),
        step("two", "sleep 0.5; echo two >>/v/log"),
      ],
      containers: [step("main", "echo main >>/v/log; cat /v/log")],
    };
    await create(pod("p", spec));
    await cluster.kubectl.pod("p", namespace, "Succeeded", done("Succeeded"));
    assert.equal(await cluster.kubectl.logs("p", namespace, "-c", "main"), "one\nsidecar\ntwo\nmain\n");
  }),

  together("a Job runs to completion, three pods, with a failure retried", async ({ cluster, namespace, run }) => {
    const template = {
      spec: {
        restartPolicy: "OnFailure",
        terminationGracePeriodSeconds: 1,
        containers: [shell("[ -e /v/ok ] || { touch /v/ok; exit 3; }", { volumeMounts: [{ name: "v", mountPath: "/v" }] })],
        volumes: [{ name: "v", emptyDir: {} }],
      },
    };
    await run({ apiVersion: "batch/v1", kind: "Job", metadata: { name: "j" }, spec: { completions: 3, parallelism: 3, template } });
    await cluster.kubectl.run(["wait", "--for=condition=complete", "job/j", "-n", namespace, "--timeout=80s"], { timeoutMs: 90_000 });
  }),

  together("namespaces of the host: hostNetwork, hostPID, hostIPC", async ({ cluster, namespace, run }) => {
    const [object] = await run(pod("p", { hostNetwork: true, hostPID: true, hostIPC: true, nodeName: cluster.worker.name }));
    assert.equal(object?.status?.podIP, cluster.worker.address);
    assert.equal(await cluster.kubectl.exec("p", namespace, ["hostname"]), `${cluster.worker.name}\n`);
    assert.match(await cluster.kubectl.exec("p", namespace, ["ps"]), /kubelet/);
  }),

  together("shareProcessNamespace: containers see each other and pause is pid 1", async ({ cluster, namespace, run }) => {
    await run(pod("p", { shareProcessNamespace: true, containers: [idle(), shell("exec sleep 54321", { name: "other" })] }));
    const list = await cluster.kubectl.exec("p", namespace, ["ps"], { container: "main" });
    assert.match(list, /^\s*1 \S+\s+\S+ \S*pause/m);
    assert.match(list, /sleep 54321/);
  }),

  together("names: hostAliases, hostname and subdomain, dnsPolicy None", async ({ cluster, namespace, run }) => {
    const spec = {
      hostname: "named",
      subdomain: "sub",
      hostAliases: [{ ip: "192.0.2.1", hostnames: ["alias.test"] }],
      dnsPolicy: "None",
      dnsConfig: { nameservers: ["192.0.2.53"], searches: ["search.test"], options: [{ name: "ndots", value: "3" }] },
    };
    await run(pod("p", spec));
    const text = await cluster.kubectl.exec("p", namespace, ["cat", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname"]);
    assert.match(text, /192\.0\.2\.1\s+alias\.test/);
    assert.match(text, new RegExp(`named\\.sub\\.${namespace}\\.svc\\.cluster\\.local\\s+named`));
    assert.match(text, /nameserver 192\.0\.2\.53/);
    assert.match(text, /search search\.test\n/);
    assert.match(text, /options ndots:3/);
    assert.match(text, /named\n$/);
  }),

  together("limits: memory and cpu reach the cgroup, out of memory is OOMKilled with 137", async (context) => {
    const { cluster, namespace } = context;
    const resources = { limits: { memory: "32Mi", cpu: "200m" } };
    const script =
      "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max; cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cat /sys/fs/cgroup/cpu.max";
    assert.match(await output(context, script, { container: { resources } }), /^33554432\n20000/);
    await context.create(job("oom", "tail /dev/zero", {}, { resources }));
    const dead = statusOf(await cluster.kubectl.pod("oom", namespace, "Failed", done("Failed"))).state.terminated;
    assert.deepEqual([dead?.reason, dead?.exitCode], ["OOMKilled", 137]);
  }),

  together("entrypoint, arguments and expansion of variables", async (context) => {
    const { cluster, namespace } = context;
    const container = {
      name: "main",
      image: agnhost,
      args: ["entrypoint-tester", "$(COLOR)", "$$(COLOR)", "two words"],
      env: [{ name: "COLOR", value: "blue" }],
    };
    await context.create(pod("p", { restartPolicy: "Never", containers: [container] }));
    await cluster.kubectl.pod("p", namespace, "Succeeded", done("Succeeded"));
    assert.match(await cluster.kubectl.logs("p", namespace), /\[\/agnhost entrypoint-tester blue \$\(COLOR\) two words\]/);
  }),
];
