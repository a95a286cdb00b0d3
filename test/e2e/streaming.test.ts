import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { runWithInput } from "./support/commands.ts";
import { TestNode } from "./support/node.ts";
import { busybox, runContainer } from "./support/pods.ts";

// exec, attach and port-forward as crictl's users have them, over SPDY and WebSocket.
const node = new TestNode();
const crictl = join(import.meta.dirname, "../../.tools/bin/crictl");
const transports = ["spdy", "websocket"] as const;
const endpoint = ["--timeout", "30s", "-r", `unix://${node.socket}`, "-i", `unix://${node.socket}`];
let pod = "";
let container = "";

before(async () => {
  await node.start();
  await node.crictl("pull", busybox);
  const serve = [
    "mkdir -p /www/four /www/six",
    "echo four > /www/four/index.html",
    "echo six > /www/six/index.html",
    "httpd -p 127.0.0.1:8004 -h /www/four",
    "httpd -p '[::1]:8006' -h /www/six",
    "sleep 1000",
  ];
  ({ pod, container } = await runContainer(node, ["sh", "-c", serve.join("; ")]));
});
after(() => node.close());

/** crictl on a terminal of its own: `script` gives it one. Types the keys once the output has `prompt`. */
async function onTerminal(args: string[], prompt: RegExp, keys: string): Promise<{ status: number; said: string }> {
  const command = [crictl, ...endpoint, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
  const child = spawn("script", ["-qefc", `stty rows 31 cols 97; ${command}`, "/dev/null"], { stdio: ["pipe", "pipe", "inherit"] });
  let said = "";
  let typed = false;
  child.stdout.on("data", (chunk: Buffer) => {
    said += chunk.toString();
    if (typed || !prompt.test(said)) return;
    typed = true;
    child.stdin.write(keys);
  });
  // What was said tells why it does not end.
  const limit = setTimeout(() => child.kill("SIGKILL"), 20_000);
  const [status] = (await once(child, "close")) as [number];
  clearTimeout(limit);
  return { status, said };
}

for (const transport of transports) {
  test(`exec over ${transport}: both outputs, exit code, stdin to its end`, async () => {
    const both = await node.tryCrictl("exec", "-r", transport, container, "sh", "-c", "echo out; echo err >&2; exit 3");
    assert.equal(both.stdout, "out\n");
    assert.match(both.stderr, /^err\n/m);
    assert.match(both.stderr, /command terminated with exit code 3/);
    assert.equal(both.status, 1);
    const input = node.file("input", "one\ntwo\n".repeat(50_000));
    const counted = await runWithInput(crictl, [...endpoint, "exec", "-i", "-r", transport, container, "wc", "-l"], input);
    assert.equal(counted.stdout.trim(), "100000", counted.stderr);
  });

  test(`exec with a terminal over ${transport}: prompt, echo, size, exit code`, async () => {
    const { status, said } = await onTerminal(
      ["exec", "-it", "-r", transport, container, "sh"],
      /\/ # /,
      "sleep 0.3; stty size; tty; exit 7\n",
    );
    // The shell may draw its line again within the echo, once it knows the size.
    assert.match(said, /stty size; tty; exit [^\n]*7\r\n31 97\r\n\/dev\/pts\/\d+\r\n/);
    assert.match(said, /command terminated with exit code 7/);
    assert.equal(status, 1);
  });

  test(`attach over ${transport}: to a shell that waits for its input, and away again while it lives on`, async () => {
    const command = ["sh", "-c", "while read line; do echo said $line; done; echo end"];
    const { container: id } = await runContainer(node, command, { container: { stdin: true } });
    for (const word of ["first", "second"]) {
      const child = spawn(crictl, [...endpoint, "attach", "-i", "-r", transport, id], { stdio: ["pipe", "pipe", "inherit"] });
      child.stdin.write(`${word}\n`);
      assert.equal(String(((await once(child.stdout, "data")) as [Buffer])[0]), `said ${word}\n`);
      await ended(child);
    }
    assert.match(await node.crictl("ps", "-q", "--no-trunc"), new RegExp(id));
  });

  test(`port-forward over ${transport}: IPv4 and IPv6 of the pod's localhost, and a port where nobody listens`, async () => {
    const base = transport === "spdy" ? 18_000 : 28_000;
    await using forward = await forwarding(transport, pod, [`${base + 4}:8004`, `${base + 6}:8006`, `${base + 9}:8009`]);
    for (let round = 0; round < 3; round++) {
      assert.equal(await (await fetch(`http://127.0.0.1:${base + 4}/`)).text(), "four\n");
      assert.equal(await (await fetch(`http://127.0.0.1:${base + 6}/`)).text(), "six\n");
    }
    // After that crictl ends by itself.
    await assert.rejects(fetch(`http://127.0.0.1:${base + 9}/`));
    for (let waited = 0; waited < 100 && !/connection refused/.test(forward.said()); waited++) await sleep(50);
    assert.match(forward.said(), /error forwarding port 8009 to pod .*connect: connection refused/);
  });
}

test("port-forward into a pod with the host's network reaches the host's localhost", async () => {
  const server = createServer((socket) => void socket.end("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhost\n"));
  server.listen(8123, "127.0.0.1");
  await once(server, "listening");
  const hostPod = { linux: { cgroup_parent: node.cgroup, security_context: { namespace_options: { network: 2, pid: 1 } } } };
  const { pod: onHost } = await runContainer(node, ["sleep", "1000"], { pod: hostPod });
  {
    await using _forward = await forwarding("spdy", onHost, ["18123:8123"]);
    assert.equal(await (await fetch("http://127.0.0.1:18123/")).text(), "host\n");
  }
  server.close();
});

/** Texts that containerd 2.4 gives as well, word for word; watched side by side. */
const refusals: [string[], RegExp][] = [
  [
    ["no-such-binary"],
    /OCI runtime exec failed: exec failed: unable to start container process: exec: \\?"no-such-binary\\?": executable file not found in \$PATH/,
  ],
  [
    ["/etc/passwd"],
    /OCI runtime exec failed: exec failed: unable to start container process: exec: \\?"\/etc\/passwd\\?": permission denied/,
  ],
  [["/no/such"], /OCI runtime exec failed: .*exec: \\?"\/no\/such\\?": stat \/no\/such: no such file or directory/],
  [["/etc"], /OCI runtime exec failed: .*exec: \\?"\/etc\\?": is a directory/],
];

test("a command that cannot be started: the words and codes that users know", async () => {
  for (const [cmd, words] of refusals) {
    for (const how of [["-s"], ["-r", "spdy"], ["-r", "websocket"]]) {
      const { status, stderr } = await node.tryCrictl("exec", ...how, container, ...cmd);
      assert.equal(status, 1);
      assert.match(stderr, words, how.join(" "));
      assert.match(
        stderr,
        how[0] === "-s"
          ? /failed to exec in container: failed to start exec/
          : /Internal error occurred: error executing command in container: failed to exec in container: failed to start exec/,
      );
    }
  }
  for (const [script, code] of [
    ["no-such", 127],
    ["/etc/passwd", 126],
    ["kill -9 $$", 137],
  ] as const) {
    const sync = await node.tryCrictl("exec", "-s", container, "sh", "-c", script);
    assert.match(sync.stderr, new RegExp(`exited with ${code}`));
    const streamed = await node.tryCrictl("exec", container, "sh", "-c", script);
    assert.match(streamed.stderr, new RegExp(`command terminated with exit code ${code}`));
  }
});

test("into a container that is not running, or does not exist", async () => {
  const { container: over } = await runContainer(node, ["true"]);
  for (let waited = 0; waited < 100 && !(await node.crictl("ps", "-a", "-q", "--no-trunc", "--state", "exited")).includes(over); waited++)
    await sleep(50);
  for (const args of [
    ["exec", over, "true"],
    ["exec", "-s", over, "true"],
    ["attach", over],
  ]) {
    const { status, stderr } = await node.tryCrictl(...args);
    assert.equal(status, 1);
    assert.match(stderr, /code = FailedPrecondition desc = .*container is in CONTAINER_EXITED state/, args.join(" "));
  }
  const { stderr } = await node.tryCrictl("exec", "0123456789ab", "true");
  assert.match(stderr, /code = NotFound/);
});

async function ended(child: ChildProcess): Promise<void> {
  const gone = once(child, "close");
  child.kill("SIGKILL");
  await gone;
}

/** `crictl port-forward` until disposed. */
async function forwarding(
  transport: string,
  podId: string,
  ports: string[],
): Promise<{ said: () => string; [Symbol.asyncDispose]: () => Promise<void> }> {
  const child = spawn(crictl, [...endpoint, "port-forward", "-r", transport, podId, ...ports], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
  }
  for (let waited = 0; waited < 200 && said.split("Forwarding from 127").length <= ports.length; waited++) await sleep(25);
  return { said: () => said, [Symbol.asyncDispose]: () => ended(child) };
}
