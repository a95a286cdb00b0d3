import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CriClient } from "./support/cri.ts";
import { TestNode } from "./support/node.ts";
import { busybox, podConfig, runContainer } from "./support/pods.ts";

const node = new TestNode({
  conflist: {
    cniVersion: "1.0.0",
    name: "dual",
    plugins: [
      {
        type: "bridge",
        bridge: "e2edual",
        isGateway: true,
        ipam: {
          type: "host-local",
          dataDir: "/run/e2e-dual",
          ranges: [[{ subnet: "10.66.0.0/24" }], [{ subnet: "fd00:66::/64" }]],
          routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
        },
      },
      { type: "portmap", capabilities: { portMappings: true }, snat: true },
      { type: "bandwidth", capabilities: { bandwidth: true } },
    ],
  },
});
before(async () => {
  await node.start();
  await node.crictl("pull", busybox);
});
after(() => node.close());

const shell = async (script: string): Promise<string> => (await node.command("sh", ["-c", script])).stdout;
const inside = (container: string, script: string): Promise<string> => node.crictl("exec", "--sync", container, "sh", "-c", script);

test("two families, host ports and bandwidth; gone with the pod", async () => {
  const { pod, container } = await runContainer(
    node,
    ["sh", "-c", "mkdir /w; echo hello > /w/index.html; httpd -p 81 -h /w; exec httpd -f -p 80 -h /w"],
    {
      pod: {
        annotations: { "kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "8M" },
        port_mappings: [
          { container_port: 80, host_port: 18080 },
          { container_port: 81, host_port: 18081, host_ip: "127.0.0.2" },
        ],
      },
    },
  );
  const { status } = await node.json<{ status: { network: { ip: string; additionalIps: { ip: string }[] } } }>("inspectp", pod);
  assert.match(status.network.ip, /^10\.66\.0\./);
  assert.match(status.network.additionalIps[0]?.ip ?? "", /^fd00:66::/);
  assert.match(await inside(container, "ip -6 addr show eth0"), /fd00:66::/);

  const fetch = "curl --silent --max-time 3 --retry 20 --retry-connrefused --retry-delay 0 --retry-max-time 5";
  assert.equal(await shell(`${fetch} http://127.0.0.1:18080/`), "hello\n");
  assert.equal(await shell(`${fetch} http://127.0.0.2:18081/`), "hello\n");
  assert.equal(await shell("curl --silent --max-time 3 http://127.0.0.1:18081/ || echo refused"), "refused\n", "a host_ip is kept to");
  assert.match(await shell("tc qdisc show"), /tbf .* rate 10Mbit[\s\S]*tbf .* rate 8Mbit/);

  await node.crictl("rmp", "-f", pod);
  assert.equal(await shell("curl --silent --max-time 3 http://127.0.0.1:18080/ || echo refused"), "refused\n");
  assert.doesNotMatch(await shell("tc qdisc show"), /tbf/);
  assert.doesNotMatch(await shell("ls /run/e2e-dual/dual"), /10\.66|fd00/);
});

test("name, resolv.conf and sysctls, also of interfaces", async () => {
  const { pod, container } = await runContainer(node, ["sleep", "100"], {
    pod: {
      hostname: "named",
      dns_config: { servers: ["10.0.0.10", "fd00::10"], searches: ["ns.svc.cluster.local", "svc.cluster.local"], options: ["ndots:5"] },
      linux: {
        cgroup_parent: node.cgroup,
        security_context: { namespace_options: { pid: 1 } },
        sysctls: { "net.ipv4.conf.eth0.forwarding": "1", "net.core.somaxconn": "333", "kernel.shm_rmid_forced": "1" },
      },
    },
  });
  assert.equal(await inside(container, "hostname; cat /etc/hostname"), "named\nnamed");
  assert.equal(
    await inside(container, "cat /etc/resolv.conf"),
    "search ns.svc.cluster.local svc.cluster.local\nnameserver 10.0.0.10\nnameserver fd00::10\noptions ndots:5",
  );
  const values = "net/ipv4/conf/eth0/forwarding net/core/somaxconn kernel/shm_rmid_forced net/ipv4/ip_unprivileged_port_start";
  assert.equal(await inside(container, `cd /proc/sys; cat ${values}`), "1\n333\n1\n0");
  await node.crictl("rmp", "-f", pod);
});

test("sysctls of namespaces that the pod shares with the host are refused and left alone", async () => {
  for (const [options, name] of [
    [{ network: 2 }, "net.core.somaxconn"],
    [{ ipc: 2 }, "kernel.shmmax"],
  ] as const) {
    const linux = { cgroup_parent: node.cgroup, security_context: { namespace_options: options }, sysctls: { [name]: "7" } };
    const { stderr } = await node.tryCrictl("runp", node.file("shared.json", podConfig(node, { linux })));
    assert.match(stderr, new RegExp(`InvalidArgument.*${name.replaceAll(".", "\\.")}`));
  }
  assert.notEqual(await shell("cat /proc/sys/net/core/somaxconn"), "7\n");
});

test("the kubelet's pod CIDR reaches plugins that take ranges, also after a restart of the daemon", async () => {
  const other = new TestNode({
    conflist: {
      cniVersion: "1.0.0",
      name: "ranged",
      plugins: [
        {
          type: "bridge",
          bridge: "e2eranged",
          isGateway: true,
          capabilities: { ipRanges: true },
          ipam: { type: "host-local", dataDir: "/run/e2e-ranged" },
        },
      ],
    },
  });
  await other.start();
  try {
    const address = async (): Promise<string> => {
      const pod = await other.crictl("runp", other.file("pod.json", podConfig(other)));
      const { status } = await other.json<{ status: { network: { ip: string } } }>("inspectp", pod);
      await other.crictl("rmp", "-f", pod);
      return status.network.ip;
    };
    {
      using cri = new CriClient(other.socket);
      await assert.rejects(
        cri.updateRuntimeConfig({ runtimeConfig: { networkConfig: { podCidr: "10.300.0.0/16" } } }),
        /INVALID_ARGUMENT.*10\.300/,
      );
      await cri.updateRuntimeConfig({ runtimeConfig: { networkConfig: { podCidr: "10.67.8.0/24" } } });
      assert.ok((await cri.runtimeConfig({})).linux !== null);
    }
    assert.match(await address(), /^10\.67\.8\./);
    await other.stop("SIGKILL");
    await other.start();
    assert.match(await address(), /^10\.67\.8\./);
  } finally {
    await other.close();
  }
});
