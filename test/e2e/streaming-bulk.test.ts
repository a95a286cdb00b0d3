import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createCipheriv, createHash } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { TestNode } from "./support/node.ts";
import { busybox, runContainer } from "./support/pods.ts";

// Much through an exec, clients that do not keep up, and clients that go away. CRID_BULK_MIB=1024 for the long run.
const mebibytes = Number(process.env.CRID_BULK_MIB ?? 128);
const node = new TestNode();
const crictl = join(import.meta.dirname, "../../.tools/bin/crictl");
const endpoint = ["--timeout", "30s", "-r", `unix://${node.socket}`, "-i", `unix://${node.socket}`];
let container = "";

before(async () => {
  await node.start();
  await node.crictl("pull", busybox);
  ({ container } = await runContainer(node, ["sleep", "10000"]));
});
after(() => node.close());

const start = (...args: string[]): ChildProcess => spawn(crictl, [...endpoint, "exec", ...args], { stdio: ["pipe", "pipe", "ignore"] });

function rss(): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${node.pid}/status`, "utf8"))?.[1]) / 1024;
}

/** In the container; its output without the last newline. */
const sh = (script: string): Promise<string> => node.crictl("exec", "-s", container, "sh", "-c", script);

async function killed(child: ChildProcess): Promise<void> {
  const gone = once(child, "close");
  child.kill("SIGKILL");
  await gone;
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (await condition()) return;
    await sleep(100);
  }
  throw new Error(`it never came to this: ${what}`);
}

for (const transport of ["spdy", "websocket"]) {
  test(`${mebibytes} MiB into a container and out again over ${transport}: the same bytes, and the daemon as small as before`, async () => {
    await sh("true");
    const before = rss();
    const into = start("-i", "-r", transport, container, "sh", "-c", "cat > /tmp/big; sha256sum /tmp/big");
    const [stdin, stdout] = [into.stdin, into.stdout];
    assert.ok(stdin !== null && stdout !== null);
    const sent = createHash("sha256");
    const noise = createCipheriv("aes-128-ctr", Buffer.alloc(16, transport), Buffer.alloc(16));
    const zeros = Buffer.alloc(1 << 20);
    let answer = "";
    stdout.on("data", (chunk: Buffer) => {
      answer += chunk.toString();
    });
    for (let at = 0; at < mebibytes; at++) {
      const block = noise.update(zeros);
      sent.update(block);
      if (!stdin.write(block)) await once(stdin, "drain");
    }
    stdin.end();
    await once(into, "close");
    const digest = sent.digest("hex");
    assert.equal(answer, `${digest}  /tmp/big\n`);

    const out = start("-r", transport, container, "cat", "/tmp/big");
    const got = createHash("sha256");
    let bytes = 0;
    for await (const chunk of out.stdout as AsyncIterable<Buffer>) {
      got.update(chunk);
      bytes += chunk.length;
    }
    assert.equal(bytes, mebibytes << 20);
    assert.equal(got.digest("hex"), digest);
    await sh("rm /tmp/big");
    assert.ok(rss() - before < 40, `${rss()} MiB, ${before} before`);
  });
}

test("a client that does not read: the container's writer stands still, the daemon stays small, and goes on with the client", async () => {
  const before = rss();
  const writes = "i=0; while [ $i -lt 1000 ]; do head -c 65536 /dev/zero; i=$((i + 1)); echo $i > /tmp/written; done";
  const client = start(container, "sh", "-c", writes);
  const { stdout } = client;
  assert.ok(stdout !== null);
  const closed = once(client, "close");
  let last = "";
  await until("the writer stands still", async () => {
    const now = await sh("cat /tmp/written || true");
    const same = now !== "" && now === last;
    last = now;
    return same;
  });
  const stood = Number(last);
  assert.ok(stood > 0 && stood < 900, `${stood} blocks were written`);
  assert.ok(rss() - before < 30, `${rss()} MiB, ${before} before`);
  let bytes = 0;
  for await (const chunk of stdout as AsyncIterable<Buffer>) bytes += chunk.length;
  await closed;
  assert.equal(bytes, 1000 * 65_536);
});

test("a process that does not read: the client stands still, the daemon stays small; and the client's end is seen all the same", async () => {
  const before = rss();
  const client = start("-i", container, "sh", "-c", "echo $$ > /tmp/pid; exec sleep 777");
  const { stdin } = client;
  assert.ok(stdin !== null);
  stdin.on("error", () => {});
  let sent = 0;
  const block = Buffer.alloc(1 << 20);
  // Ends when nothing is taken for a second and a half.
  for (let taken = true; taken && sent < 200; ) {
    stdin.write(block);
    sent++;
    taken = await Promise.race([once(stdin, "drain").then(() => true), sleep(1500, false)]);
  }
  assert.ok(sent < 200, `${sent} MiB were taken`);
  assert.ok(rss() - before < 30, `${rss()} MiB, ${before} before`);
  await killed(client);
  await until("the command is gone with its client", async () => (await sh("kill -0 $(cat /tmp/pid) 2>/dev/null || echo gone")) === "gone");
});

test("a terminal that goes away hangs the command up; without one the command is killed; fifos and descriptors are gone", async () => {
  const files = (): number => readdirSync(`/proc/${node.pid}/fd`).length;
  const fifos = (): string[] =>
    readdirSync(join(node.directory, "state"), { recursive: true, encoding: "utf8" }).filter((name) =>
      /-(stdin|stdout|stderr)$/.test(name),
    );
  await sh("true");
  const [filesBefore, fifosBefore] = [files(), fifos().length];
  const trap = "trap 'echo hup > /tmp/hup; exit' HUP; echo up > /tmp/up; while :; do sleep 0.1; done";
  const command = [crictl, ...endpoint, "exec", "-it", container, "sh", "-c", trap].map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  const terminal = spawn("script", ["-qefc", command.join(" "), "/dev/null"], { stdio: ["pipe", "ignore", "ignore"] });
  await until("the command runs", async () => (await sh("cat /tmp/up 2>/dev/null || true")) === "up");
  await killed(terminal);
  await until("the command was hung up", async () => (await sh("cat /tmp/hup 2>/dev/null || true")) === "hup");

  const plain = start("-i", container, "sh", "-c", "echo $$ > /tmp/plain; cat");
  await until("the command runs", async () => (await sh("cat /tmp/plain 2>/dev/null || true")) !== "");
  await killed(plain);
  await until("it is killed", async () => (await sh("kill -0 $(cat /tmp/plain) 2>/dev/null || echo gone")) === "gone");
  await until("nothing is left open", async () => files() <= filesBefore + 2 && fifos().length === fifosBefore);
});
