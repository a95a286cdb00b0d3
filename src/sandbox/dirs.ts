import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { isErrno } from "../base/errors.ts";
import { detachAll, MS_NODEV, MS_NOEXEC, MS_NOSUID, mount } from "../linux/mount.ts";
import { lsetxattr } from "../linux/xattr.ts";
import type { DnsConfig, PodConfig } from "../records/pod-config.ts";
import type { SandboxSettings } from "./deps.ts";

/** The size of a pod's /dev/shm, as the field's runtimes have it. */
const SHM_OPTIONS = "mode=1777,size=65536k";
const HOST_SHM = "/dev/shm";

/** Where a pod's files are on the host. All of it lies below the state directory: nothing of it is needed after a reboot. */
export interface PodDirs {
  bundle: string;
  /** Holds the four below. */
  files: string;
  resolvConf: string;
  hostname: string;
  hosts: string;
  /** A tmpfs of the pod, or the host's /dev/shm. */
  shm: string;
}

export function podDirs(id: string, config: PodConfig, settings: Pick<SandboxSettings, "bundlesDir" | "podsDir">): PodDirs {
  const files = path.join(settings.podsDir, id);
  return {
    bundle: path.join(settings.bundlesDir, id),
    files,
    resolvConf: path.join(files, "resolv.conf"),
    hostname: path.join(files, "hostname"),
    hosts: path.join(files, "hosts"),
    shm: config.security.namespaces.ipc === "node" ? HOST_SHM : path.join(files, "shm"),
  };
}

/**
 * Makes the pod's files and mounts its /dev/shm. Synchronous: a few small files on a tmpfs take a tenth of a millisecond, less than
 * the way to the thread pool and back.
 */
export function makePodFiles(dirs: PodDirs, config: PodConfig): void {
  mkdirSync(dirs.files, { recursive: true, mode: 0o755 });
  writeFileSync(dirs.resolvConf, resolvConf(config));
  writeFileSync(dirs.hostname, `${podHostname(config)}\n`);
  writeFileSync(dirs.hosts, readOrEmpty("/etc/hosts"));
  if (dirs.shm === HOST_SHM) return;
  mkdirSync(dirs.shm, { mode: 0o755 });
  mount("shm", dirs.shm, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, SHM_OPTIONS);
}

/** Gives the pod's files the label that its containers may read and write; "" = none. The host's own /dev/shm keeps its label. */
export function labelPodFiles(dirs: PodDirs, label: string): void {
  if (label === "") return;
  for (const file of [dirs.resolvConf, dirs.hostname, dirs.hosts, ...(dirs.shm === HOST_SHM ? [] : [dirs.shm])]) {
    lsetxattr(file, "security.selinux", Buffer.from(`${label}\0`));
  }
}

/** Makes the bundle with its config.json. */
export function makeBundle(dirs: PodDirs, spec: object): void {
  mkdirSync(path.join(dirs.bundle, "rootfs"), { recursive: true, mode: 0o711 });
  writeFileSync(path.join(dirs.bundle, "config.json"), JSON.stringify(spec), { mode: 0o600 });
}

/** Unmounts the pod's /dev/shm. Idempotent. Lazily, as a process that nobody can kill must not hold the pod (facts: complaint 14). */
export function unmountShm(dirs: PodDirs): void {
  if (dirs.shm !== HOST_SHM) detachAll(dirs.shm);
}

/** Removes the pod's files and its bundle. Idempotent. */
export async function removePodDirs(dirs: PodDirs): Promise<void> {
  unmountShm(dirs);
  detachAll(path.join(dirs.bundle, "rootfs"));
  await rm(dirs.bundle, { recursive: true, force: true });
  // Not recursive through a mount that appeared meanwhile: what is on it is not ours to delete.
  for (const file of [dirs.resolvConf, dirs.hostname, dirs.hosts]) rmSync(file, { force: true });
  await rm(dirs.files, { recursive: true, force: true });
}

/** The name that the pod's processes see; on the host's network, or when the kubelet gave none, the host's. */
export function podHostname(config: PodConfig): string {
  return config.hostname === "" ? os.hostname() : config.hostname;
}

/**
 * The pod's resolv.conf: what the kubelet says, else the host's. A host that runs systemd-resolved has only the stub at 127.0.0.53 in
 * /etc/resolv.conf, which nobody answers in a network namespace of its own: the real servers are in another file then.
 */
export function resolvConf(config: PodConfig, files: { host: string; resolved: string } = HOST_RESOLV_CONF): string {
  const asked = config.dns === undefined ? "" : formatDns(config.dns);
  if (asked !== "") return asked;
  const host = readOrEmpty(files.host);
  if (config.security.namespaces.network === "node" || !onlyStub(host)) return host;
  const real = readOrEmpty(files.resolved);
  return real === "" ? host : real;
}

const HOST_RESOLV_CONF = { host: "/etc/resolv.conf", resolved: "/run/systemd/resolve/resolv.conf" };

function formatDns(dns: DnsConfig): string {
  const lines: string[] = [];
  if (dns.searches.length > 0) lines.push(`search ${dns.searches.join(" ")}`);
  for (const server of dns.servers) lines.push(`nameserver ${server}`);
  if (dns.options.length > 0) lines.push(`options ${dns.options.join(" ")}`);
  return lines.map((line) => `${line}\n`).join("");
}

function onlyStub(text: string): boolean {
  const servers = [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map((match) => match[1]);
  return servers.length > 0 && servers.every((server) => server === "127.0.0.53" || server === "127.0.0.54");
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return "";
    throw error;
  }
}
