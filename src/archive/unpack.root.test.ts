import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Header, pack } from "tar-stream";
import { isKind } from "../base/errors.ts";
import { detachAll, MS_RDONLY, mount } from "../linux/mount.ts";
import { lgetxattr, lsetxattr } from "../linux/xattr.ts";
import { LayerUnpacker } from "./layer-unpacker.ts";
import { describeTree, type RawEntry, rawTar } from "./testkit.ts";
import { defaultUnpackLimits, type UnpackResult, type UnpackTarget } from "./unpack-job.ts";

const work = mkdtempSync(join(tmpdir(), "crid-unpack-"));
const unpacker = new LayerUnpacker({ threads: 2 });
after(async () => {
  for (const path of mounted) detachAll(path);
  await unpacker[Symbol.asyncDispose]();
  rmSync(work, { recursive: true, force: true });
});

let count = 0;
const mounted: string[] = [];

type Kind = UnpackTarget["kind"];
const kinds: Kind[] = ["directory", "erofs"];

/** Unpacks into either form; answers a directory that shows the layer. */
async function unpack(
  kind: Kind,
  archive: Buffer,
  diffId?: string,
  limits = defaultUnpackLimits,
): Promise<{ path: string; result: UnpackResult }> {
  const file = join(work, `layer-${++count}`);
  const path = join(work, `out-${count}`);
  writeFileSync(file, archive);
  const target = kind === "erofs" ? `${path}.erofs` : path;
  mkdirSync(path);
  const expectedDiffId = diffId ?? `sha256:${createHash("sha256").update(archive).digest("hex")}`;
  const result = await unpacker.unpack(
    { file, blobBytes: archive.length, target: { kind, path: target }, expectedDiffId, limits },
    { signal: AbortSignal.timeout(60_000) },
  );
  if (kind === "erofs") {
    execFileSync("fsck.erofs", [target]);
    mount(target, path, "erofs", MS_RDONLY);
    mounted.push(path);
  }
  return { path, result };
}

async function tarOf(...entries: (Partial<Header> & { name: string; body?: string })[]): Promise<Buffer> {
  const stream = pack();
  for (const { body, ...header } of entries) stream.entry({ mtime: new Date(1_600_000_000_000), ...header }, body ?? "");
  stream.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function sampleTree(): string {
  const tree = join(work, `tree-${++count}`);
  const script = `
    mkdir -p "$T/etc/deep/er" "$T/usr/bin" "$T/tmp" "$T/dev" "$T/ünï" "$T/${"n".repeat(120)}/${"m".repeat(120)}"
    echo hello > "$T/etc/passwd"; ln "$T/etc/passwd" "$T/etc/hard"; ln -s ../etc/passwd "$T/usr/link"; ln -s /nowhere "$T/abs"
    dd if=/dev/urandom of="$T/usr/bin/big" bs=1k count=300 2>/dev/null; chmod 4755 "$T/usr/bin/big"; chmod 1777 "$T/tmp"
    dd if=/dev/zero of="$T/sparse" bs=1 count=1 seek=3M 2>/dev/null; echo end >> "$T/sparse"; truncate -s 9M "$T/sparse"
    mknod "$T/dev/null" c 1 3; mkfifo "$T/dev/fifo"; chown 1000:50 "$T/etc/deep"; chown 70000:80000 "$T/etc/deep/er"
    : > "$T/${"n".repeat(120)}/${"m".repeat(120)}/x"; echo "bin" > "$T/$(printf 'b\\377d')"
    touch -d '2001-02-03 04:05:06.123456789' "$T/etc/passwd" "$T/etc/deep" "$T/usr/bin/big"`;
  execFileSync("bash", ["-c", script], { env: { ...process.env, T: tree } });
  lsetxattr(join(tree, "usr/bin/big"), "security.capability", Buffer.from("0100000280000000000000000000000000000000", "hex"));
  lsetxattr(join(tree, "etc/deep"), "user.note", Buffer.from([0, 255, 10, 61]));
  return tree;
}

for (const [kind, format, compress] of kinds.flatMap((kind) =>
  ["posix", "gnu", "ustar"].flatMap((format) => ["", "gzip", "zstd"].map((compress) => [kind, format, compress] as const)),
)) {
  test(`${kind}: a tree packed by GNU tar (${format}${compress === "" ? "" : `, ${compress}`}) comes out as GNU tar unpacks it`, async () => {
    const tree = sampleTree();
    const archive = join(work, `archive-${++count}.tar`);
    const reference = join(work, `reference-${count}`);
    mkdirSync(reference);
    const xattrs = format === "posix" ? ["--xattrs", "--xattrs-include=*"] : [];
    // ustar can't hold a 240-byte directory name or an id of 70000 with these digits beyond its fields; leave out what it refuses.
    const leaveOut = format === "ustar" ? ["--exclude=nnn*", "--owner=0", "--group=0"] : [];
    const sparse = format === "ustar" ? [] : ["--sparse"];
    execFileSync("tar", ["-C", tree, ...sparse, `--format=${format}`, ...xattrs, ...leaveOut, "-cf", archive, "."]);
    execFileSync("tar", ["-C", reference, "-p", "--numeric-owner", ...xattrs, "-xf", archive]);
    const plain = readFileSync(archive);
    const body = compress === "" ? plain : execFileSync(compress, ["-c", archive], { maxBuffer: 1 << 28 });
    const { path, result } = await unpack(kind, body, `sha256:${createHash("sha256").update(plain).digest("hex")}`);
    assert.deepEqual(describeTree(path), describeTree(reference));
    assert.deepEqual(result.fixups, { impliedDirectories: [], foreignLinks: [] });
    assert.equal(result.tarBytes, plain.length);
  });
}

const refused: [string, Promise<Buffer> | Buffer, RegExp][] = [
  ["a name with ..", tarOf({ name: "a/../../b", body: "x" }), /points outside/],
  ["a hard link outside", tarOf({ name: "a", type: "link", linkname: "../../etc/passwd" }), /points outside/],
  ["a file below a file", tarOf({ name: "a", body: "x" }, { name: "a/b", body: "y" }), /has entries below it/],
  [
    "links in a circle",
    tarOf({ name: "a", type: "symlink", linkname: "b" }, { name: "b", type: "symlink", linkname: "a" }, { name: "a/c", body: "x" }),
    /too many links/,
  ],
  ["a whiteout of the parent", tarOf({ name: "a/.wh..", body: "" }), /names no file/],
  ["no tar at all", Buffer.alloc(2048, 0x41), /malformed tar/],
];

for (const kind of kinds) {
  test(`${kind}: whiteouts and opaque directories become what overlayfs reads`, async () => {
    const { path } = await unpack(
      kind,
      await tarOf(
        { name: "a", type: "directory" },
        { name: "a/.wh.gone" },
        { name: "b", type: "directory" },
        { name: "b/.wh..wh..opq" },
        { name: "b/new", body: "x" },
        { name: ".wh.c" },
        { name: "c", type: "directory" },
        { name: "d", type: "directory" },
        { name: ".wh.d" },
        { name: "e", body: "kept" },
        { name: ".wh.e" },
      ),
    );
    const gone = lstatSync(join(path, "a/gone"));
    assert.ok(gone.isCharacterDevice() && gone.rdev === 0);
    for (const name of ["b", "c", "d"]) assert.equal(lgetxattr(join(path, name), "trusted.overlay.opaque")?.toString(), "y", name);
    assert.equal(readFileSync(join(path, "e"), "utf8"), "kept");
  });

  test(`${kind}: links in the layer are followed inside the layer only`, async () => {
    const outside = join(work, `outside-${kind}`);
    mkdirSync(outside);
    const { path } = await unpack(
      kind,
      await tarOf(
        { name: "escape", type: "symlink", linkname: outside },
        { name: "escape/file", body: "in" },
        { name: "up", type: "symlink", linkname: "../../../../../../.." },
        { name: "up/other", body: "in" },
      ),
    );
    assert.deepEqual(readdirSync(outside), []);
    assert.equal(readFileSync(join(path, outside, "file"), "utf8"), "in");
    assert.equal(readFileSync(join(path, "other"), "utf8"), "in");
  });

  test(`${kind}: what is only implied is told, so that the commit can take it from the layers below`, async () => {
    const { result } = await unpack(kind, await tarOf({ name: "tmp/x", body: "1" }, { name: "usr/lib/y", body: "2" }));
    assert.deepEqual(
      { ...result.fixups, impliedDirectories: result.fixups.impliedDirectories.sort() },
      {
        impliedDirectories: ["", "tmp", "usr", "usr/lib"],
        foreignLinks: [],
      },
    );
  });

  for (const [what, archive, message] of refused) {
    test(`${kind}: refused: ${what}`, async () => {
      await assert.rejects(unpack(kind, await archive), (error) => isKind(error, "invalid-argument") && message.test(error.message));
    });
  }

  test(`${kind}: refused: another diff id, a cut gzip, a layer over its limit`, async () => {
    const archive = await tarOf({ name: "a", body: "x".repeat(5000) });
    await assert.rejects(unpack(kind, archive, `sha256:${"0".repeat(64)}`), /diff id is sha256:/);
    const zipped = execFileSync("gzip", ["-c"], { input: archive });
    await assert.rejects(unpack(kind, zipped.subarray(0, zipped.length - 20), "sha256:x"), /damaged compressed data|ends in the middle/);
    await assert.rejects(unpack(kind, archive, undefined, { maxBytes: 4000, maxEntries: 10 }), /more than 4000 bytes/);
    await assert.rejects(unpack(kind, archive, undefined, { maxBytes: 1e9, maxEntries: 0 }), /more than 0 entries/);
  });
}

test("an aborted unpack rejects and the next one works", async () => {
  const controller = new AbortController();
  const file = join(work, "slow");
  execFileSync("bash", [
    "-c",
    `mkdir -p ${work}/many && cd ${work}/many && for i in $(seq 3000); do echo $i > $i; done && tar -cf ${file} .`,
  ]);
  const path = join(work, "slow-out");
  mkdirSync(path);
  const running = unpacker.unpack(
    { file, blobBytes: statSync(file).size, target: { kind: "directory", path }, expectedDiffId: "sha256:x", limits: defaultUnpackLimits },
    { signal: controller.signal },
  );
  setTimeout(() => controller.abort(), 20);
  await assert.rejects(running, { name: "AbortError" });
  await unpack("directory", await tarOf({ name: "a", body: "x" }));
});

test("a layer that comes while an idle thread is being ended does not end with it", async () => {
  await using hasty = new LayerUnpacker({ threads: 1, gunzip: "builtin", idleMs: 1 });
  const file = join(work, "small.tar");
  const archive = await tarOf({ name: "a", body: "x" });
  writeFileSync(file, archive);
  const expectedDiffId = `sha256:${createHash("sha256").update(archive).digest("hex")}`;
  for (let round = 0; round < 12; round++) {
    const path = join(work, `hasty-${round}`);
    mkdirSync(path);
    const job = {
      file,
      blobBytes: archive.length,
      target: { kind: "directory", path },
      expectedDiffId,
      limits: defaultUnpackLimits,
    } as const;
    await hasty.unpack(job, { signal: AbortSignal.timeout(60_000) });
    // Into the time that ending a thread takes.
    await sleep(1 + (round % 4));
  }
});

test("a hard link into a layer below: told by a directory, refused by EROFS", async () => {
  const archive = await tarOf({ name: "y", type: "link", linkname: "z" });
  const { result } = await unpack("directory", archive);
  assert.deepEqual(result.fixups.foreignLinks, [{ path: "y", target: "z" }]);
  await assert.rejects(unpack("erofs", archive), (error) => isKind(error, "failed-precondition"));
});

test("the root's attributes fit into a block of an EROFS image, or the layer is to be a directory", async () => {
  const archive = (bytes: number): Buffer =>
    rawTar({ name: "./", flag: "5", pax: { "SCHILY.xattr.user.a": "v".repeat(bytes) } }, { name: "f", body: "x" });
  const { path } = await unpack("erofs", archive(3900));
  assert.equal(lgetxattr(path, "user.a")?.length, 3900);
  assert.deepEqual(readdirSync(path), ["f"]);
  await assert.rejects(unpack("erofs", archive(4500)), (error) => isKind(error, "failed-precondition"));
});

test("more directories than fit into a block, with files of all sizes and two names each", async () => {
  const numbers = Array.from({ length: 300 }, (_, n) => n);
  const name = (n: number): string => `${n}/${"f".repeat(1 + (n % 150))}`;
  const entries = numbers.flatMap((n): RawEntry[] => [
    { name: `${n}/`, flag: "5", mode: 0o700 + (n % 8) },
    { name: name(n), body: "x".repeat(n * 37), uid: n },
    { name: `${n}/again`, flag: "1", linkName: name(n) },
  ]);
  const { path } = await unpack("erofs", rawTar(...entries));
  for (const n of numbers) {
    const { size, uid, nlink } = lstatSync(join(path, `${n}/again`));
    assert.deepEqual([size, uid, nlink], [n * 37, n, 2], String(n));
    assert.equal(readFileSync(join(path, name(n)), "utf8"), "x".repeat(n * 37));
    assert.equal(lstatSync(join(path, String(n))).mode & 0o7777, 0o700 + (n % 8));
  }
});

test("an existing symlink is replaced, never written through", async () => {
  const target = join(work, "victim");
  writeFileSync(target, "safe");
  symlinkSync(target, join(work, "unused"));
  const { path } = await unpack("directory", await tarOf({ name: "f", type: "symlink", linkname: target }, { name: "f", body: "evil" }));
  assert.equal(readFileSync(target, "utf8"), "safe");
  assert.equal(readFileSync(join(path, "f"), "utf8"), "evil");
});
