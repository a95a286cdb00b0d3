import * as z from "zod";
import { isErrno, messageOf } from "../base/errors.ts";
import { readYamlFile } from "../config/yaml-file.ts";
import { type Finding, failure, ok } from "./finding.ts";
import type { Read } from "./machine.ts";

/** What of KubeletConfiguration (kubelet.config.k8s.io/v1beta1) concerns the runtime. */
export interface KubeletConfig {
  file: string;
  cgroupDriver?: string | undefined;
  containerRuntimeEndpoint?: string | undefined;
  failCgroupV1?: boolean | undefined;
}

const schema = z.object({
  cgroupDriver: z.string().optional(),
  containerRuntimeEndpoint: z.string().optional(),
  failCgroupV1: z.boolean().optional(),
});

/** @returns undefined when there is no such file yet: kubeadm writes it */
export function readKubeletConfig(file: string): KubeletConfig | undefined {
  try {
    return { file, ...schema.parse(readYamlFile(file) ?? {}) };
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw new Error(`${file}: ${messageOf(error)}`, { cause: error });
  }
}

/** Older kubeadm writes the endpoint into the flags. */
const flagsFile = "/var/lib/kubelet/kubeadm-flags.env";

export function checkKubelet(facts: { kubelet: KubeletConfig | undefined; file: string; socket: string; read: Read }): Finding[] {
  const { kubelet, read } = facts;
  const flag = /--container-runtime-endpoint[= ](\S+?)["\s]/.exec(`${read(flagsFile) ?? ""} `)?.[1];
  if (kubelet === undefined && flag === undefined) return [ok("kubelet", `no configuration at ${facts.file} yet; kubeadm writes it`)];
  const [endpoint, where] = flag === undefined ? [kubelet?.containerRuntimeEndpoint, facts.file] : [flag, flagsFile];
  if (endpoint === undefined || endpoint === "") return [];
  const wanted = `unix://${facts.socket}`;
  if (endpoint.replace(/^unix:\/\//, "") === facts.socket) return [ok("kubelet's endpoint", endpoint)];
  return [
    failure(
      "kubelet's endpoint",
      `${where} leads the kubelet to ${endpoint}, crid serves ${wanted}`,
      `sed -i 's|${endpoint}|${wanted}|' ${where} && systemctl restart kubelet`,
    ),
  ];
}
