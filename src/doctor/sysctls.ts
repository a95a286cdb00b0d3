import { type Finding, failure, ok, warning } from "./finding.ts";
import type { Read } from "./machine.ts";

/** Lower bounds. Each shim holds an inotify watch on its cgroup (v2), the kubelet and every `kubectl logs -f` hold more. */
const inotify = [
  { name: "fs.inotify.max_user_instances", least: 512, of: "inotify instances" },
  { name: "fs.inotify.max_user_watches", least: 65_536, of: "inotify watches" },
] as const;
const openFiles = 65_536;

export function checkSysctls(read: Read): Finding[] {
  return [forwarding(read), ...inotify.map((wanted) => atLeast(read, wanted)), swap(read)];
}

function sysctl(read: Read, name: string): string | undefined {
  return read(`/proc/sys/${name.replaceAll(".", "/")}`);
}

function set(name: string, value: number): string {
  return `sysctl -w ${name}=${value}\necho ${name}=${value} >> /etc/sysctl.d/99-crid.conf`;
}

function forwarding(read: Read): Finding {
  const name = "net.ipv4.ip_forward";
  if (sysctl(read, name) === "1") return ok(`sysctl ${name}`, "1");
  return failure(`sysctl ${name}`, "0: pods reach nothing outside of their node, and kubeadm refuses the node", set(name, 1));
}

function atLeast(read: Read, { name, least, of }: { name: string; least: number; of: string }): Finding {
  const value = Number(sysctl(read, name));
  if (value >= least) return ok(`sysctl ${name}`, String(value));
  return warning(
    `sysctl ${name}`,
    `${value}: a node full of pods runs out of ${of} ("too many open files"); ${least} or more are wanted`,
    set(name, least),
  );
}

/** One line a device after the heading. */
function swap(read: Read): Finding {
  const devices = (read("/proc/swaps") ?? "").split("\n").slice(1).filter(Boolean);
  if (devices.length === 0) return ok("swap", "off");
  return warning(
    "swap",
    "on: the kubelet does not start with it, unless its configuration says failSwapOn: false",
    "swapoff -a\nsed -i '/\\sswap\\s/d' /etc/fstab",
  );
}

/** @param pid the daemon's, if it runs: what counts is its limit, not that of the shell */
export function checkOpenFiles(read: Read, pid: number | undefined): Finding {
  const limits = read(`/proc/${pid ?? "self"}/limits`) ?? "";
  const value = /^Max open files\s+(\S+)/m.exec(limits)?.[1] ?? "0";
  const whose = pid === undefined ? "of this shell (crid does not run)" : `of the daemon (pid ${pid})`;
  if (value === "unlimited" || Number(value) >= openFiles) return ok("open files", `${value} ${whose}`);
  return warning(
    "open files",
    `${value} ${whose}: every container takes some; ${openFiles} or more are wanted`,
    pid === undefined
      ? "start crid by its systemd unit, which sets LimitNOFILE"
      : "set LimitNOFILE=1048576 in its unit\nsystemctl daemon-reload && systemctl restart crid",
  );
}
