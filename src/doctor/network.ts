import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import type { Logger } from "../base/log.ts";
import { Cni } from "../cni/cni.ts";
import type { Config } from "../config/schema.ts";
import { type Finding, ok, warning } from "./finding.ts";

/** Says what NetworkReady would say. A node without a network is usual before its pod network is installed. */
export async function checkNetwork(config: Config["cni"], log: Logger): Promise<Finding[]> {
  const cni = new Cni({ ...config, log, timeoutMs: 10_000 });
  try {
    await cni.start();
    const { ready, message } = cni.status();
    if (ready) return [ok("pod network", message)];
    return [
      warning(
        "pod network",
        `${message}; the node is NotReady until that is mended`,
        `install the cluster's pod network, or put a conflist into ${config.confDir}\nplugins: apt-get install containernetworking-plugins (they are in /usr/lib/cni: add it to cni.binDirs)`,
      ),
    ];
  } finally {
    await cni.close();
  }
}

/** The usual plugins masquerade and map ports with one of these. */
export function checkFilterTools(path = process.env.PATH ?? ""): Finding[] {
  const found = ["iptables", "nft"].filter((name) =>
    [...path.split(delimiter), "/usr/sbin", "/sbin"].some((dir) => isExecutable(join(dir, name))),
  );
  if (found.length > 0) return [ok("packet filter", found.join(", "))];
  return [
    warning(
      "packet filter",
      "neither iptables nor nft is installed: the plugins bridge and portmap fail",
      "apt-get install iptables nftables",
    ),
  ];
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
