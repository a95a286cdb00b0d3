import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { FakeRegistry } from "../../src/registry/testkit/fake-registry.ts";
import { hostArchitecture, makeTestImage, makeTestIndex } from "../../src/registry/testkit/test-image.ts";
import { crid, cridJson, cridProgram, runs, tryCrid } from "./support/commands.ts";
import { findImage, layers, zstd } from "./support/images.ts";
import { TestNode } from "./support/node.ts";
import { busybox } from "./support/pods.ts";

let node: TestNode;
before(async () => {
  node = new TestNode({ conflist: null });
  await node.start();
});
after(() => node.close());

const file = (name: string): string => join(node.directory, name);

test("bars on a terminal: a line a layer, drawn in place", async () => {
  await using registry = await FakeRegistry.start();
  const slow = await makeTestImage({
    layers: [[{ name: "a", content: randomBytes(100_000) }], [{ name: "b", content: randomBytes(200_000) }]],
  });
  const ref = registry.add("app", "bars", slow);
  registry.intercept = async ({ url }) => {
    if (url.endsWith(slow.layers[1]?.digest ?? "?")) await sleep(500);
    return false;
  };
  const command = `${cridProgram} images pull ${ref} --address ${node.socket}`;
  const drawn = await runs("script", "-qefc", `stty cols 100 rows 30; ${command}`, "/dev/null");
  assert.ok(drawn.includes("\u001b[2A") || drawn.includes("\u001b[5A"), "lines are drawn over");
  assert.match(drawn, /[0-9a-f]{12}: downloading +\[=*>? *\] [\d.]+ \w+ \/ 195\.\d KiB/);
  assert.match(drawn, /[0-9a-f]{12}: done +\[={30}\] 195\.\d KiB/);
  assert.match(drawn, /elapsed: [\d.]+ s {3}total: 293\.\d KiB/);
  assert.match(drawn, new RegExp(`pulled ${ref}: ${slow.config.digest}`));
  await crid(node, "images", "rm", ref);
});

test("a pull under way: what it has is shown; an interrupted one stops and is gone on with", async () => {
  await using registry = await FakeRegistry.start();
  const slow = await makeTestImage({
    layers: [[{ name: "big", content: Buffer.alloc(3_000_000, "0123456789abcdef") }]],
    compression: "none",
  });
  const ref = registry.add("app", "slow", slow);
  const [layer] = slow.layers;
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  registry.intercept = ({ url, method, headers }, response) => {
    if (method !== "GET" || !url.endsWith(layer?.digest ?? "?") || headers.range !== undefined) return false;
    response.writeHead(200, { "content-length": layer?.size });
    response.write(layer?.data.subarray(0, 1_000_000));
    void held.then(() => response.destroy());
    return true;
  };
  const watching = spawn(cridProgram, ["pulls", "-w", "--address", node.socket], { stdio: ["ignore", "pipe", "inherit"] });
  let watched = "";
  watching.stdout.on("data", (text: Buffer) => {
    watched += text.toString("utf8");
  });
  const json = spawn(cridProgram, ["pulls", "--watch", "--json", "--address", node.socket], { stdio: ["ignore", "pipe", "inherit"] });
  let lines = "";
  json.stdout.on("data", (text: Buffer) => {
    lines += text.toString("utf8");
  });
  const pulling = tryCrid(node, ["images", "pull", ref]);
  for (let shown = ""; !/ 9\d\d\.\d KiB of/.test(shown); ) shown = await crid(node, "pulls");
  const { pulls } = await cridJson<{ pulls: { ref: string; blobs: { digest: string; state: string }[] }[] }>(node, "pulls");
  assert.deepEqual(
    pulls.map((pull) => pull.ref),
    [ref],
  );
  assert.ok(pulls[0]?.blobs.some(({ digest, state }) => digest === layer?.digest && state !== "done"));
  release();
  assert.equal((await pulling).status, 0);
  assert.equal((await findImage(node, ref))?.id, slow.config.digest);
  assert.equal(await crid(node, "pulls"), "IMAGE   SINCE   PARTS   BYTES");
  while (!watched.includes(`${ref}: over\n`) || !lines.endsWith('{"pulls":[]}\n')) await sleep(20);
  assert.match(watched, new RegExp(`^${ref}: [0-9a-f]{12}: (downloading|unpacking) \\(2\\.9 MiB\\)$`, "m"));
  const states = lines
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { pulls: { ref: string }[] });
  assert.ok(states.some((state) => state.pulls[0]?.ref === ref));
  for (const watcher of [watching, json]) {
    watcher.kill("SIGINT");
    assert.deepEqual(await once(watcher, "exit"), [0, null]);
  }
  await crid(node, "images", "rm", ref);
});

test("another platform's image: pulled, looked at, exported and imported again; the node's comes back with the next pull", async () => {
  await using registry = await FakeRegistry.start();
  const ours = await makeTestImage({ layers: [[{ name: "ours", content: "x" }]] });
  const theirs = await makeTestImage({ layers: [[{ name: "theirs", content: "y" }]], architecture: "s390x" });
  for (const part of [ours, theirs]) registry.add("app", "part", part);
  const ref = registry.addManifest(
    "app",
    "v1",
    makeTestIndex([
      { image: theirs, architecture: "s390x" },
      { image: ours, architecture: hostArchitecture },
    ]),
  );
  await crid(node, "images", "pull", ref);
  assert.equal((await findImage(node, ref))?.id, ours.config.digest);
  assert.equal(await crid(node, "images", "pull", "-q", "--platform", "linux/s390x", ref), theirs.config.digest);
  assert.match(await crid(node, "images", "ls", ref), / linux\/s390x /);
  assert.ok(existsSync(join(await crid(node, "images", "mount", ref), "theirs")));
  await crid(node, "images", "unmount", ref);
  await crid(node, "images", "export", "-o", file("s390x.tar"), ref);
  assert.equal(await crid(node, "images", "pull", "-q", ref), ours.config.digest);
  const refused = await tryCrid(node, ["images", "import", file("s390x.tar")]);
  assert.match(refused.stderr, /the image is for linux\/s390x, this node is/);
  await crid(node, "images", "import", "--platform", "linux/s390x", file("s390x.tar"));
  assert.equal((await findImage(node, ref))?.id, theirs.config.digest);
  for (const { stderr, status } of [
    await tryCrid(node, ["images", "pull", "--platform", "linux/riscv64", ref]),
    await tryCrid(node, ["images", "pull", "--platform", "nonsense", ref]),
  ]) {
    assert.equal(status, 1);
    assert.match(stderr, /no image for linux\/riscv64; there is linux\/s390x|"nonsense" is not os\/architecture/);
  }
  for (const { id } of [ours, theirs].map(({ config }) => ({ id: config.digest }))) await crid(node, "images", "rm", id);
});

test("verifiers: what they refuse is not pulled, and the error has their reason", async () => {
  const dir = mkdirSync(file("verifiers"), { recursive: true }) ?? "";
  writeFileSync(join(dir, "no-layers"), '#!/bin/sh\ncase "$*" in *crid/layers*) echo "not signed"; exit 1 ;; esac\necho fine\n');
  chmodSync(join(dir, "no-layers"), 0o755);
  const strict = new TestNode({ conflist: null, config: { image: { verifier: { dir, policies: { "registry.k8s.io": "off" } } } } });
  await strict.start();
  try {
    await strict.crictl("pull", zstd);
    await strict.crictl("pull", busybox);
    const refused = await strict.tryCrictl("pull", layers);
    assert.match(
      refused.stderr,
      /PermissionDenied.*verifier no-layers rejected docker\.io\/crid\/layers:1@sha256:[0-9a-f]{64} \(exit code 1\): not signed/,
    );
    assert.ok(!(await strict.crictl("images")).includes("layers"));
    assert.match(strict.log, /verified.*no-layers => fine/);
  } finally {
    await strict.close();
  }
});
