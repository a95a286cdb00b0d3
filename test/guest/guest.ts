import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** The disk with what is tested, laid out as the checkout. */
export const payload = join(import.meta.dirname, "../..");
export const socket = "/run/crid/crid.sock";
export const busybox = "registry.k8s.io/e2e-test-images/busybox:1.29-2";
/** Where the registry with the test images is. */
export const registry = "127.0.0.1:5000";

const directory = "/root/files";

/** Runs a command in the guest; its output without the last line end. @throws with all that it wrote when it fails */
export function run(file: string, ...args: string[]): string {
  const { status, stdout, stderr } = attempt(file, ...args);
  if (status !== 0) throw new Error(`${file} ${args.join(" ")}: status ${status}\n${stdout}${stderr}`);
  return stdout.trimEnd();
}

/** Runs a command that may fail. Emulated, everything takes its time. */
export function attempt(file: string, ...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(file, args, { encoding: "utf8", timeout: 600_000, maxBuffer: 1 << 26 });
}

export function shell(script: string): string {
  return run("bash", "-euo", "pipefail", "-c", script);
}

export function crictl(...args: string[]): string {
  return run("crictl", "--timeout", "300s", ...args);
}

export function crictlJson<T>(command: string, ...args: string[]): T {
  return JSON.parse(crictl(command, "-o", "json", ...args)) as T;
}

/** A property of a systemd unit. */
export function property(unit: string, name: string): string {
  return run("systemctl", "show", unit, "--property", name, "--value");
}

/** Writes a file for crictl and answers its path. */
export function file(name: string, content: object): string {
  mkdirSync(directory, { recursive: true });
  const path = join(directory, name);
  writeFileSync(path, JSON.stringify(content));
  return path;
}

/** Tries until `answer` gives one that is not undefined; seldom, as asking costs as much as what is waited for. @throws with `what` after ten minutes */
export async function until<T>(what: string, answer: () => T | undefined): Promise<T> {
  for (const end = performance.now() + 600_000; performance.now() < end; ) {
    const found = answer();
    if (found !== undefined) return found;
    await sleep(4000);
  }
  throw new Error(`waited ten minutes for ${what}`);
}

/** Restarts crid by systemd: returns when it has said that it serves. */
export function restartCrid(): void {
  run("systemctl", "daemon-reload");
  run("systemctl", "restart", "crid");
}

/** What a pod leaves when something went wrong: mounts, shims, network namespaces, cgroups. */
export function leftovers(): string[] {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .flatMap((line) => line.split(" ")[4] ?? [])
    .filter((point) => point.startsWith("/run/crid/") && !point.includes("/netns"))
    .map((point) => `mount ${point}`);
  const processes = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => ({ pid, command: commandOf(pid) }))
    .filter(({ command }) => /containerd-shim|^\/pause|^runc /.test(command))
    .map(({ pid, command }) => `process ${pid}: ${command}`);
  const cgroups = run(
    "find",
    "/sys/fs/cgroup",
    "-type",
    "d",
    "-regextype",
    "posix-extended",
    "-regex",
    ".*/(crid-)?[0-9a-f]{64}(\\.scope)?(/.*)?",
  );
  return [
    ...mounts,
    ...processes,
    ...cgroups
      .split("\n")
      .filter(Boolean)
      .map((path) => `cgroup ${path}`),
  ];
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
  } catch {
    return ""; // It ended while we looked.
  }
}
