import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import type { MountConfig } from "../records/container-config.ts";
import { hostBind } from "./host-lookups.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "crid-host-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const options = { signal: new AbortController().signal };

function mount(hostPath: string): MountConfig {
  return {
    containerPath: "/x",
    hostPath,
    readonly: false,
    recursiveReadonly: false,
    selinuxRelabel: false,
    propagation: "private",
    uidMappings: [],
    gidMappings: [],
    options: [],
  } as unknown as MountConfig;
}

test("a hostPath that is not there becomes a directory: kube-proxy mounts /lib/modules of a node without modules", async () => {
  const path = join(directory, "lib/modules");
  assert.equal((await hostBind(mount(path), options)).source, path);
  assert.equal(statSync(path).mode & 0o7777, 0o755);
});

test("links are followed; a link to nowhere and a file in the way are said", async () => {
  writeFileSync(join(directory, "file"), "");
  symlinkSync("file", join(directory, "link"));
  symlinkSync("nowhere/at/all", join(directory, "dangling"));
  assert.equal((await hostBind(mount(join(directory, "link")), options)).source, join(directory, "file"));
  await assert.rejects(hostBind(mount(join(directory, "dangling")), options), { kind: "failed-precondition", message: /dangling/ });
  await assert.rejects(hostBind(mount(join(directory, "file/below")), options), /mount .*file\/below/);
});
