import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

// What `npm start` changes on the machine outside of the checkout, and how that is put back: see hack/start.ts.

const forwarding = "/proc/sys/net/ipv4/ip_forward";
const cgroupRoot = "/sys/fs/cgroup";

/** The machine as it was before. */
export interface MachineBefore {
  /** net.ipv4.ip_forward: the bridge plugin turns it on. */
  forwarding: string;
  /** Chains of the nat table; undefined without iptables. */
  natChains: string[] | undefined;
  /** Tables of nftables, which iptables makes when it first writes to them. */
  tables: string[];
}

export function lookAtMachine(): MachineBefore {
  return { forwarding: readFileSync(forwarding, "utf8"), natChains: chainsOf(natRules()), tables: tables() };
}

export interface MachineMarks {
  bridge: string;
  /** The name of the CNI network, which stands in the comments of its rules. */
  network: string;
  /** The name of the cgroup that all pods are below. */
  cgroup: string;
  /** Mounts at or below these paths are ours. */
  dirs: string[];
}

/** Puts back what the pods' removal does not: bridge, sysctl, chains of the plugins, cgroup. @returns what should have gone before */
export function restoreMachine(before: MachineBefore, marks: MachineMarks): string[] {
  const leftovers: string[] = [];
  for (const mount of mountsBelow(marks.dirs)) {
    leftovers.push(`mount ${mount}`);
    run("umount", "-l", mount);
  }
  run("ip", "link", "delete", marks.bridge);
  for (const chain of removeChains(before, marks.network)) leftovers.push(`iptables chain ${chain}`);
  if (readFileSync(forwarding, "utf8") !== before.forwarding) writeFileSync(forwarding, before.forwarding);
  for (const dir of [cgroupRoot, ...readdirSync(cgroupRoot).map((name) => join(cgroupRoot, name))]) removeCgroup(join(dir, marks.cgroup));
  return leftovers;
}

function run(file: string, ...args: string[]): string {
  // Its own session: a second Ctrl-C in the terminal must not break off a clean-up.
  return spawnSync("setsid", ["--wait", file, ...args], { encoding: "utf8" }).stdout ?? "";
}

function natRules(): string[] | undefined {
  const { status, stdout } = spawnSync("iptables-save", ["-t", "nat"], { encoding: "utf8" });
  return status === 0 ? stdout.split("\n") : undefined;
}

/** `:NAME policy [counters]` in the output of iptables-save. */
function chainsOf(rules: string[] | undefined): string[] | undefined {
  return rules?.flatMap((line) => /^:(\S+)/.exec(line)?.slice(1) ?? []);
}

function tables(): string[] {
  return run("nft", "list", "tables").split("\n").filter(Boolean);
}

/**
 * The chains that CNI plugins leave: portmap keeps its top ones for ever, bridge removes a pod's with the pod. Another network's are
 * left alone, and portmap's too while somebody else's ports are in them.
 *
 * @returns the chains of pods, which a DEL should have removed
 */
function removeChains(before: MachineBefore, network: string): string[] {
  const rules = natRules() ?? [];
  const known = new Set(before.natChains ?? []);
  const mine = (chain: string): boolean => rules.some((rule) => rule.startsWith(`-A ${chain} `) && rule.includes(`"${network}"`));
  const ofPods = (chainsOf(rules) ?? []).filter((chain) => /^CNI-(DN-)?[0-9a-f]+$/.test(chain) && mine(chain));
  dropChains(rules, ofPods);
  const rest = natRules() ?? [];
  const inUse = rest.some((rule) => rule.startsWith("-A CNI-HOSTPORT-DNAT ") || rule.includes("-j CNI-DN-"));
  if (!inUse)
    dropChains(
      rest,
      (chainsOf(rest) ?? []).filter((chain) => chain.startsWith("CNI-HOSTPORT-") && !known.has(chain)),
    );
  for (const table of tables()) {
    if (before.tables.includes(table)) continue;
    const name = table.split(" ").slice(1);
    const text = run("nft", "list", "table", ...name);
    if (isEmptyTable(text)) run("nft", "delete", "table", ...name);
  }
  return ofPods;
}

function dropChains(rules: string[], chains: string[]): void {
  for (const rule of rules) {
    const target = / -j (\S+)/.exec(rule)?.[1];
    // The text of a rule quotes its comment: the shell takes it apart as iptables-restore would.
    if (target !== undefined && chains.includes(target)) run("sh", "-c", `iptables -t nat ${rule.replace(/^-A/, "-D")}`);
  }
  for (const action of ["-F", "-X"]) for (const chain of chains) run("iptables", "-t", "nat", action, chain);
}

/** Nothing but the base chains that iptables makes. */
function isEmptyTable(text: string): boolean {
  return text
    .split("\n")
    .map((line) => line.trim())
    .every((line) => line === "" || line === "}" || /^(table|chain) .*\{$/.test(line) || line.startsWith("type ") || line.startsWith("#"));
}

/** Deepest first. Mount points are escaped in octal (proc_pid_mountinfo(5)). */
function mountsBelow(dirs: string[]): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) =>
      (line.split(" ")[4] ?? "").replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    )
    .filter((point) => dirs.some((dir) => point === dir || point.startsWith(`${dir}/`)))
    .reverse();
}

function removeCgroup(dir: string): void {
  if (!existsSync(dir)) return;
  for (const entry of readdirSync(dir, { withFileTypes: true })) if (entry.isDirectory()) removeCgroup(join(dir, entry.name));
  try {
    rmdirSync(dir);
  } catch {
    // Processes are in it: then a pod is left, and that was said already.
  }
}
