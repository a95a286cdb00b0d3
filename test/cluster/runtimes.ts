import { readFileSync } from "node:fs";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { type Machine, mirrored, repo } from "./machine.ts";

export type RuntimeName = "crid" | "containerd";

/** What an operator has put on a node before kubeadm runs. */
export interface RuntimeFiles {
  files: Record<string, string>;
  /** The tarball of a release that is unpacked over /. */
  release?: string;
}

export function socketOf(name: RuntimeName): string {
  return name === "crid" ? "/run/crid/crid.sock" : "/run/containerd/containerd.sock";
}

export function crictlConfiguration(name: RuntimeName): string {
  const socket = socketOf(name);
  return `runtime-endpoint: unix://${socket}\nimage-endpoint: unix://${socket}\ntimeout: 30\n`;
}

/** crid's release of this checkout (hack/package). */
export const release = join(repo, `dist/release/crid-${manifest.version}-linux-amd64.tar.gz`);

/** The files of a node that runs `name`. The other runtime is configured too, as a node that moves from one to the other needs both. */
export function runtimeFiles(name: RuntimeName, machine: Machine): RuntimeFiles {
  return {
    files: {
      ...containerdFiles(machine),
      "/etc/crictl.yaml": crictlConfiguration(name),
      "/etc/services/crid": "#!/bin/sh\nexec crid serve\n",
      "/etc/services/containerd": "#!/bin/sh\nexport OTEL_TRACES_EXPORTER=none\nexec containerd\n",
      "/etc/services/kubelet": kubeletService,
      [`/etc/services/${name === "crid" ? "containerd" : "crid"}.disabled`]: "",
      "/usr/local/bin/systemctl": readFileSync(join(import.meta.dirname, "systemctl.sh"), "utf8"),
      ...(name === "crid" ? { "/etc/crid/config.yaml": cridConfiguration(machine) } : {}),
    },
    ...(name === "crid" ? { release } : {}),
  };
}

export function cridConfiguration(machine: Machine): string {
  const mirror = `{ endpoints: ${JSON.stringify(machine.endpoints)} }`;
  return `log: { level: debug, format: text }
runtime:
  handlers:
    runc: {}
    second: { shim: containerd-shim-runc-v2, binary: runc }
registry:
  mirrors:
${mirrored.map((host) => `    ${host}: ${mirror}`).join("\n")}
`;
}

/** Configured for this kind of machine: oom_score_adj clamped (no CAP_SYS_RESOURCE), the second handler, mirrors. */
function containerdFiles(machine: Machine): Record<string, string> {
  const hosts = machine.endpoints.map((endpoint) => `[host."${endpoint}"]\ncapabilities = ["pull", "resolve"]\n`).join("");
  const handler = (id: string): string => `  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.${id}]
    runtime_type = "io.containerd.runc.v2"
`;
  return {
    ...Object.fromEntries(
      mirrored.map((host) => [`/etc/containerd/certs.d/${host}/hosts.toml`, `server = "${machine.endpoints[0]}"\n${hosts}`]),
    ),
    "/etc/containerd/config.toml": `version = 3
[debug]
  level = "info"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["/opt/cni/bin"]
    conf_dir = "/etc/cni/net.d"
${handler("runc")}${handler("second")}
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "registry.k8s.io/pause:3.10.2"
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = "/etc/containerd/certs.d"
[plugins.'io.containerd.nri.v1.nri']
  disable = true
`,
  };
}

/** The kubelet as kubeadm's systemd drop-in starts it, once kubeadm has written what it needs. */
export const kubeletService = `#!/bin/bash
until [ -e /var/lib/kubelet/config.yaml ] && [ -e /var/lib/kubelet/kubeadm-flags.env ] &&
  { [ -e /etc/kubernetes/kubelet.conf ] || [ -e /etc/kubernetes/bootstrap-kubelet.conf ]; }; do sleep 0.1; done
. /var/lib/kubelet/kubeadm-flags.env
[ ! -e /etc/default/kubelet ] || . /etc/default/kubelet
exec kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf \\
  --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
`;
