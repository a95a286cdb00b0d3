import assert from "node:assert/strict";
import { isReady, type KubeObject, statusOf } from "../kubectl.ts";
import { agnhost, busybox, idle, job, nginx, pod, shell } from "../objects.ts";
import { type Check, type CheckContext, together } from "../runner.ts";
import { pause, until } from "../shell.ts";

const waiting =
  (reason: string, name = "main") =>
  (object: KubeObject) =>
    object.status?.containerStatuses?.some((status) => status.name === name && status.state.waiting?.reason === reason) === true;

const ended = (object: KubeObject): boolean => ["Succeeded", "Failed"].includes(object.status?.phase ?? "");

/** Kills the pause process (the first of the pod's shim) on the node as a crash would, and answers its sandbox's id. */
async function killPause({ cluster, namespace }: CheckContext, name: string): Promise<string> {
  const object = await cluster.kubectl.get("pod", name, namespace);
  const node = cluster.nodes.find((each) => each.name === object.spec?.nodeName);
  assert.ok(node !== undefined);
  const id = (await node.run(["crictl", "pods", "-q", "--namespace", namespace, "--name", name, "--state", "ready"])).trim();
  const { info } = JSON.parse(await node.run(["crictl", "inspectp", id])) as { info: { pid: number } };
  await node.run(["kill", "-KILL", String(info.pid)]);
  return id;
}

/** How containers and pods begin, end, fail and come back. */
export const lifecycleChecks: readonly Check[] = [
  together("a container that fails is started again, with backoff and its exit code", async ({ cluster, namespace, create }) => {
    await create(pod("p", { containers: [shell("exit 7")] }));
    const again = (each: KubeObject): boolean => statusOf(each).restartCount >= 2 && statusOf(each).lastState.terminated !== undefined;
    const object = await cluster.kubectl.pod("p", namespace, "restarted twice", again, 90_000);
    assert.equal(statusOf(object).lastState.terminated?.exitCode, 7);
    assert.equal(statusOf(object).lastState.terminated?.reason, "Error");
    const events = await cluster.kubectl.events("p", namespace);
    assert.ok(events.some(({ reason }) => reason === "BackOff"));
  }),

  together("termination messages: from the file, and from the log on an error", async ({ cluster, namespace, create }) => {
    await create(
      job("file", "echo bye >/dev/termination-log"),
      job("log", "echo from the log; exit 1", {}, { terminationMessagePolicy: "FallbackToLogsOnError" }),
    );
    const file = await cluster.kubectl.pod("file", namespace, "over", ended);
    assert.equal(statusOf(file).state.terminated?.message, "bye\n");
    const log = await cluster.kubectl.pod("log", namespace, "over", ended);
    assert.equal(statusOf(log).state.terminated?.message, "from the log\n");
  }),

  together(
    "an image that is not there: ErrImagePull names the image and what each endpoint said",
    async ({ cluster, namespace, create }) => {
      await create(pod("p", { containers: [idle({ image: "registry.k8s.io/no/such:1" })] }));
      await cluster.kubectl.pod(
        "p",
        namespace,
        "refused",
        (object) => waiting("ErrImagePull")(object) || waiting("ImagePullBackOff")(object),
      );
      const events = await cluster.kubectl.events("p", namespace);
      const failed = events.find(({ reason, message }) => reason === "Failed" && message.includes("Failed to pull image"));
      assert.match(failed?.message ?? "", /registry\.k8s\.io\/no\/such:1.*not found/is);
    },
  ),

  together("an image name that is wrong: InvalidImageName", async ({ cluster, namespace, create }) => {
    await create(pod("p", { containers: [idle({ image: "Registry.K8s.io/UPPER:1" })] }));
    await cluster.kubectl.pod("p", namespace, "refused", waiting("InvalidImageName"));
  }),

  together("an image policy Never without the image: ErrImageNeverPull", async ({ cluster, namespace, create }) => {
    await create(pod("p", { containers: [idle({ image: "registry.k8s.io/never/pulled:1", imagePullPolicy: "Never" })] }));
    await cluster.kubectl.pod("p", namespace, "refused", waiting("ErrImageNeverPull"));
  }),

  together("a command that is not there: StartError with exit code 128 and its name", async ({ cluster, namespace, create }) => {
    await create(job("p", "", {}, { command: ["/no/such/command"] }));
    const object = await cluster.kubectl.pod("p", namespace, "over", ended);
    const dead = statusOf(object).state.terminated;
    assert.deepEqual([dead?.reason, dead?.exitCode], ["StartError", 128]);
    assert.match(dead?.message ?? "", /\/no\/such\/command/);
  }),

  together("a ConfigMap that is not there: CreateContainerConfigError, and well once it is", async ({ cluster, namespace, create }) => {
    await create(pod("p", { containers: [idle({ envFrom: [{ configMapRef: { name: "late" } }] })] }));
    await cluster.kubectl.pod("p", namespace, "refused", waiting("CreateContainerConfigError"));
    await create({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "late" }, data: { A: "b" } });
    await cluster.kubectl.ready("p", namespace, 90_000);
  }),

  together("hooks: postStart before Ready, preStop before SIGTERM, both visible in the log", async ({ cluster, namespace, run }) => {
    const lifecycle = {
      postStart: { exec: { command: ["sh", "-c", "sleep 0.5; echo postStart >/proc/1/fd/1"] } },
      preStop: { exec: { command: ["sh", "-c", "echo preStop >/proc/1/fd/1; sleep 0.5"] } },
    };
    const script = "trap 'echo TERM; sleep 0.5; exit 0' TERM; while :; do sleep 0.1; done";
    await run(pod("p", { containers: [shell(script, { lifecycle })], terminationGracePeriodSeconds: 10 }));
    const log = cluster.kubectl.logs("p", namespace, "-f");
    await pause(500);
    await cluster.kubectl.run(["delete", "pod", "p", "-n", namespace]);
    assert.equal(await log, "postStart\npreStop\nTERM\n");
  }),

  together("a failing postStart kills the container and says so", async ({ cluster, namespace, create }) => {
    await create(
      pod("p", { containers: [idle({ lifecycle: { postStart: { exec: { command: ["sh", "-c", "echo broken; exit 5"] } } } })] }),
    );
    await until("the event of the hook", 60_000, async () => {
      const events = await cluster.kubectl.events("p", namespace);
      return events.some(({ reason }) => reason === "FailedPostStartHook") ? true : undefined;
    });
  }),

  together("deletion: the grace period is kept, then SIGKILL; one that heeds TERM ends at once", async ({ cluster, namespace, run }) => {
    await run(
      pod("deaf", { containers: [shell("trap '' TERM; while :; do sleep 1; done")], terminationGracePeriodSeconds: 3 }),
      pod("good", { terminationGracePeriodSeconds: 30 }),
    );
    const timed = async (name: string): Promise<number> => {
      const start = performance.now();
      await cluster.kubectl.run(["delete", "pod", name, "-n", namespace]);
      return (performance.now() - start) / 1000;
    };
    const [deaf, good] = await Promise.all([timed("deaf"), timed("good")]);
    assert.ok(deaf >= 3 && deaf < 20, `deaf took ${deaf} s`);
    assert.ok(good < 15, `good took ${good} s`);
  }),

  together("stop signals: the image's own, and the pod's before it", async ({ cluster, namespace, run }) => {
    const traps =
      "trap 'echo QUIT; exit 0' QUIT; trap 'echo TERM; exit 0' TERM; trap 'echo USR1; exit 0' USR1; while :; do sleep 0.1; done";
    // The nginx image says STOPSIGNAL SIGQUIT.
    await run(pod("image", { containers: [shell(traps, { image: nginx })] }));
    const log = cluster.kubectl.logs("image", namespace, "-f");
    await pause(500);
    await cluster.kubectl.run(["delete", "pod", "image", "-n", namespace]);
    assert.equal(await log, "QUIT\n");
    // The pod's own word goes before the image's; it wants the name of the system.
    await run(pod("spec", { os: { name: "linux" }, containers: [shell(traps, { image: nginx, lifecycle: { stopSignal: "SIGUSR1" } })] }));
    assert.equal(statusOf(await cluster.kubectl.get("pod", "spec", namespace)).stopSignal, "SIGUSR1");
    const second = cluster.kubectl.logs("spec", namespace, "-f");
    await pause(500);
    await cluster.kubectl.run(["delete", "pod", "spec", "-n", namespace]);
    assert.equal(await second, "USR1\n");
  }),

  together("a pod deleted while its image is being pulled goes away", async ({ cluster, namespace, create }) => {
    await create(pod("p", { containers: [idle({ image: "registry.k8s.io/no/such:2" })] }));
    await cluster.kubectl.pod("p", namespace, "scheduled", (object) => object.spec?.nodeName !== undefined);
    await cluster.kubectl.run(["delete", "pod", "p", "-n", namespace, "--timeout=60s"]);
  }),

  together("activeDeadlineSeconds ends a pod: DeadlineExceeded", async ({ cluster, namespace, create }) => {
    await create(pod("p", { activeDeadlineSeconds: 2, restartPolicy: "Never" }));
    const object = await cluster.kubectl.pod("p", namespace, "Failed", (each) => each.status?.phase === "Failed");
    assert.equal(object.status?.reason, "DeadlineExceeded");
  }),

  together("a pod whose pause is killed comes back with a new sandbox", async (context) => {
    const { cluster, namespace, run } = context;
    await run(pod("p"));
    const before = await killPause(context, "p");
    await cluster.kubectl.pod(
      "p",
      namespace,
      "restarted",
      (object) => isReady(object) && (object.status?.containerStatuses?.[0]?.restartCount ?? 0) > 0,
      90_000,
    );
    const node = cluster.nodes.find((each) => each.name !== undefined);
    assert.ok(node !== undefined && before !== "");
    assert.equal(await cluster.kubectl.exec("p", namespace, ["echo", "back"]), "back\n");
  }),

  together("resize in place: cpu and memory change without a restart", async ({ cluster, namespace, run }) => {
    const resources = { requests: { cpu: "100m", memory: "32Mi" }, limits: { cpu: "200m", memory: "64Mi" } };
    const resizePolicy = ["cpu", "memory"].map((resourceName) => ({ resourceName, restartPolicy: "NotRequired" }));
    await run(pod("p", { containers: [idle({ resources, resizePolicy })] }));
    const patch = {
      spec: {
        containers: [{ name: "main", resources: { requests: { cpu: "150m", memory: "48Mi" }, limits: { cpu: "300m", memory: "96Mi" } } }],
      },
    };
    await cluster.kubectl.run([
      "patch",
      "pod",
      "p",
      "-n",
      namespace,
      "--subresource=resize",
      "--type=strategic",
      "-p",
      JSON.stringify(patch),
    ]);
    const object = await cluster.kubectl.pod(
      "p",
      namespace,
      "resized",
      (each) => statusOf(each).resources?.limits?.memory === "96Mi" && statusOf(each).resources?.limits?.cpu === "300m",
      90_000,
    );
    assert.equal(statusOf(object).restartCount, 0);
    const read =
      "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max; cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cat /sys/fs/cgroup/cpu.max";
    assert.match(await cluster.kubectl.exec("p", namespace, ["sh", "-c", read]), /^100663296\n30000/);
  }),

  together("resources of a whole pod bound its containers together", async ({ cluster, namespace, run }) => {
    await run(pod("p", { resources: { limits: { memory: "48Mi", cpu: "500m" }, requests: { memory: "48Mi", cpu: "100m" } } }));
    const object = await cluster.kubectl.get("pod", "p", namespace);
    const node = cluster.nodes.find((each) => each.name === object.spec?.nodeName);
    assert.ok(node !== undefined);
    const read = `cat /sys/fs/cgroup/memory${node.cgroup}/kubepods/burstable/pod${object.metadata.uid}/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup${node.cgroup}/kubepods/burstable/pod${object.metadata.uid}/memory.max`;
    assert.equal((await node.shell(`${read} || true`)).trim(), String(48 * 2 ** 20));
  }),

  together("RuntimeClass: a second handler runs, an unknown one is refused by name", async ({ cluster, namespace, create }) => {
    const runtimeClass = (name: string, handler: string): object => ({
      apiVersion: "node.k8s.io/v1",
      kind: "RuntimeClass",
      metadata: { name: `${namespace}-${name}` },
      handler,
    });
    await cluster.kubectl.apply(runtimeClass("second", "second"), runtimeClass("unknown", "no-such-handler"));
    await create(pod("second", { runtimeClassName: `${namespace}-second` }), pod("unknown", { runtimeClassName: `${namespace}-unknown` }));
    await cluster.kubectl.ready("second", namespace);
    const message = await until(
      "the refusal",
      60_000,
      async () => (await cluster.kubectl.events("unknown", namespace)).find(({ reason }) => reason === "FailedCreatePodSandBox")?.message,
    );
    assert.match(message, /no-such-handler/);
    await cluster.kubectl.run(["delete", "runtimeclass", `${namespace}-second`, `${namespace}-unknown`]);
  }),

  together("a static pod runs, changes and goes with its file", async ({ cluster, namespace }) => {
    const node = cluster.worker;
    const name = `static-${namespace}`;
    const manifest = (color: string): string =>
      JSON.stringify({ ...pod(name, { containers: [idle({ env: [{ name: "COLOR", value: color }] })] }), metadata: { name, namespace } });
    const file = `/etc/kubernetes/manifests/${name}.json`;
    await node.write(file, manifest("blue"));
    const mirror = `${name}-${node.name}`;
    await cluster.kubectl.ready(mirror, namespace, 90_000);
    assert.equal(await cluster.kubectl.exec(mirror, namespace, ["sh", "-c", "echo $COLOR"]), "blue\n");
    await node.write(file, manifest("green"));
    await until("the changed static pod", 90_000, async () =>
      (await cluster.kubectl.exec(mirror, namespace, ["sh", "-c", "echo $COLOR"])) === "green\n" ? true : undefined,
    );
    await node.run(["rm", file]);
    await until("the static pod to go", 90_000, async () =>
      (await node.run(["crictl", "pods", "-q", "--name", name])).trim() === "" ? true : undefined,
    );
  }),

  together("the id, the image and its digest in the status are the runtime's", async ({ run }) => {
    const [object] = await run(pod("p", { containers: [{ name: "main", image: agnhost, args: ["pause"] }] }));
    assert.ok(object !== undefined);
    const status = statusOf(object);
    assert.match(status.containerID ?? "", /^\w+:\/\/[0-9a-f]{64}$/);
    assert.match(status.imageID, /^(\S+@)?sha256:[0-9a-f]{64}$/);
    assert.ok(status.image === agnhost || status.image.startsWith("sha256:"), status.image);
    assert.notEqual(busybox, status.image);
  }),
];
