import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Peer, type PeerName } from "./peer.ts";

const repo = join(import.meta.dirname, "..");
const tools = join(repo, ".tools");
/** In the benchmark's own network namespace, so the port is free. */
export const cridMetrics = "127.0.0.1:1339";
const images = ["registry.k8s.io", "docker.io", "gcr.io"];

/** Both daemons with the same shim, runc, CNI plugins, CNI chain and registry, each with a root, state, bridge and subnet of its own. */
export function makePeers(options: {
  directory: string;
  registry: string;
  subnets: Record<PeerName, string>;
  /** The executable to measure. */
  executable?: string;
}): Record<PeerName | "directories", Peer> {
  const { directory, registry, subnets, executable = join(repo, "dist/bin/crid") } = options;
  const certs = join(directory, "certs.d");
  for (const host of images) {
    mkdirSync(join(certs, host), { recursive: true });
    writeFileSync(
      join(certs, host, "hosts.toml"),
      `server = "http://${registry}"\n[host."http://${registry}"]\ncapabilities = ["pull", "resolve"]\n`,
    );
  }
  const env = { ...process.env, PATH: `${join(tools, "bin")}:${process.env.PATH ?? ""}` };
  const cni = (name: PeerName): string => {
    const confDir = join(directory, name, "net.d");
    mkdirSync(confDir, { recursive: true });
    writeFileSync(join(confDir, "10-bench.conflist"), JSON.stringify(conflist(name, subnets[name], join(directory, name, "ipam"))));
    return confDir;
  };
  return {
    crid: crid(directory, certs, cni("crid"), env, executable),
    // The same with layers as directories; only started by what compares the two.
    directories: crid(directory, certs, cni("crid"), env, executable, "directories"),
    containerd: containerd(directory, certs, cni("containerd"), env),
  };
}

/** The chain of facts: bridge, port mappings, firewall and tuning, as a kubeadm node has it. */
function conflist(name: PeerName, subnet: string, dataDir: string): object {
  return {
    cniVersion: "1.0.0",
    name: `bench-${name}`,
    plugins: [
      {
        type: "bridge",
        bridge: `bench-${name.slice(0, 5)}`,
        isGateway: true,
        ipMasq: true,
        ipam: { type: "host-local", dataDir, ranges: [[{ subnet }]], routes: [{ dst: "0.0.0.0/0" }] },
      },
      { type: "portmap", capabilities: { portMappings: true } },
      { type: "firewall" },
      { type: "tuning" },
    ],
  };
}

function crid(
  directory: string,
  certs: string,
  confDir: string,
  env: NodeJS.ProcessEnv,
  executable: string,
  variant: "crid" | "directories" = "crid",
): Peer {
  const base = join(directory, variant);
  mkdirSync(base, { recursive: true });
  const config = join(base, "config.yaml");
  const socket = join(base, "state", "crid.sock");
  writeFileSync(
    config,
    JSON.stringify({
      root: join(base, "root"),
      state: join(base, "state"),
      log: { level: "warn", format: "text" },
      grpc: { address: socket },
      metrics: { address: variant === "crid" ? cridMetrics : "" },
      nri: { socket: join(base, "nri.sock"), pluginDir: join(base, "nri-plugins") },
      image: { snapshotter: variant === "crid" ? "auto" : "overlayfs" },
      runtime: { handlers: { runc: { shim: join(tools, "bin/containerd-shim-runc-v2"), binary: join(tools, "bin/runc") } } },
      cni: { binDirs: [join(tools, "cni/bin")], confDir },
      registry: { configPath: [certs] },
    }),
  );
  return new Peer({
    name: "crid",
    variant,
    argv: [executable, "serve", "--config", config],
    env,
    socket,
    nriSocket: join(base, "nri.sock"),
    directory,
  });
}

function containerd(directory: string, certs: string, confDir: string, env: NodeJS.ProcessEnv): Peer {
  const base = join(directory, "containerd");
  const config = join(base, "config.toml");
  const socket = join(base, "containerd.sock");
  writeFileSync(
    config,
    `version = 3
root = ${JSON.stringify(join(base, "root"))}
state = ${JSON.stringify(join(base, "state"))}
[grpc]
  address = ${JSON.stringify(socket)}
[debug]
  level = "warn"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = [${JSON.stringify(join(tools, "cni/bin"))}]
    conf_dir = ${JSON.stringify(confDir)}
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = ${JSON.stringify(join(tools, "bin/runc"))}
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "registry.k8s.io/pause:3.9"
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = ${JSON.stringify(certs)}
[plugins.'io.containerd.grpc.v1.cri']
  stream_server_port = "0"
[plugins.'io.containerd.nri.v1.nri']
  socket_path = ${JSON.stringify(join(base, "nri.sock"))}
  plugin_path = ${JSON.stringify(join(base, "nri-plugins"))}
[plugins.'io.containerd.ttrpc.v1.otelttrpc']
`,
  );
  return new Peer({
    name: "containerd",
    argv: [join(tools, "bin/containerd"), "--config", config],
    env,
    socket,
    nriSocket: join(base, "nri.sock"),
    directory,
  });
}
