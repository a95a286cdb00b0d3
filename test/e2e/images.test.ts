import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { FakeRegistry } from "../../src/registry/testkit/fake-registry.ts";
import { blob, describe, makeTestImage } from "../../src/registry/testkit/test-image.ts";
import { crid, cridJson, cridProgram, runs, runWithInput, tryCrid } from "./support/commands.ts";
import { Containerd } from "./support/containerd.ts";
import { findImage, type ListedImage, layers, zstd } from "./support/images.ts";
import { TestNode } from "./support/node.ts";
import { busybox, exited, runContainer } from "./support/pods.ts";

let node: TestNode;
before(async () => {
  node = new TestNode({ conflist: null });
  await node.start();
});
after(() => node.close());

const image = (ref: string): Promise<ListedImage | undefined> => findImage(node, ref);
const file = (name: string): string => join(node.directory, name);

test("pull, ls, tag and rm; crictl sees the same", async () => {
  const pulled = await crid(node, "images", "pull", layers);
  const { id = "" } = (await image(layers)) ?? {};
  assert.match(pulled, /^docker\.io\/crid\/layers:1: resolving\n/);
  assert.match(pulled, /^layer [0-9a-f]{12}: (downloading|unpacking|done) \([\d.]+ [KM]?i?B\)$/m);
  assert.ok(pulled.endsWith(`pulled ${layers}: ${id}`));
  assert.ok(!pulled.includes("\u001b"), "no control characters in a pipe");
  assert.equal(await crid(node, "images", "pull", "-q", layers), id);
  assert.match(await crid(node, "images", "ls"), /^docker\.io\/crid\/layers +1 +[0-9a-f]{12} +linux\/amd64 +[\d.]+ \w+$/m);
  await crid(node, "images", "tag", layers, "mine:2", "registry.example/mine:3");
  assert.match(await node.crictl("images"), /registry\.example\/mine +3 /);
  assert.equal(await crid(node, "images", "rm", "--name-only", "mine:2"), "removed mine:2");
  assert.deepEqual((await image(layers))?.tags, [layers, "registry.example/mine:3"]);
  await crid(node, "images", "rm", "registry.example/mine:3");
  assert.equal(await node.crictl("images", "-q"), "");
});

test("errors: one line that says what to do, and an exit code", async () => {
  for (const [args, expected] of [
    [["images", "pull", "docker.io/crid/nothing:1"], /^crid: pull docker\.io\/crid\/nothing:1: .*404/s],
    [["images", "rm", "nothing:1"], /^crid: no image "nothing:1"\n$/],
    [["images", "mount", "nothing:1"], /no image "nothing:1"/],
    [["images", "export", "-o", "/nonexistent/x.tar", "nothing:1"], /no image "nothing:1"/],
    [["images", "import", "/nonexistent/x.tar"], /ENOENT/],
    [["images", "import", "/"], /is a directory/],
    [["images", "pull", "not a name"], /image reference "not a name"/],
    [["content", "get", `sha256:${"0".repeat(64)}`], /not found/],
    [["images", "nonsense"], /images has no command "nonsense"; there are: ls, pull/],
    [["registry", "explain"], /needs one image/],
  ] as const) {
    const { status, stderr } = await tryCrid(node, [...args]);
    assert.equal(status, 1, args.join(" "));
    assert.match(stderr, expected, args.join(" "));
  }
  const none = await runWithInput(cridProgram, ["images", "ls", "--address", "/nonexistent.sock"]);
  assert.equal(none.status, 1);
  assert.equal(none.stderr, "crid: no crid answers at /nonexistent.sock: start it, or name another socket with --address\n");
  assert.match((await runWithInput(cridProgram, ["images"])).stderr, /images needs a command/);
  assert.match((await runWithInput(cridProgram, ["images", "--help"])).stdout, /crid images pull .*IMAGE\.\.\./);
  assert.match((await runWithInput(cridProgram, ["images", "pull", "--help"])).stdout, /^crid images pull \[--platform/);
});

test("archives to and from containerd: same ids, same digests", async () => {
  await using containerd = await Containerd.start(file("containerd"));
  for (const ref of [layers, zstd, busybox]) {
    await crid(node, "images", "pull", ref);
    const ours = await image(ref);
    const archive = file("ours.tar");
    await crid(node, "images", "export", "-o", archive, ref);
    await containerd.ctr("images", "import", "--digests", archive);
    assert.match(await containerd.ctr("images", "ls"), new RegExp(`^${ref} .*${ours?.manifestDigest}`, "m"));
    assert.match(await containerd.ctr("images", "check", `name==${ref}`), /complete/);
    await crid(node, "images", "rm", ref);

    const theirs = file("theirs.tar");
    // Without --local, ctr may exit before it has written the end of what the daemon streams to it (4 of 60 exports of containerd 2.4.2).
    await containerd.ctr("images", "export", "--local", theirs, ref);
    assert.match(await crid(node, "images", "import", theirs), new RegExp(`^imported ${ref}: ${ours?.id}$`, "m"));
    const back = await image(ref);
    assert.equal(back?.id, ours?.id);
    assert.equal(back?.manifestDigest, ours?.manifestDigest);
    assert.ok(back?.digests.includes(`${ref.slice(0, ref.lastIndexOf(":"))}@${ours?.manifestDigest}`));
    await crid(node, "images", "rm", ref);
  }
});

test("archives to and from skopeo (docker save's and OCI's) and umoci; gzip and zstd from stdin", async () => {
  await crid(node, "images", "pull", layers);
  const { id = "" } = (await image(layers)) ?? {};
  const ours = file("export.tar");
  await crid(node, "images", "export", "-o", ours, layers);
  const skopeo = (...args: string[]): Promise<string> => runs("skopeo", "--insecure-policy", "--tmpdir", node.directory, ...args);
  await skopeo("copy", "-q", `oci-archive:${ours}`, `docker-archive:${file("docker.tar")}:skopeo/docker:1`);
  await skopeo("copy", "-q", `docker-archive:${ours}`, `oci-archive:${file("oci.tar")}:skopeo/oci:1`);
  await crid(node, "images", "rm", layers);
  assert.match(await crid(node, "images", "import", file("docker.tar")), new RegExp(`^imported docker\\.io/skopeo/docker:1: ${id}$`, "m"));
  await crid(node, "images", "rm", id);

  // Compressed in all ways, through stdin.
  execFileSync("sh", ["-c", 'gzip -k "$1" && zstd -q -k "$1"', "sh", file("oci.tar")]);
  for (const name of ["oci.tar", "oci.tar.gz", "oci.tar.zst"]) {
    const { status, stdout, stderr } = await tryCrid(node, ["images", "import", "-q", "-"], file(name));
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^sha256:[0-9a-f]{64}\n$/);
    assert.match(await crid(node, "images", "ls"), /^docker\.io\/skopeo\/oci +1 /m);
    await crid(node, "images", "rm", "skopeo/oci:1");
  }

  // umoci reads ours, changes it, and we read what it made: a layout whose image has a tag alone.
  const layout = file("layout");
  mkdirSync(layout);
  execFileSync("tar", ["-C", layout, "-xf", ours]);
  await runs("umoci", "unpack", "--image", `${layout}:1`, file("bundle"));
  assert.ok(readdirSync(file("bundle/rootfs")).length > 0);
  await runs("umoci", "config", "--image", `${layout}:1`, "--tag", "changed", "--config.user", "7");
  execFileSync("tar", ["-C", layout, "-cf", file("umoci.tar"), "."]);
  const imported = await crid(node, "images", "import", "--name", "example.org/umoci", file("umoci.tar"));
  assert.match(imported, /^imported .*example\.org\/umoci:changed.*$/m);
  const { status } = await node.json<{ status: { uid: { value: string } } }>("inspecti", "example.org/umoci:changed");
  assert.equal(status.uid.value, "7");
  for (const one of (await node.crictl("images", "-q")).split("\n")) await node.crictl("rmi", one);
  assert.deepEqual(readdirSync(file("root/content/blobs/sha256")), []);
});

test("what was imported runs; hostile archives are refused and keep nothing", async () => {
  await crid(node, "images", "pull", busybox);
  await crid(node, "images", "export", "-o", file("busybox.tar"), busybox);
  await crid(node, "images", "rm", busybox);
  writeFileSync(
    file("evil.tar"),
    execFileSync("sh", [
      "-c",
      'cd "$1" && ln -s /etc/shadow manifest.json && tar -c manifest.json; rm manifest.json',
      "sh",
      node.directory,
    ]),
  );
  truncateSync(file("busybox.tar"), 100_000);
  for (const [name, expected] of [
    ["evil.tar", /outside of the archive/],
    ["busybox.tar", /ends in the middle/],
    ["config.yaml", /malformed tar|ends in the middle/],
  ] as const) {
    const { status, stderr } = await tryCrid(node, ["images", "import", file(name)]);
    assert.equal(status, 1, name);
    assert.match(stderr, expected, name);
  }
  assert.deepEqual(readdirSync(file("root/content/ingest")), []);
  assert.deepEqual(readdirSync(file("root/content/blobs/sha256")), []);

  await crid(node, "images", "pull", busybox);
  const script = `${cridProgram} images export ${busybox} --address ${node.socket} | ${cridProgram} images import --name imported:1 - --address ${node.socket}`;
  assert.match(await runs("sh", "-c", script), /imported docker\.io\/library\/imported:1, registry\.k8s\.io/);
  const { container, pod } = await runContainer(node, ["sh", "-c", "exit 5"], {
    pod: { linux: { cgroup_parent: node.cgroup, security_context: { namespace_options: { network: 2 } } } },
    container: { image: { image: "imported:1" } },
  });
  assert.equal((await exited(node, container)).exitCode, 5);
  await node.crictl("rmp", "-f", pod);
});

test("an image of 200 layers runs: more than the shim's mount call has options for", async () => {
  await using registry = await FakeRegistry.start();
  // busybox's own parts, and as many layers on top.
  const ours = await image(busybox);
  const part = async (digest: string): Promise<Buffer> => {
    await crid(node, "content", "get", "-o", file("part"), digest);
    return readFileSync(file("part"));
  };
  const manifest = JSON.parse((await part(ours?.manifestDigest ?? "")).toString()) as { layers: { mediaType: string; digest: string }[] };
  const config = JSON.parse((await part(ours?.id ?? "")).toString()) as { rootfs: { diff_ids: string[] } };
  const top = await makeTestImage({ layers: Array.from({ length: 200 }, (_, n) => [{ name: `layer${n}`, content: `${n}` }]) });
  const below = await Promise.all(manifest.layers.map(async ({ mediaType, digest }) => blob(mediaType, await part(digest))));
  config.rootfs.diff_ids.push(...top.diffIds);
  const many = { config: blob(top.config.mediaType, JSON.stringify(config)), layers: [...below, ...top.layers] };
  const document = { schemaVersion: 2, config: describe(many.config), layers: many.layers.map(describe) };
  const ref = registry.add("app", "many", {
    ...many,
    diffIds: config.rootfs.diff_ids,
    manifest: blob("application/vnd.oci.image.manifest.v1+json", JSON.stringify(document)),
  });
  await crid(node, "images", "pull", "-q", ref);
  const script = "cat /layer0 /layer100 /layer199; echo written >/new; exec cat /new";
  const { container, pod } = await runContainer(node, ["sh", "-c", script], {
    pod: { linux: { cgroup_parent: node.cgroup, security_context: { namespace_options: { network: 2 } } } },
    container: { image: { image: ref } },
  });
  assert.equal((await exited(node, container)).exitCode, 0);
  assert.equal(await node.crictl("logs", container), "0100199written");
  await node.crictl("rmp", "-f", pod);
  await crid(node, "images", "rm", ref);
  assert.deepEqual(mountsBelow(node.directory), []);
});

test("mount and unmount: the files are there to be read, and no mount stays", async () => {
  const path = await crid(node, "images", "mount", busybox);
  assert.ok(existsSync(join(path, "bin/sh")));
  assert.throws(() => writeFileSync(join(path, "x"), ""), { code: "EROFS" });
  assert.equal(await crid(node, "images", "mount", busybox), path);
  assert.match(await crid(node, "images", "mount"), new RegExp(`^[0-9a-f]{12} +${path}$`, "m"));
  await node.stop("SIGKILL");
  await node.start();
  assert.ok(existsSync(join(path, "bin/sh")), "it survives the daemon");
  assert.match(await crid(node, "images", "mount"), new RegExp(path));
  await crid(node, "images", "unmount", busybox);
  assert.deepEqual(mountsBelow(node.directory), []);
  const again = await tryCrid(node, ["images", "unmount", path]);
  assert.match(again.stderr, /is not mounted/);
  await crid(node, "images", "mount", busybox);
  await crid(node, "images", "unmount", "--all");
  assert.deepEqual(mountsBelow(node.directory), []);
});

test("content: every blob with its owner, and its bytes", async () => {
  const ours = await image(busybox);
  const { blobs } = await cridJson<{ blobs: { digest: string; size: number; imageIds: string[] }[] }>(node, "content", "ls");
  assert.ok(blobs.every(({ imageIds }) => imageIds.includes(ours?.id ?? "")));
  assert.match(await crid(node, "content", "ls"), new RegExp(`^${ours?.id} +[\\d.]+ \\w+ +\\d{4}-\\d\\d-\\d\\d `, "m"));
  const config = JSON.parse(await crid(node, "content", "get", ours?.id ?? "")) as { architecture: string };
  assert.equal(config.architecture, "amd64");
  await crid(node, "content", "get", "-o", file("blob"), ours?.id ?? "");
  assert.equal(execFileSync("sha256sum", [file("blob")], { encoding: "utf8" }).slice(0, 64), ours?.id.slice(7));
});

test("check tells damage, --repair mends it", async () => {
  assert.equal(await crid(node, "images", "check"), "everything is there and whole");
  const ours = await image(busybox);
  const { blobs } = await cridJson<{ blobs: { digest: string; size: number }[] }>(node, "content", "ls");
  const biggest = blobs.sort((a, b) => b.size - a.size)[0]?.digest ?? "";
  rmSync(file(`root/content/blobs/${biggest.replace(":", "/")}`));
  writeFileSync(file(`root/content/blobs/${ours?.id.replace(":", "/")}`), "{}");
  const found = await tryCrid(node, ["images", "check"]);
  assert.equal(found.status, 2);
  assert.match(found.stdout, new RegExp(`: blob-missing ${biggest}$`, "m"));
  assert.match(found.stdout, new RegExp(`: blob-damaged ${ours?.id}: `, "m"));
  const repaired = await tryCrid(node, ["images", "check", "--repair"]);
  assert.equal(repaired.status, 0, repaired.stdout);
  assert.match(repaired.stdout, /: repaired$/m);
  assert.deepEqual(await cridJson(node, "images", "check"), { faults: [], repairs: [] });
});

test("the database is lost: state rebuild brings images and names back, also without a daemon", async () => {
  const beforeLoss = (await cridJson<{ images: ListedImage[] }>(node, "images", "ls")).images;
  await node.stop();
  for (const name of readdirSync(file("root"))) if (name.startsWith("meta.db")) renameSync(file(`root/${name}`), file(`lost-${name}`));
  rmSync(file("root/snapshots"), { recursive: true });
  const { status, stdout, stderr } = await runWithInput(cridProgram, ["state", "rebuild", "--config", file("config.yaml")]);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^restored docker\.io\/library\/imported:1, /m);
  assert.match(stdout, /^1 images restored, 0 skipped$/m);
  await node.start();
  assert.deepEqual((await cridJson<{ images: ListedImage[] }>(node, "images", "ls")).images, beforeLoss);
  assert.match(await crid(node, "state", "rebuild"), /^0 images restored, 0 skipped$/m);
  const second = await runWithInput(cridProgram, ["state", "rebuild", "--config", file("config.yaml")]);
  assert.equal(second.status, 0, "the daemon that runs is asked");
});

test("registry explain: the endpoints in order, with what they answer", async () => {
  const text = await crid(node, "registry", "explain", busybox);
  assert.match(text, /^registry\.k8s\.io\/e2e-test-images\/busybox:1\.29-2\n {2}1\. http:\/\/127\.0\.0\.1:\d+\/v2 \(mirror\)/);
  assert.match(text, /answer: +sha256:[0-9a-f]{64} \(application\//);
  assert.match(text, /2\. https:\/\/registry\.k8s\.io\/v2 .*FAILED/s);
  const { status, stdout } = await tryCrid(node, ["registry", "explain", "docker.io/crid/nothing:1"]);
  assert.equal(status, 1);
  assert.match(stdout, /FAILED.*404/);
});

function mountsBelow(directory: string): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((point) => point.startsWith(directory) && !point.includes("/netns/.pool-"));
}
