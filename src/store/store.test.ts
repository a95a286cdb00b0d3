import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, test } from "node:test";
import { isKind } from "../base/errors.ts";
import { silentLogger } from "../base/log.ts";
import type { ContainerRecord } from "../records/container-record.ts";
import type { SandboxRecord } from "../records/sandbox-record.ts";
import { Store } from "./store.ts";

let dir = "";
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "crid-store-"));
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

function open(): Store {
  return Store.open({ path: path.join(dir, "meta.db"), lockPath: path.join(dir, "crid.lock"), log: silentLogger() });
}

function sandbox(id: string): SandboxRecord {
  return {
    id,
    config: {
      name: "web",
      uid: "u1",
      namespace: "default",
      attempt: 0,
      hostname: "web",
      logDirectory: "",
      portMappings: [],
      labels: { $bigint: "5", __proto__x: "1", quote: `'"` },
      annotations: {},
      cgroupParent: "",
      sysctls: {},
      security: {
        namespaces: { network: "pod", pid: "container", ipc: "pod", targetId: "" },
        privileged: false,
        readonlyRootfs: false,
        supplementalGroups: [],
        supplementalGroupsPolicy: "merge",
      },
    },
    runtimeHandler: "",
    reservedName: `web_default_u1_${id}`,
    createdAt: 1_795_000_000_123_456_789n,
    state: "creating",
    netnsPath: "/run/x/netns/1",
    attachments: [
      { networkName: "n", cniVersion: "1.1.0", ifName: "eth0", conflist: "{}", args: [["A", "b"]], capabilityArgs: {}, pending: true },
    ],
    ips: ["10.1.2.3", "fd00::3"],
    process: { pid: 42, pidStart: "99", shim: { address: "unix:///x", version: 3, binary: "/bin/shim" } },
  };
}

function container(id: string): ContainerRecord {
  return {
    id,
    sandboxId: "s1",
    config: { name: "c", attempt: 2 } as ContainerRecord["config"],
    reservedName: "c_web_default_u1_2",
    runtimeHandler: "",
    imageId: "sha256:1",
    imageRef: "busybox",
    logPath: "",
    stopSignal: 15,
    imageMounts: [],
    status: {
      createdAt: 1_795_000_000_123_456_789n,
      startedAt: 1_795_000_000_123_456_790n,
      finishedAt: 0n,
      exitCode: -1,
      reason: "",
      message: "",
      creating: false,
      removing: false,
      resources: {} as ContainerRecord["status"]["resources"],
    },
  };
}

test("records come back equal after a reopen, in order, with exact nanoseconds", () => {
  {
    using store = open();
    store.sandboxes.put(sandbox("s2"));
    store.sandboxes.put(sandbox("s1"));
    store.sandboxes.put({ ...sandbox("s2"), state: "ready" });
    store.containers.put(container("c1"));
    store.meta.set("boot-id", "b1");
  }
  using store = open();
  assert.deepEqual(store.sandboxes.all(), [{ ...sandbox("s2"), state: "ready" }, sandbox("s1")]);
  assert.deepEqual(store.containers.get("c1"), container("c1"));
  assert.equal(store.meta.get("boot-id"), "b1");
  store.sandboxes.delete("s2");
  store.sandboxes.delete("s2");
  assert.equal(store.sandboxes.size, 1);
});

test("images and CNI retries come back equal", () => {
  const image = {
    id: "sha256:1",
    repoTags: ["docker.io/library/busybox:1"],
    repoDigests: [],
    manifestDigest: "sha256:2",
    sizeBytes: 5_000_000_000,
    diffIds: ["a"],
    chainIds: ["b"],
    config: {
      user: "",
      env: [],
      entrypoint: [],
      cmd: [],
      workingDir: "",
      stopSignal: "",
      labels: {},
      volumes: [],
      os: "linux",
      architecture: "amd64",
      variant: "",
    },
    pinned: true,
  };
  const retry = {
    id: "s1/n/eth0",
    sandboxId: "s1",
    pod: "default/web",
    netnsPath: "",
    attachment: sandbox("s1").attachments[0] ?? assert.fail(),
    attempts: 3,
    lastError: "no",
    firstFailedAt: 1n,
    nextAttemptAt: 2n,
  };
  {
    using store = open();
    store.images.put(image);
    store.cniRetries.put(retry);
  }
  using store = open();
  assert.deepEqual(store.images.all(), [image]);
  assert.deepEqual(store.cniRetries.all(), [retry]);
});

test("operators see names, states and times in SQL", () => {
  using store = open();
  store.sandboxes.put(sandbox("s1"));
  using reader = new DatabaseSync(path.join(dir, "meta.db"), { readOnly: true });
  assert.deepEqual(
    { ...reader.prepare("SELECT namespace, name, state, pid FROM sandboxes").get() },
    {
      namespace: "default",
      name: "web",
      state: "creating",
      pid: 42,
    },
  );
});

test("a second daemon is refused with the pid of the first", () => {
  using _store = open();
  assert.throws(open, (error: Error) => isKind(error, "failed-precondition") && error.message.includes(`pid ${process.pid}`));
});

test("the lock of a killed daemon is free, and what it committed is there", () => {
  const url = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);
  const code = `
    import { Store } from ${url("./store.ts")};
    import { silentLogger } from ${url("../base/log.ts")};
    const store = Store.open({ path: ${JSON.stringify(path.join(dir, "meta.db"))}, lockPath: ${JSON.stringify(path.join(dir, "crid.lock"))}, log: silentLogger() });
    store.meta.set("k", "v");
    process.kill(process.pid, "SIGKILL");`;
  const result = spawnSync(process.execPath, ["--input-type=module", "-e", code]);
  assert.equal(result.signal, "SIGKILL", result.stderr.toString());
  using store = open();
  assert.equal(store.meta.get("k"), "v");
});

test("a transaction that throws changes neither disk nor memory", () => {
  {
    using store = open();
    store.sandboxes.put(sandbox("s1"));
    assert.throws(() =>
      store.transaction(() => {
        store.sandboxes.delete("s1");
        store.sandboxes.put(sandbox("s3"));
        store.meta.set("x", "y");
        throw new Error("no");
      }),
    );
    assert.deepEqual(store.sandboxes.all(), [sandbox("s1")]);
    assert.equal(store.meta.get("x"), undefined);
  }
  using store = open();
  assert.deepEqual(store.sandboxes.all(), [sandbox("s1")]);
});

test("a database of a newer crid is refused and left alone", () => {
  open().close();
  {
    using database = new DatabaseSync(path.join(dir, "meta.db"));
    database.exec("PRAGMA user_version = 9999");
  }
  assert.throws(open, (error: Error) => isKind(error, "failed-precondition") && /newer crid/.test(error.message));
  assert.throws(open, /newer crid/, "the lock was given back");
});

test("a damaged database is moved aside and the store opens empty", () => {
  {
    using store = open();
    store.sandboxes.put(sandbox("s1"));
  }
  const file = path.join(dir, "meta.db");
  fs.writeFileSync(file, "this was a database once, says the disk, and now it is not");
  using store = open();
  assert.deepEqual(store.sandboxes.all(), []);
  assert.ok(store.damaged !== undefined && fs.existsSync(store.damaged));
  store.sandboxes.put(sandbox("s1"));
});

test("of a damaged database, what can be read is kept", () => {
  {
    using store = open();
    for (let i = 0; i < 300; i++) store.sandboxes.put(sandbox(`s${i}`));
    store.meta.set("boot-id", "b1");
  }
  const file = path.join(dir, "meta.db");
  const fd = fs.openSync(file, "r+");
  fs.writeSync(fd, Buffer.alloc(8192, 0xff), 0, 8192, Math.floor(fs.fstatSync(fd).size / 2 / 4096) * 4096);
  fs.closeSync(fd);
  const saved = ((): number => {
    using store = open();
    assert.ok(store.damaged !== undefined);
    return store.sandboxes.size;
  })();
  assert.ok(saved > 200 && saved < 300, `${saved} of 300`);
  using store = open();
  assert.deepEqual([store.damaged, store.sandboxes.size], [undefined, saved]);
});
