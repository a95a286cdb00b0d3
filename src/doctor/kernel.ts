import { kernelAtLeast } from "../linux/kernel.ts";
import { type Finding, failure, ok, warning } from "./finding.ts";
import type { Read } from "./machine.ts";

/** openat2(2), without which paths of images are not followed safely. */
const minimum = [5, 6] as const;

export function checkKernel(read: Read): Finding[] {
  const release = read("/proc/sys/kernel/osrelease") ?? "";
  return [
    kernelAtLeast(...minimum, release)
      ? ok("kernel", `Linux ${release}`)
      : failure("kernel", `Linux ${release} is too old: crid needs ${minimum.join(".")} (openat2)`, "boot a newer kernel"),
    overlay(read),
    erofs(read),
    seccomp(read),
    userNamespaces(read, release),
    bridgeFilter(read),
  ];
}

function knows(read: Read, fileSystem: string): boolean {
  return (read("/proc/filesystems") ?? "").split("\n").some((line) => line.split("\t")[1] === fileSystem);
}

function overlay(read: Read): Finding {
  if (knows(read, "overlay")) return ok("overlayfs", "the kernel has it");
  return failure(
    "overlayfs",
    "the kernel does not have it, or its module is not loaded: containers have no root file system",
    "modprobe overlay\necho overlay >> /etc/modules-load.d/crid.conf",
  );
}

/** Only an advantage: an image file a layer instead of a file a file. */
function erofs(read: Read): Finding {
  const subject = "EROFS";
  return ok(
    subject,
    knows(read, "erofs")
      ? "the kernel has it; layers become image files where it mounts them from a file"
      : "not loaded; layers become folders",
  );
}

function seccomp(read: Read): Finding {
  if (/^Seccomp:/m.test(read("/proc/self/status") ?? "")) return ok("seccomp", "the kernel has filters");
  return failure(
    "seccomp",
    "the kernel has no filters: pods with the profile RuntimeDefault fail",
    "boot a kernel with CONFIG_SECCOMP_FILTER=y",
  );
}

function userNamespaces(read: Read, release: string): Finding {
  const subject = "user namespaces";
  const most = read("/proc/sys/user/max_user_namespaces");
  if (most === undefined || most === "0") {
    return warning(
      subject,
      "there are none: pods with hostUsers: false fail",
      "sysctl -w user.max_user_namespaces=15000\necho user.max_user_namespaces=15000 >> /etc/sysctl.d/99-crid.conf",
    );
  }
  if (!kernelAtLeast(6, 3, release)) {
    return warning(
      subject,
      `Linux ${release} cannot map the ids of all volumes: pods with hostUsers: false fail`,
      "boot Linux 6.3 or newer",
    );
  }
  return ok(subject, `${most} may be made`);
}

/** Without it, traffic between pods of one bridge passes iptables by: kube-proxy's Services do not work from such a pod to itself. */
function bridgeFilter(read: Read): Finding {
  const subject = "module br_netfilter";
  const value = read("/proc/sys/net/bridge/bridge-nf-call-iptables");
  if (value === undefined) {
    return warning(
      subject,
      "not loaded: pods on one bridge reach Services that lead back to them only with it (networks without a bridge do not need it)",
      "modprobe br_netfilter\necho br_netfilter >> /etc/modules-load.d/crid.conf",
    );
  }
  if (value === "1") return ok(subject, "loaded, bridge-nf-call-iptables is 1");
  return warning(
    subject,
    "net.bridge.bridge-nf-call-iptables is 0: pods on one bridge do not reach Services that lead back to them",
    "sysctl -w net.bridge.bridge-nf-call-iptables=1\necho net.bridge.bridge-nf-call-iptables=1 >> /etc/sysctl.d/99-crid.conf",
  );
}
