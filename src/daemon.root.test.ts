import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, credentials } from "@grpc/grpc-js";
import { runtime } from "../api/cri/runtime/v1/api.js";

// The daemon as a process of its own, without any pod: what its operator sees. Pods are for test/e2e.

const main = join(import.meta.dirname, "main.ts");
const directory = mkdtempSync(join(tmpdir(), "cd-"));
const socket = join(directory, "state/crid.sock");
const config = join(directory, "config.yaml");

mkdirSync(join(directory, "net.d"));
writeFileSync(
  config,
  JSON.stringify({
    root: join(directory, "root"),
    state: join(directory, "state"),
    metrics: { address: "" },
    nri: { socket: join(directory, "nri.sock"), pluginDir: join(directory, "plugins") },
    cni: { binDirs: [directory], confDir: join(directory, "net.d") },
  }),
);

after(() => {
  crid("logger", "--stop", "--state", join(directory, "state"));
  rmSync(directory, { recursive: true });
});

function crid(...args: string[]) {
  return spawnSync(process.execPath, [main, ...args], { encoding: "utf8" });
}

/** A daemon that answers. Its log is kept in memory. */
async function serve(
  env: NodeJS.ProcessEnv = {},
): Promise<{ child: ChildProcess; log: () => string; end: (signal: NodeJS.Signals) => Promise<number | null> }> {
  const child = spawn(process.execPath, [main, "serve", "--config", config], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "inherit", "pipe"],
  });
  let log = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    log += chunk.toString();
  });
  for (let attempt = 0; attempt < 400 && !log.includes("crid is ready"); attempt++) {
    assert.equal(child.exitCode, null, log);
    await sleep(25);
  }
  return {
    child,
    log: () => log,
    end: (signal) =>
      new Promise((resolve) => {
        child.once("exit", resolve);
        child.kill(signal);
      }),
  };
}

async function version(): Promise<string> {
  const client = new Client(`unix:${socket}`, credentials.createInsecure());
  try {
    return await new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        "/runtime.v1.RuntimeService/Version",
        (bytes: Buffer) => bytes,
        (bytes) => runtime.v1.VersionResponse.decode(bytes).runtimeName,
        Buffer.alloc(0),
        (error, name) => (error === null && name !== undefined ? resolve(name) : reject(error ?? new Error("no answer"))),
      );
    });
  } finally {
    client.close();
  }
}

test("serves, refuses a second daemon of its root in one line, and ends with 0 on SIGTERM", async () => {
  const daemon = await serve();
  assert.equal(await version(), "crid");
  const second = crid("serve", "--config", config);
  assert.equal(second.status, 1);
  assert.match(second.stderr.trim().split("\n").at(-1) ?? "", /^crid: .*another crid \(pid \d+\) uses/);
  assert.equal(await daemon.end("SIGTERM"), 0);
  assert.equal(existsSync(socket), false);
  assert.deepEqual(readdirSync(join(directory, "state/netns")), []);
});

test("a killed daemon is followed by one that serves, with the same logger", async () => {
  const first = await serve();
  await first.end("SIGKILL");
  assert.equal(existsSync(socket), true, "a killed daemon leaves its socket");
  const second = await serve();
  assert.equal(await version(), "crid");
  assert.match(second.log(), /logger found running/);
  assert.equal(await second.end("SIGTERM"), 0);
});

test("tells the service manager when it is ready and when it stops", async () => {
  const received = join(directory, "notify");
  // Node has no unix datagram sockets to listen with.
  const listener = spawn("python3", [
    "-c",
    `import socket,sys
s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.bind(sys.argv[1])
f=open(sys.argv[2],"w")
while True:
  f.write(s.recv(99).decode()+"\\n"); f.flush()`,
    join(directory, "notify.sock"),
    received,
  ]);
  try {
    while (!existsSync(received)) await sleep(20);
    const daemon = await serve({ NOTIFY_SOCKET: join(directory, "notify.sock") });
    await daemon.end("SIGTERM");
    await sleep(100);
    assert.deepEqual(readFileSync(received, "utf8").trim().split("\n"), ["READY=1", "STOPPING=1"]);
  } finally {
    listener.kill();
  }
});
