import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Cluster } from "../cluster.ts";
import { isReady, type KubeObject, statusOf } from "../kubectl.ts";
import { agnhost, busybox, idle, nginx, pod, shell } from "../objects.ts";
import { type Check, together } from "../runner.ts";
import { must, pause, until } from "../shell.ts";

const sha = (data: Buffer): string => createHash("sha256").update(data).digest("hex");

/** Runs kubectl port-forward while `use` runs; gives it the local port, in the nodes' network. */
async function forwarded(cluster: Cluster, args: string[], use: (port: string) => Promise<void>): Promise<void> {
  const [file = "", ...rest] = cluster.kubectl.argv(["port-forward", ...args]);
  const child = spawn(file, rest, { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
  try {
    const port = await until(
      "port-forward",
      30_000,
      () => Promise.resolve(/127\.0\.0\.1:(\d+) ->/.exec(text)?.[1]),
      () => Promise.resolve(text),
    );
    await use(port);
  } finally {
    child.kill("SIGKILL");
  }
}

/** logs, exec, attach, cp, port-forward, debug, top: everything that goes through a stream or the log files. */
export const streamChecks: readonly Check[] = [
  together(
    "kubectl logs: all, --tail, --since, --timestamps, --previous, of one container of two",
    async ({ cluster, namespace, create, run }) => {
      const { kubectl } = cluster;
      await run(
        pod("p", {
          containers: [
            shell("for i in 1 2 3; do echo line $i; done; sleep 0.1; echo err >&2; exec sleep 1000"),
            shell("echo other; exec sleep 1000", { name: "other" }),
          ],
        }),
      );
      assert.equal(await kubectl.logs("p", namespace, "-c", "main"), "line 1\nline 2\nline 3\nerr\n");
      assert.equal(await kubectl.logs("p", namespace, "-c", "main", "--tail=2"), "line 3\nerr\n");
      assert.equal(await kubectl.logs("p", namespace, "-c", "other", "--since=1h"), "other\n");
      assert.match(await kubectl.logs("p", namespace, "-c", "other", "--timestamps"), /^\d{4}-\d\d-\d\dT[\d:.]+Z other\n$/);
      await create(
        pod("q", {
          containers: [
            shell("[ -e /v/second ] && { echo second; exec sleep 1000; }; touch /v/second; echo first; exit 1", {
              volumeMounts: [{ name: "v", mountPath: "/v" }],
            }),
          ],
          volumes: [{ name: "v", emptyDir: {} }],
        }),
      );
      // Ready alone may still be the first container.
      const restarted = (object: KubeObject): boolean => isReady(object) && statusOf(object).lastState.terminated !== undefined;
      await kubectl.pod("q", namespace, "restarted", restarted);
      assert.equal(await kubectl.logs("q", namespace, "--previous"), "first\n");
      assert.equal(await kubectl.logs("q", namespace), "second\n");
    },
  ),

  together("kubectl logs -f follows to the end of the container", async ({ cluster, namespace, create }) => {
    await create(pod("p", { restartPolicy: "Never", containers: [shell("for i in 1 2 3 4 5; do echo $i; sleep 0.5; done")] }));
    await cluster.kubectl.pod("p", namespace, "running", (object) => object.status?.phase !== "Pending");
    assert.equal(await cluster.kubectl.logs("p", namespace, "-f"), "1\n2\n3\n4\n5\n");
  }),

  together("kubectl logs: long lines, partial lines and 20,000 lines arrive whole", async ({ cluster, namespace, create }) => {
    const script = "head -c 100000 /dev/zero | tr '\\0' x; echo; seq 20000; printf end";
    await create(pod("p", { restartPolicy: "Never", containers: [shell(script)] }));
    await cluster.kubectl.pod("p", namespace, "over", (object) => object.status?.phase === "Succeeded");
    const lines = (await cluster.kubectl.logs("p", namespace)).split("\n");
    // The kubelet has rotated nothing yet: 100 KB and 108 KB.
    assert.equal(lines[0]?.length, 100_000);
    assert.equal(lines.length, 20_002);
    assert.equal(lines.at(-1), "end");
  }),

  together("kubectl exec: stdin, exit code, stderr apart, 20 MB both ways", async ({ cluster, namespace, run }) => {
    const { kubectl } = cluster;
    await run(pod("p"));
    assert.equal(await kubectl.exec("p", namespace, ["cat"], { input: "typed" }), "typed");
    const failed = await kubectl.try(["exec", "p", "-n", namespace, "--", "sh", "-c", "echo out; echo err >&2; exit 42"]);
    assert.equal(failed.status, 42);
    assert.equal(failed.stdout, "out\n");
    assert.match(failed.stderr, /^err\n/);
    const directory = mkdtempSync(join(tmpdir(), "cluster-exec-"));
    try {
      const data = randomBytes(20 << 20);
      writeFileSync(join(directory, "in"), data);
      const argv = kubectl.argv(["exec", "-i", "p", "-n", namespace, "--", "cat"]);
      await must(["sh", "-c", `"$@" <${directory}/in >${directory}/out`, "sh", ...argv], { timeoutMs: 120_000 });
      assert.equal(sha(readFileSync(join(directory, "out"))), sha(data));
    } finally {
      rmSync(directory, { recursive: true });
    }
  }),

  together("kubectl exec -t: a terminal with a size", async ({ cluster, namespace, run }) => {
    await run(pod("p"));
    const argv = cluster.kubectl.argv(["exec", "-it", "p", "-n", namespace, "--", "sh", "-c", "tty; sleep 0.5; stty size; echo done"]);
    // `script` types an end-of-file character of its own, which the terminal may show.
    const quoted = argv.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
    const text = await must(["script", "-qec", `stty rows 30 cols 100; ${quoted}`, "/dev/null"]);
    assert.match(text, /\/dev\/pts\/\d+\r?\n(\^@)?30 100\r?\ndone/);
  }),

  together("kubectl exec: a command that is not there says so", async ({ cluster, namespace, run }) => {
    await run(pod("p"));
    const failed = await cluster.kubectl.try(["exec", "p", "-n", namespace, "--", "no-such-command"]);
    assert.notEqual(failed.status, 0);
    assert.match(failed.stderr, /no-such-command/);
  }),

  together("kubectl attach: output from now on, and stdin", async ({ cluster, namespace, run }) => {
    await run(
      pod("p", {
        restartPolicy: "Never",
        containers: [shell("while read line; do echo got $line; [ $line = end ] && break; done", { stdin: true, stdinOnce: true })],
      }),
    );
    const { stdout, stderr } = await cluster.kubectl.try(["attach", "-i", "p", "-n", namespace], {
      input: "one\nend\n",
      timeoutMs: 30_000,
    });
    assert.match(stdout, /got one\ngot end\n/, stderr);
    await cluster.kubectl.pod("p", namespace, "over", (object) => object.status?.phase === "Succeeded");
  }),

  together("kubectl cp: to a pod and back", async ({ cluster, namespace, run }) => {
    await run(pod("p"));
    const directory = mkdtempSync(join(tmpdir(), "cluster-cp-"));
    try {
      const data = randomBytes(3 << 20);
      writeFileSync(join(directory, "in"), data);
      await cluster.kubectl.run(["cp", join(directory, "in"), `${namespace}/p:/tmp/copied`]);
      await cluster.kubectl.run(["cp", `${namespace}/p:/tmp/copied`, join(directory, "out")]);
      assert.equal(sha(readFileSync(join(directory, "out"))), sha(data));
    } finally {
      rmSync(directory, { recursive: true });
    }
  }),

  together("kubectl port-forward: to a pod, twice over one connection, 5 MB", async ({ cluster, namespace, run }) => {
    await run(
      pod("p", {
        containers: [
          { name: "main", image: nginx },
          { name: "net", image: agnhost, args: ["netexec"] },
        ],
      }),
    );
    await forwarded(cluster, ["pod/p", "-n", namespace, ":8080"], async (port) => {
      const inside = ["nsenter", "-t", String(cluster.machine.pid), "-n", "curl", "-sf", "-m", "10"];
      assert.equal(await must([...inside, `http://127.0.0.1:${port}/hostname`]), "p");
      assert.equal(await must([...inside, `http://127.0.0.1:${port}/hostname`]), "p");
      const big = await must([
        ...inside,
        `http://127.0.0.1:${port}/shell?cmd=${encodeURIComponent("head -c 5000000 /dev/zero | tr '\\0' y")}`,
      ]);
      assert.ok(big.length > 5_000_000);
    });
  }),

  together("kubectl debug: an ephemeral container that sees the processes of its target", async ({ cluster, namespace, run }) => {
    await run(pod("p", { containers: [shell("exec sleep 98765")] }));
    await cluster.kubectl.run([
      "debug",
      "p",
      "-n",
      namespace,
      `--image=${busybox}`,
      "--target=main",
      "--container=debugger",
      "--profile=general",
      "--",
      "sh",
      "-c",
      "ps; sleep 1000",
    ]);
    const list = await until("the debugger's output", 60_000, async () => {
      const { stdout } = await cluster.kubectl.try(["logs", "p", "-n", namespace, "-c", "debugger"]);
      return stdout.includes("PID") ? stdout : undefined;
    });
    assert.match(list, /sleep 98765/);
  }),

  together("kubectl debug node: a pod with the node's file system", async ({ cluster, namespace }) => {
    const node = cluster.worker;
    await cluster.kubectl.run([
      "debug",
      `node/${node.name}`,
      "-n",
      namespace,
      `--image=${busybox}`,
      "--profile=sysadmin",
      "--",
      "chroot",
      "/host",
      "hostname",
    ]);
    await until("its output", 60_000, async () => {
      const { items } = await cluster.kubectl.list("pods", "-n", namespace);
      const name = items[0]?.metadata.name;
      if (name === undefined) return undefined;
      return (await cluster.kubectl.try(["logs", name, "-n", namespace])).stdout === `${node.name}\n` ? true : undefined;
    });
  }),

  together("kubectl top: nodes, pods and containers", async ({ cluster, namespace, run }) => {
    await run(
      pod("p", { containers: [shell("while :; do :; done", { resources: { limits: { cpu: "100m" } } }), idle({ name: "other" })] }),
    );
    const text = await until(
      "metrics of the pod",
      120_000,
      async () => {
        const { status, stdout } = await cluster.kubectl.try(["top", "pod", "-n", namespace, "--containers", "--no-headers"]);
        return status === 0 && stdout.trim().split("\n").length === 2 ? stdout : undefined;
      },
      async () => (await cluster.kubectl.try(["top", "pod", "-n", namespace, "--containers"])).stderr,
    );
    const cpu = Number(/main\s+(\d+)m/.exec(text)?.[1]);
    assert.ok(cpu > 50 && cpu < 200, text);
    assert.match(text, /other\s+\d+m\s+\d+Mi/);
    assert.match(await cluster.kubectl.run(["top", "node", "--no-headers"]), new RegExp(`${cluster.worker.name}\\s+\\d+m`));
  }),

  together("crictl: pods, ps, inspect, inspectp, images, inspecti, stats, statsp, logs", async ({ cluster, namespace, run }) => {
    const node = cluster.worker;
    await run(pod("p", { nodeName: node.name, containers: [shell("echo hi; exec sleep 1000")] }));
    await pause(200);
    const crictl = (...args: string[]): Promise<string> => node.run(["crictl", ...args]);
    const sandbox = (await crictl("pods", "-q", "--namespace", namespace)).trim();
    const container = (await crictl("ps", "-q", "--pod", sandbox)).trim();
    assert.match(await crictl("pods"), new RegExp(`Ready\\s+p\\s+${namespace}`));
    assert.match(await crictl("ps"), /Running\s+main/);
    assert.match(await crictl("inspect", container), /"name": "main"/);
    assert.match(await crictl("inspectp", sandbox), /"ip": "10\.244\./);
    assert.match(await crictl("images"), /busybox/);
    assert.match(await crictl("inspecti", busybox), /repoTags/);
    assert.match(await crictl("stats", container), /main/);
    assert.match(await crictl("statsp", sandbox), /p\s/);
    assert.match(await crictl("logs", container), /^hi$/m);
  }),
];
