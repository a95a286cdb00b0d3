import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { digestOf } from "../base/digest.ts";
import { CridError } from "../base/errors.ts";
import { detachAll, MS_RDONLY, mount } from "../linux/mount.ts";
import { type FuzzCase, fuzzCases, randomOf } from "./fuzz-testkit.ts";
import { cleanPath } from "./layer-path.ts";
import { LayerUnpacker } from "./layer-unpacker.ts";
import type { TarEntry } from "./tar-entry.ts";
import { TarReader } from "./tar-reader.ts";
import { describeTree } from "./testkit.ts";
import type { UnpackResult, UnpackTarget } from "./unpack-job.ts";

// Layers out of GNU tar, out of real images and made up, changed at random: what both forms and GNU tar unpack is the same tree; what is
// refused is refused by both forms, as the layer's fault. CRID_FUZZ_RUNS says how many, CRID_FUZZ_SEED
// repeats a run, CRID_FUZZ_KEEP is a folder for the last one (docs/images.md).

const runs = Number(process.env.CRID_FUZZ_RUNS ?? 150);
/** The same in every run of the suite: what is new is found by long runs, not by somebody who has changed something else. */
const seed = Number(process.env.CRID_FUZZ_SEED ?? 1);
const batch = 50;
const limits = { maxBytes: 8 * 1024 * 1024, maxEntries: 2000 };

/** What we refuse and GNU tar does not: each on purpose, most as the other forms of a layer could not hold it. */
const stricter: RegExp[] = [
  /a single zero block between entries|ends in the middle of an entry|ends after an extension header/,
  /pax record|sparse/,
  /is not an octal number|checksum does not match|is not a time|unknown type/,
  /has the (owner|group|device number) |a link target of|image\.maxLayer(Bytes|Entries)/,
  /hard link ".*" to (a directory|the root)|names no file|root of the layer is not a directory/,
  /is a file and has entries below it|too many links|points outside/,
  /negative size|a size that|is not a number|is out of range|extension header of/,
];

const work = mkdtempSync(join(tmpdir(), "crid-fuzz-"));
const memory = join(work, "memory");
mkdirSync(memory);
mount("tmpfs", memory, "tmpfs", 0, "size=1g");
const unpacker = new LayerUnpacker({ threads: 2, gunzip: "builtin" });
after(async () => {
  await unpacker[Symbol.asyncDispose]();
  detachAll(memory);
  rmSync(work, { recursive: true, force: true });
});

type Outcome = { tree: string[]; result: UnpackResult } | { refused: CridError };

async function unpack(kind: UnpackTarget["kind"], archive: Buffer, directory: string): Promise<Outcome> {
  const path = join(directory, "out");
  mkdirSync(path, { recursive: true });
  const file = join(directory, "blob");
  writeFileSync(file, archive);
  const image = join(work, "image.erofs");
  rmSync(image, { force: true });
  const target = { kind, path: kind === "erofs" ? image : path };
  const before = readdirSync(directory);
  try {
    const result = await unpacker.unpack(
      { file, blobBytes: archive.length, target, expectedDiffId: digestOf(archive), limits },
      { signal: AbortSignal.timeout(60_000) },
    );
    if (kind === "directory") return { tree: describeTree(path), result };
    mount(image, path, "erofs", MS_RDONLY);
    return { tree: describeTree(path), result };
  } catch (error) {
    assert.ok(error instanceof CridError, String(error));
    return { refused: error };
  } finally {
    detachAll(path);
    assert.deepEqual(readdirSync(directory), before, "something was written outside");
  }
}

/** GNU tar over a batch of archives, in a mount namespace in which only the places to unpack to can be written. Answers exit codes. */
function gnuTar(directory: string, names: readonly string[]): Map<string, number> {
  const script = `
    mount -o remount,bind,ro / || exit 9
    cd "$0" || exit 9
    for name in ${names.join(" ")}; do
      mkdir "$name/tar"
      timeout 20 tar -C "$name/tar" -p --delay-directory-restore --numeric-owner --xattrs --xattrs-include='*' -xf "$name/archive" >"$name/log" 2>&1
      echo "$name $?"
    done`;
  const { stdout, status, stderr } = spawnSync("unshare", ["--mount", "--propagation", "private", "sh", "-c", script, directory], {
    encoding: "utf8",
  });
  assert.equal(status, 0, stderr);
  return new Map(
    stdout
      .trim()
      .split("\n")
      .map((line): [string, number] => {
        const [name = "", code = ""] = line.split(" ");
        return [name, Number(code)];
      }),
  );
}

/** Directories that are only implied have no attributes of their own before the layers below are known. */
function comparable(tree: readonly string[], implied: readonly string[]): string[] {
  const ignored = new Set(implied);
  return tree.map((line) => {
    const path = line.slice(0, line.search(/ [0-7]{5,6} \d+:\d+ /));
    // A whiteout is a name that is gone: it has no time.
    return ignored.has(path) ? `${path} implied` : line.replace(/ 20000 0:0 \d+ links=1 0 $/, " whiteout");
  });
}

/** Not deepEqual: its report of two trees is pages long. */
function assertSame(what: string, actual: readonly string[], expected: readonly string[]): void {
  const lines = [
    ...actual.filter((line) => !expected.includes(line)).map((line) => `+ ${line}`),
    ...expected.filter((line) => !actual.includes(line)).map((line) => `- ${line}`),
  ];
  assert.equal(lines.length, 0, `${what}\n${lines.slice(0, 10).join("\n")}`);
  assert.equal(actual.length, expected.length, what);
}

test(`${runs} layers changed at random (seed ${seed})`, async () => {
  const random = randomOf(seed);
  const counts = { same: 0, refused: 0, stricter: 0, onlyOurs: 0 };
  const cases = fuzzCases(random, work);
  for (let done = 0; done < runs; done += batch) {
    const some: (FuzzCase & { name: string })[] = [];
    for (let n = 0; n < Math.min(batch, runs - done); n++) some.push({ name: `case${done + n}`, ...cases() });
    for (const { name, archive } of some) {
      mkdirSync(join(memory, name));
      writeFileSync(join(memory, name, "archive"), archive);
    }
    const codes = gnuTar(
      memory,
      some.map(({ name }) => name),
    );
    for (const { name, archive, what } of some) {
      const keep = `${what}; seed ${seed}, ${name}; GNU tar: ${codes.get(name)}`;
      if (process.env.CRID_FUZZ_KEEP !== undefined) writeFileSync(join(process.env.CRID_FUZZ_KEEP, "last.tar"), archive);
      const directory = await unpack("directory", archive, join(memory, name, "directory"));
      const erofs = await unpack("erofs", archive, join(memory, name, "erofs"));
      if ("refused" in directory || "refused" in erofs) {
        if ("refused" in erofs && erofs.refused.kind === "failed-precondition") continue;
        assert.ok("refused" in directory && "refused" in erofs, `${keep}: one form refuses: ${JSON.stringify([directory, erofs])}`);
        assert.equal(directory.refused.kind, "invalid-argument", `${keep}: ${directory.refused.message}`);
        assert.equal(erofs.refused.kind, "invalid-argument", `${keep}: ${erofs.refused.message}`);
        if (codes.get(name) !== 0) counts.refused++;
        else {
          counts.stricter++;
          const { message } = directory.refused;
          if (process.env.CRID_FUZZ_SHOW !== undefined) console.error(message);
          assert.ok(
            stricter.some((pattern) => pattern.test(message)),
            `${keep}: refused: ${message}`,
          );
        }
        continue;
      }
      const { impliedDirectories: implied } = directory.result.fixups;
      assertSame(`${keep}: the forms differ`, comparable(erofs.tree, implied), comparable(directory.tree, implied));
      if (codes.get(name) !== 0 || hasWhiteouts(archive) || cutsLongName(archive) || replacesLink(archive)) {
        counts.onlyOurs++;
        continue;
      }
      const reference = comparable(describeTree(join(memory, name, "tar")), implied);
      const file = join(memory, name, "archive");
      assertSame(
        `${keep}: GNU tar has another tree`,
        withoutTwice(comparable(directory.tree, implied), file),
        withoutTwice(reference, file),
      );
      counts.same++;
    }
    for (const { name } of some) execFileSync("rm", ["-rf", join(memory, name)]);
  }
  console.error(JSON.stringify(counts));
  assert.ok(counts.same >= runs / 10, `too few were valid to say anything: ${JSON.stringify(counts)}`);
  assert.ok(counts.refused >= runs / 20, `too few were malformed to say anything: ${JSON.stringify(counts)}`);
});

/**
 * Without directories and links that are in the archive more than once, and what took a directory's place: the last entry of one counts for us as for
 * Go's tar, while GNU tar sets attributes of directories, and makes links out of the tree, at its end, by name, and keeps the first. And without
 * directories that are there, or have something, by an odd spelling: it sets their times before such a link is made ("d" for "d/./w"), and loses their
 * attributes ("d/./").
 */
function withoutTwice(tree: readonly string[], archive: string): string[] {
  const { stdout } = spawnSync("tar", ["--quoting-style=literal", "-tf", archive], { encoding: "latin1" });
  const seen = new Set<string>();
  const directories = new Set<string>();
  const twice = new Set<string>();
  for (const name of stdout.split("\n")) {
    const path = name
      .split("/")
      .filter((part) => part !== "" && part !== ".")
      .join("/");
    if (seen.has(path)) twice.add(path);
    seen.add(path);
    if (name.endsWith("/")) directories.add(path);
    if (/\/(\.?\/)/.test(name)) twice.add(path).add(path.slice(0, Math.max(0, path.lastIndexOf("/"))));
  }
  return tree.filter((line) => {
    const path = line.slice(0, line.search(/ [0-7]{5,6} \d+:\d+ /));
    return !(twice.has(path) && (directories.has(path) || / (4|12)[0-7]{4} \d+:/.test(line)));
  });
}

/** Whether a long name goes on behind the size that its header gives it: GNU tar reads on in the block, for us as for Go's tar the size counts. */
function cutsLongName(archive: Buffer): boolean {
  for (let at = 0; at + 1024 <= archive.length; at += 512) {
    const flag = archive.toString("latin1", at + 156, at + 157);
    if (flag !== "L" && flag !== "K") continue;
    const size = Number.parseInt(archive.toString("latin1", at + 124, at + 136), 8);
    if (size % 512 !== 0 && archive[at + 512 + size] !== 0 && !archive.subarray(at + 512, at + 512 + size).includes(0)) return true;
  }
  return false;
}

/**
 * Whether a link gives way to something else, or the other way round: until its end GNU tar has an empty file in the place of a link out of the tree, and
 * what is linked to that, or written over it, is not what the archive says.
 */
function replacesLink(archive: Buffer): boolean {
  const links = new Map<string, boolean>();
  let found = false;
  const entry = ({ path: name, type }: TarEntry): void => {
    const path = cleanPath(name);
    const before = links.get(path);
    found ||= before !== undefined && (before || type === "symlink");
    links.set(path, type === "symlink");
  };
  new TarReader({ entry, data: () => undefined, entryEnd: () => undefined }, limits).push(archive);
  return found;
}

/** GNU tar does not know them. */
function hasWhiteouts(archive: Buffer): boolean {
  return archive.includes(".wh.");
}
