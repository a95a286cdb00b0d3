import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { checkKubelet, readKubeletConfig } from "./kubelet.ts";

const directory = mkdtempSync(join(tmpdir(), "crid-doctor-"));
after(() => rmSync(directory, { recursive: true }));
const file = join(directory, "config.yaml");
const socket = "/run/crid/crid.sock";
const nothing = (): undefined => undefined;

test("the kubelet's configuration is read; a broken one is an error with its path", () => {
  assert.equal(readKubeletConfig(file), undefined);
  writeFileSync(file, "kind: KubeletConfiguration\ncgroupDriver: systemd\nfailCgroupV1: false\nauthentication: {}\n");
  assert.deepEqual(readKubeletConfig(file), { file, cgroupDriver: "systemd", failCgroupV1: false });
  writeFileSync(file, "cgroupDriver: [\n");
  assert.throws(() => readKubeletConfig(file), new RegExp(file));
});

test("its endpoint must be crid's socket, with or without unix://, in its file or its flags", () => {
  const verdict = (endpoint: string | undefined, flags?: string): string | undefined => {
    const kubelet = { file, containerRuntimeEndpoint: endpoint };
    return checkKubelet({ kubelet, file, socket, read: flags === undefined ? nothing : () => flags })[0]?.verdict;
  };
  assert.equal(verdict(`unix://${socket}`), "ok");
  assert.equal(verdict(socket), "ok");
  assert.equal(verdict("unix:///run/containerd/containerd.sock"), "failure");
  assert.equal(verdict(undefined), undefined);
  assert.equal(verdict(undefined, `KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix://${socket}"`), "ok");
  assert.equal(verdict(undefined, 'KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///x.sock --v=2"'), "failure");
  assert.equal(checkKubelet({ kubelet: undefined, file, socket, read: nothing })[0]?.verdict, "ok");
});
