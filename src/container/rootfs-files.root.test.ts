import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { mknod, S_IFCHR, S_IFIFO } from "../linux/files.ts";
import { lsetxattr } from "../linux/xattr.ts";
import { RootfsFiles } from "./rootfs-files.ts";

class Layers implements Disposable {
  readonly dir = mkdtempSync(join(tmpdir(), "rf-"));

  layer(name: string, files: Record<string, string>): string {
    for (const [path, content] of Object.entries(files)) {
      const full = join(this.dir, name, path);
      mkdirSync(dirname(full), { recursive: true });
      if (content.startsWith("->")) symlinkSync(content.slice(2), full);
      else writeFileSync(full, content);
    }
    return join(this.dir, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

const text = (files: RootfsFiles, path: string): string | undefined => files.read(path)?.toString();

test("the topmost layer that has the file wins", () => {
  using layers = new Layers();
  const files = new RootfsFiles([
    layers.layer("top", { "etc/passwd": "top" }),
    layers.layer("low", { "etc/passwd": "low", "etc/group": "low" }),
  ]);
  assert.equal(text(files, "/etc/passwd"), "top");
  assert.equal(text(files, "etc/group"), "low");
  assert.equal(text(files, "/etc/shadow"), undefined);
  assert.equal(text(files, "/etc/passwd/x"), undefined);
  assert.equal(text(files, "/etc"), undefined);
});

test("whiteouts and opaque directories hide what lies below", () => {
  using layers = new Layers();
  const top = layers.layer("top", { "opaque/own": "own" });
  const low = layers.layer("low", { "etc/passwd": "low", "opaque/old": "old", "gone/f": "f" });
  mkdirSync(join(top, "etc"));
  mknod(join(top, "etc/passwd"), S_IFCHR | 0o600);
  mknod(join(top, "gone"), S_IFCHR | 0o600);
  lsetxattr(join(top, "opaque"), "trusted.overlay.opaque", Buffer.from("y"));
  const files = new RootfsFiles([top, low]);
  assert.equal(text(files, "/etc/passwd"), undefined);
  assert.equal(text(files, "/gone/f"), undefined);
  assert.equal(text(files, "/opaque/old"), undefined);
  assert.equal(text(files, "/opaque/own"), "own");
});

test("links are followed inside, over layers, and never out", () => {
  using layers = new Layers();
  writeFileSync(join(layers.dir, "secret"), "of the host");
  const top = layers.layer("top", {
    "etc/passwd": "->/usr/lib/passwd",
    "etc/group": "->../../../../../../secret",
    "etc/abs": `->${join(layers.dir, "secret")}`,
    "etc/loop": "->loop",
    link: "->usr/lib/",
  });
  const files = new RootfsFiles([top, layers.layer("low", { "usr/lib/passwd": "real", secret: "of the image" })]);
  assert.equal(text(files, "/etc/passwd"), "real");
  assert.equal(text(files, "/link/passwd"), "real");
  assert.equal(text(files, "/etc/group"), "of the image");
  assert.equal(text(files, "/etc/abs"), undefined);
  assert.equal(text(files, "/etc/loop"), undefined);
});

test("a fifo is no file, a file that is too large an error", () => {
  using layers = new Layers();
  const only = layers.layer("only", { big: "x".repeat(100) });
  mknod(join(only, "fifo"), S_IFIFO | 0o600);
  const files = RootfsFiles.of([{ type: "bind", source: only, target: "", options: [] }]);
  assert.equal(text(files, "/fifo"), undefined);
  assert.throws(() => files.read("/big", 50), { kind: "resource-exhausted" });
});

test("the layers of an overlay are its options", () => {
  using layers = new Layers();
  const [a, b] = [layers.layer("a", { f: "a" }), layers.layer("b", { f: "b", g: "b" })];
  const upper = layers.layer("upper", { f: "upper" });
  const overlay = { type: "overlay", source: "overlay", target: "", options: [`workdir=/w`, `upperdir=${upper}`, `lowerdir=${a}:${b}`] };
  const files = RootfsFiles.of([overlay]);
  assert.deepEqual([text(files, "/f"), text(files, "/g")], ["upper", "b"]);
  assert.throws(() => RootfsFiles.of([{ ...overlay, type: "erofs" }]), { kind: "unimplemented" });
});
