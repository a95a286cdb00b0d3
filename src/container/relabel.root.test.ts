import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { lgetxattr, lsetxattr } from "../linux/xattr.ts";
import { labelled, relabel } from "./relabel.ts";

// The attribute can be set by root without SELinux too: what is not tried here is what the kernel makes of it.
const label = "system_u:object_r:container_file_t:s0:c12,c345";
const options = { signal: new AbortController().signal };
const of = (path: string): string | undefined => lgetxattr(path, "security.selinux")?.toString();

test("a tree is labelled to its leaves; links are labelled, not followed", async () => {
  const base = mkdtempSync(join(tmpdir(), "crid-relabel-"));
  try {
    const [volume, outside] = [join(base, "volume"), join(base, "outside")];
    for (const dir of [outside, join(volume, "a/b/c")]) mkdirSync(dir, { recursive: true });
    const files = ["file", "a/b/c/deep", "a/ünicode\n"].map((name) => join(volume, name));
    for (const file of [...files, join(outside, "secret")]) writeFileSync(file, "x");
    symlinkSync(outside, join(volume, "link"));
    symlinkSync("nowhere", join(volume, "dangling"));
    await relabel(volume, label, options);
    for (const path of [volume, join(volume, "a/b"), ...files, join(volume, "link"), join(volume, "dangling")])
      assert.equal(of(path), `${label}\0`, path);
    for (const path of [outside, join(outside, "secret")]) assert.notEqual(of(path), `${label}\0`, path);

    // Again: only what has another label is touched.
    lsetxattr(join(volume, "file"), "security.selinux", Buffer.from("other\0"));
    await relabel(volume, label, options);
    assert.equal(of(join(volume, "file")), `${label}\0`);
    // A single file.
    await relabel(join(outside, "secret"), label, options);
    assert.equal(of(join(outside, "secret")), `${label}\0`);
    await relabel(join(base, "gone"), label, options);
  } finally {
    rmSync(base, { recursive: true });
  }
});

test("the overlay of a root file system carries the label, its binds do not", () => {
  const overlay = { type: "overlay", source: "overlay", target: "", options: ["index=off"] };
  const bind = { type: "bind", source: "/x", target: "", options: ["ro"] };
  assert.deepEqual(labelled([overlay, bind], label), [{ ...overlay, options: ["index=off", `context="${label}"`] }, bind]);
  assert.deepEqual(labelled([overlay], undefined), [overlay]);
});

test("folders of the system, and an aborted call", async () => {
  for (const path of ["/", "/etc", "/usr/", "/var/lib", process.env.HOME ?? "/root"]) {
    await assert.rejects(relabel(path, label, options), { kind: "invalid-argument", message: /relabeling of .* is not allowed/ });
  }
  await relabel("/etc", undefined, options);
  const aborted = AbortSignal.abort(new Error("gone"));
  const base = mkdtempSync(join(tmpdir(), "crid-relabel-"));
  writeFileSync(join(base, "x"), "");
  await assert.rejects(relabel(base, label, { signal: aborted }), /gone/);
  rmSync(base, { recursive: true });
});
