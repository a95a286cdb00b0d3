import { existsSync } from "node:fs";
import { connect } from "node:net";
import * as z from "zod";
import { isErrno, messageOf } from "../base/errors.ts";
import { readYamlFile } from "../config/yaml-file.ts";
import { type Finding, failure, ok, warning } from "./finding.ts";

const start = "systemctl enable --now crid\nwithout systemd: crid serve";
/** Where kubeadm and crictl look by themselves; they do not know crid's. */
const others = ["/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/cri-dockerd.sock"];

export async function checkSocket(path: string): Promise<Finding> {
  const subject = "CRI socket";
  try {
    await reach(path);
    return ok(subject, `${path} answers`);
  } catch (error) {
    if (isErrno(error, "EACCES")) return failure(subject, `${path}: no permission`, "run crid doctor as root");
    const why = isErrno(error, "ENOENT")
      ? "is not there"
      : isErrno(error, "ECONNREFUSED")
        ? "is left over, nobody serves it"
        : messageOf(error);
    return failure(subject, `${path}: ${why}: crid does not run`, start);
  }
}

async function reach(path: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect({ path }).once("connect", resolve).once("error", reject);
  try {
    await promise;
  } finally {
    socket.destroy();
  }
}

/** kubeadm asks which runtime is meant when it finds several, and takes containerd's when it finds none. */
export function checkOtherRuntimes(socket: string, exists: (path: string) => boolean = existsSync): Finding[] {
  const found = others.filter((path) => path !== socket && exists(path));
  if (found.length === 0) return [];
  return [
    warning(
      "other runtimes",
      `${found.join(", ")} ${found.length === 1 ? "is" : "are"} here too: kubeadm and crictl go there unless they are told`,
      `kubeadm init --cri-socket unix://${socket}   (or criSocket in its configuration)`,
    ),
  ];
}

const crictlSchema = z.object({ "runtime-endpoint": z.string().optional() });

export function checkCrictl(file: string, socket: string): Finding {
  const subject = "crictl";
  const wanted = `unix://${socket}`;
  const fix = `printf 'runtime-endpoint: ${wanted}\\nimage-endpoint: ${wanted}\\n' > ${file}`;
  try {
    const endpoint = crictlSchema.parse(readYamlFile(file) ?? {})["runtime-endpoint"];
    if (endpoint?.replace(/^unix:\/\//, "") === socket) return ok(subject, `${file} leads to ${endpoint}`);
    return warning(subject, `${file} leads to ${endpoint ?? "no endpoint"}, crid serves ${wanted}`, fix);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return warning(subject, `there is no ${file}: crictl does not know crid's socket`, fix);
    return warning(subject, `${file}: ${messageOf(error)}`, fix);
  }
}
