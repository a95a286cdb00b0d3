import { existsSync } from "node:fs";
import type { Cgroups } from "../cgroup/cgroups.ts";
import type { Config } from "../config/schema.ts";
import { type Finding, failure, ok, warning } from "./finding.ts";
import type { KubeletConfig } from "./kubelet.ts";

const needed = ["cpu", "cpuset", "memory", "pids"] as const;

export interface CgroupFacts {
  cgroups: Pick<Cgroups, "version" | "has" | "detectDriver">;
  /** `cgroupDriver` of the configuration. */
  configured: Config["cgroupDriver"];
  /** Whether systemd is the init of the machine (sd_booted(3)). */
  systemd: boolean;
  kubelet: KubeletConfig | undefined;
}

export function systemdIsInit(): boolean {
  return existsSync("/run/systemd/system");
}

export function checkCgroups(facts: CgroupFacts): Finding[] {
  const { cgroups, configured, systemd, kubelet } = facts;
  const driver = configured === "auto" ? cgroups.detectDriver() : configured;
  const missing = needed.filter((controller) => !cgroups.has(controller));
  return [
    version(cgroups.version, kubelet),
    missing.length === 0
      ? ok("cgroup controllers", needed.join(", "))
      : failure(
          "cgroup controllers",
          `${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} missing: limits of pods cannot be set`,
          missing.includes("memory") ? "add cgroup_enable=memory to the kernel's command line and reboot" : "enable them in the kernel",
        ),
    driver === "systemd" && !systemd
      ? failure(
          "cgroup driver",
          "systemd is configured, but it is not the init of this machine",
          "set cgroupDriver: auto in /etc/crid/config.yaml",
        )
      : ok("cgroup driver", configured === "auto" ? `${driver} (auto)` : driver),
    ...(kubelet === undefined ? [] : kubeletDriver(driver, kubelet)),
  ];
}

function version(found: 1 | 2, kubelet: KubeletConfig | undefined): Finding {
  if (found === 2) return ok("cgroup version", "2");
  if (kubelet?.failCgroupV1 === false) return ok("cgroup version", "1, and the kubelet's configuration allows it (failCgroupV1: false)");
  return warning(
    "cgroup version",
    "1: the kubelet does not start on it by default (since 1.35), and pods with memory QoS, PSI and swap limits need 2",
    "add systemd.unified_cgroup_hierarchy=1 to the kernel's command line and reboot\nor set failCgroupV1: false in the kubelet's configuration",
  );
}

/**
 * Kubelets ask crid for the driver (RuntimeConfig; always since 1.34) and leave what their file says alone, which is systemd by kubeadm's
 * default. Only older ones go by the file, and their pods fail if it is another.
 */
function kubeletDriver(driver: string, kubelet: KubeletConfig): Finding[] {
  const theirs = kubelet.cgroupDriver;
  if (theirs === undefined) return [];
  if (theirs === driver) return [ok("cgroup driver of the kubelet", `${theirs}, as crid's`)];
  return [
    warning(
      "cgroup driver of the kubelet",
      `${kubelet.file} says ${theirs}, crid uses ${driver}: a kubelet since 1.34 asks crid, an older one makes pods that cannot be created`,
      `sed -i 's/^cgroupDriver:.*/cgroupDriver: ${driver}/' ${kubelet.file} && systemctl restart kubelet`,
    ),
  ];
}
