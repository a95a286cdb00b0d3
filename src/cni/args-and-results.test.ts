import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CridError, isKind } from "../base/errors.ts";
import { parseQuantity } from "../base/quantity.ts";
import { parseResult, podIps, resultAs } from "./result.ts";
import { annotatedBandwidth, type CniPod, parsePodCidrs, podArgs, podCapabilities } from "./runtime-args.ts";

const pod: CniPod = {
  id: "a".repeat(64),
  netnsPath: "/run/x",
  name: "web-0",
  namespace: "shop",
  uid: "u-1",
  portMappings: [
    { protocol: "tcp", containerPort: 80, hostPort: 8080, hostIp: "" },
    { protocol: "udp", containerPort: 53, hostPort: 0, hostIp: "" },
    { protocol: "sctp", containerPort: 9, hostPort: 9, hostIp: "127.0.0.1" },
  ],
  dns: { servers: ["10.96.0.10"], searches: ["svc"], options: ["ndots:5"] },
  annotations: { "kubernetes.io/ingress-bandwidth": "10M" },
  labels: {},
};

test("quantities, as Kubernetes reads them", () => {
  const cases: [string, bigint][] = [
    ["0", 0n],
    ["10M", 10_000_000n],
    ["1.5k", 1500n],
    ["1Ki", 1024n],
    ["1.5Gi", 1_610_612_736n],
    ["12e3", 12_000n],
    ["1E3", 1000n],
    ["1E", 10n ** 18n],
    ["100m", 1n],
    ["1500m", 2n],
    ["-1500m", -1n],
    ["+5", 5n],
    [".5M", 500_000n],
    ["5.", 5n],
    ["1n", 1n],
    ["1e-2", 1n],
    ["0.1Ki", 103n],
  ];
  for (const [text, value] of cases) assert.equal(parseQuantity(text), value, text);
  for (const bad of ["", "M", ".", "1 M", "1m1", "0x10", "1KI", "1e", "1e999999999", "1,5", "--1", "10MB", "9".repeat(100)]) {
    assert.throws(
      () => parseQuantity(bad),
      (error) => isKind(error, "invalid-argument"),
      bad,
    );
  }
  fc.assert(fc.property(fc.maxSafeNat(), (n) => parseQuantity(String(n)) === BigInt(n) && parseQuantity(`${n}k`) === BigInt(n) * 1000n));
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        return typeof parseQuantity(text) === "bigint";
      } catch (error) {
        return error instanceof CridError;
      }
    }),
  );
});

test("CNI_ARGS in order; a value cannot smuggle another in", () => {
  assert.deepEqual(podArgs(pod), [
    ["IgnoreUnknown", "1"],
    ["K8S_POD_NAMESPACE", "shop"],
    ["K8S_POD_NAME", "web-0"],
    ["K8S_POD_INFRA_CONTAINER_ID", pod.id],
    ["K8S_POD_UID", "u-1"],
  ]);
  assert.throws(
    () => podArgs({ ...pod, name: "a;K8S_POD_NAMESPACE=kube-system" }),
    (error) => isKind(error, "invalid-argument"),
  );
});

test("capabilities: only those wanted, in the shapes of the conventions", () => {
  const all = new Set(["portMappings", "bandwidth", "dns", "ipRanges", "cgroupPath", "io.kubernetes.cri.pod-annotations", "mac"]);
  assert.deepEqual(podCapabilities({ ...pod, cgroupPath: "/pods/x" }, all, ["10.1.0.0/24", "fd00::/64"]), {
    portMappings: [
      { hostPort: 8080, containerPort: 80, protocol: "tcp", hostIP: "" },
      { hostPort: 9, containerPort: 9, protocol: "sctp", hostIP: "127.0.0.1" },
    ],
    bandwidth: { ingressRate: 10_000_000, ingressBurst: 4294967295 },
    dns: { servers: ["10.96.0.10"], searches: ["svc"], options: ["ndots:5"] },
    ipRanges: [[{ subnet: "10.1.0.0/24" }], [{ subnet: "fd00::/64" }]],
    cgroupPath: "/pods/x",
    "io.kubernetes.cri.pod-annotations": pod.annotations,
  });
  assert.deepEqual(podCapabilities(pod, new Set(["ipRanges"]), []), {});
  assert.deepEqual(podCapabilities({ ...pod, portMappings: [] }, new Set(["portMappings"]), []), {});
  assert.deepEqual(podCapabilities({ ...pod, bandwidth: { egress: 5000 } }, new Set(["bandwidth"]), []), {
    bandwidth: { egressRate: 5000, egressBurst: 4294967295 },
  });
  // a bad annotation is no matter for a network that cannot limit anyway
  assert.deepEqual(podCapabilities({ ...pod, annotations: { "kubernetes.io/ingress-bandwidth": "fast" } }, new Set(["dns"]), []), {
    dns: { servers: ["10.96.0.10"], searches: ["svc"], options: ["ndots:5"] },
  });
  for (const bad of ["fast", "1", "999", "2P", "-1M"]) {
    assert.throws(() => annotatedBandwidth({ "kubernetes.io/egress-bandwidth": bad }), /annotation kubernetes.io\/egress-bandwidth/);
  }
});

test("pod CIDRs", () => {
  assert.deepEqual(parsePodCidrs("10.244.1.0/24, fd00:1::/64"), ["10.244.1.0/24", "fd00:1::/64"]);
  assert.deepEqual(parsePodCidrs(""), []);
  for (const bad of ["10.0.0.0", "10.0.0.0/33", "x/24", "10.0.0.0/24/1", "fd00::/129", "10.0.0.0/"])
    assert.throws(() => parsePodCidrs(bad), /pod_cidr/);
});

test("results of every version become one shape", () => {
  const v1 = parseResult(
    JSON.stringify({
      cniVersion: "1.0.0",
      interfaces: [{ name: "cni0", mac: "aa" }, { name: "veth1" }, { name: "eth0", mac: "bb", sandbox: "/ns", mtu: 1400 }],
      ips: [
        { address: "10.1.0.5/16", gateway: "10.1.0.1", interface: 2 },
        { address: "fd00::5/64", interface: 2 },
        { address: "192.168.0.1/24", interface: 0 },
      ],
      routes: [{ dst: "0.0.0.0/0", gw: "10.1.0.1" }],
      dns: {},
    }),
    "1.0.0",
  ).result;
  assert.deepEqual(podIps(v1, "eth0"), ["10.1.0.5", "fd00::5"]);
  assert.deepEqual(v1.interfaces[2], { name: "eth0", mac: "bb", sandbox: "/ns", mtu: 1400 });
  const v04 = parseResult('{"ips":[{"version":"4","address":"10.2.0.9/24"}],"dns":{"nameservers":["1.1.1.1"]}}', "0.4.0");
  assert.deepEqual(
    [v04.result.cniVersion, v04.raw.cniVersion, podIps(v04.result, "eth0"), v04.result.dns.nameservers],
    ["0.4.0", "0.4.0", ["10.2.0.9"], ["1.1.1.1"]],
  );
  const v02 = parseResult(
    '{"cniVersion":"0.2.0","ip4":{"ip":"10.3.0.2/24","gateway":"10.3.0.1","routes":[{"dst":"0.0.0.0/0"}]},"ip6":{"ip":"fd00::2/64"}}',
    "0.2.0",
  );
  assert.deepEqual([podIps(v02.result, "eth0"), v02.result.routes], [["10.3.0.2", "fd00::2"], [{ dst: "0.0.0.0/0" }]]);
  // an interface of another name (a plugin that renames), and nulls
  const odd = parseResult(
    '{"interfaces":[{"name":"net1","sandbox":"/ns"},{"name":"h"}],"ips":[{"address":"10.4.0.2/24","interface":0},{"address":"10.9.9.9/24","interface":1}],"routes":null,"dns":null}',
    "0.3.1",
  );
  assert.deepEqual(podIps(odd.result, "eth0"), ["10.4.0.2"]);
  for (const empty of ["", "null", "{}"]) assert.deepEqual(podIps(parseResult(empty, "1.0.0").result, "eth0"), []);
});

test("a result is translated to the version of the configuration", () => {
  const raw = { cniVersion: "1.0.0", ips: [{ address: "10.0.0.2/8" }, { address: "fd00::1/64", interface: 1 }], own: { kept: true } };
  const old = resultAs(raw, "0.4.0");
  assert.deepEqual(old, {
    cniVersion: "0.4.0",
    ips: [
      { version: "4", address: "10.0.0.2/8" },
      { version: "6", address: "fd00::1/64", interface: 1 },
    ],
    own: { kept: true },
  });
  assert.deepEqual(resultAs(old, "1.0.0"), raw);
  assert.equal(resultAs(raw, "1.0.0"), raw);
  assert.deepEqual(resultAs({ cniVersion: "1.0.0" }, "1.1.0"), { cniVersion: "1.1.0" });
});

test("a wrong result is refused with the place", () => {
  const refuse = (text: string, message: RegExp): void =>
    assert.throws(
      () => parseResult(text, "1.0.0"),
      (error) => isKind(error, "internal") && message.test(error.message),
    );
  refuse("hello", /no JSON: "hello"/);
  refuse("[]", /no CNI result/);
  refuse('{"ips":[{"address":"10.0.0.5"}]}', /ips\.0\.address/);
  refuse('{"ips":[{"address":"nonsense/24"}]}', /ips\.0\.address/);
  refuse('{"interfaces":[{}]}', /interfaces\.0\.name/);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc
          .record({ ips: fc.jsonValue(), interfaces: fc.jsonValue(), dns: fc.jsonValue(), ip4: fc.jsonValue() })
          .map((v) => JSON.stringify(v)),
      ),
      (text) => {
        try {
          return Array.isArray(podIps(parseResult(text, "1.0.0").result, "eth0"));
        } catch (error) {
          return error instanceof CridError;
        }
      },
    ),
    { numRuns: 300 },
  );
});
