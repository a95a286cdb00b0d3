import { join } from "node:path";
import { type Machine, mirrored, repo } from "./machine.ts";

export type RuntimeName = "crid" | "containerd";

/** What a runtime puts on a node: its configuration and service, and the folders that it brings. */
export interface RuntimeFiles {
  socket: string;
  files: Record<string, string>;
  copies: readonly (readonly [string, string])[];
}

const crictl = (socket: string): string => `runtime-endpoint: unix://${socket}\nimage-endpoint: unix://${socket}\ntimeout: 30\n`;

export function runtimeFiles(name: RuntimeName, machine: Machine): RuntimeFiles {
  return name === "crid" ? crid(machine) : containerd(machine);
}

function crid(machine: Machine): RuntimeFiles {
  const socket = "/run/crid/crid.sock";
  const endpoints = machine.endpoints;
  return {
    socket,
    files: {
      "/etc/crid/config.yaml": `log: { level: debug, format: text }
runtime:
  handlers:
    runc: {}
    second: { shim: containerd-shim-runc-v2, binary: runc }
registry:
  mirrors:
${mirrored.map((host) => `    ${host}: { endpoints: ${JSON.stringify(endpoints)} }`).join("\n")}
`,
      "/etc/crictl.yaml": crictl(socket),
      "/etc/services/runtime": "#!/bin/sh\nexec /usr/local/lib/crid/bin/crid serve\n",
    },
    // The layout of a release: the bundle, its Node (which the node sees as a file of the machine) and its native module beside it.
    copies: [
      [join(repo, "dist"), "/usr/local/lib/crid"],
      [join(repo, "node_modules/koffi"), "/usr/local/lib/crid/node_modules/koffi"],
      [join(repo, "node_modules/@koromix"), "/usr/local/lib/crid/node_modules/@koromix"],
    ],
  };
}

/** Configured for this kind of machine: oom_score_adj clamped (no CAP_SYS_RESOURCE), the second handler, mirrors. */
function containerd(machine: Machine): RuntimeFiles {
  const socket = "/run/containerd/containerd.sock";
  const hosts = machine.endpoints.map((endpoint) => `[host."${endpoint}"]\ncapabilities = ["pull", "resolve"]\n`).join("");
  const handler = (id: string): string => `  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.${id}]
    runtime_type = "io.containerd.runc.v2"
`;
  return {
    socket,
    files: {
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
      "/etc/crictl.yaml": crictl(socket),
      "/etc/services/runtime": "#!/bin/sh\nexport OTEL_TRACES_EXPORTER=none\nexec containerd\n",
    },
    copies: [],
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
