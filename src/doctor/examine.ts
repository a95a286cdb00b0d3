import { readFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../base/errors.ts";
import { silentLogger } from "../base/log.ts";
import { Cgroups } from "../cgroup/cgroups.ts";
import { checkConfig, loadConfig } from "../config/load.ts";
import { type Config, configSchema } from "../config/schema.ts";
import { capabilities } from "../linux/process.ts";
import { checkCdi } from "./cdi.ts";
import { checkCgroups, systemdIsInit } from "./cgroups.ts";
import { checkCrictl, checkOtherRuntimes, checkSocket } from "./endpoint.ts";
import { type Finding, failure, ok, warning } from "./finding.ts";
import { checkKernel } from "./kernel.ts";
import { checkKubelet, type KubeletConfig, readKubeletConfig } from "./kubelet.ts";
import { readMachine } from "./machine.ts";
import { checkFilterTools, checkNetwork } from "./network.ts";
import { checkRegistry } from "./registries.ts";
import { checkPause, checkRuntimes } from "./runtimes.ts";
import { checkStorage } from "./storage.ts";
import { checkOpenFiles, checkSysctls } from "./sysctls.ts";

export interface ExamineOptions {
  /** The daemon's configuration; absent: where the daemon looks. */
  configFile?: string | undefined;
  kubeletConfigFile: string;
  crictlConfigFile: string;
  /** Images whose registries are asked. */
  images: readonly string[];
  /** The rootfs of the built-in pause. */
  pauseRootfs: string;
}

/** Looks at everything that crid and kubeadm need of a node. Changes nothing, and needs no running daemon. */
export async function examine(options: ExamineOptions): Promise<Finding[]> {
  const log = silentLogger();
  const signal = AbortSignal.timeout(60_000);
  const { config, findings } = readConfig(options.configFile);
  const socket = config.grpc.address;
  let kubelet: KubeletConfig | undefined;
  const [kubeletFile, crictlFile] = [options.kubeletConfigFile, options.crictlConfigFile];
  const cgroups = new Cgroups({ log });
  const driver = config.cgroupDriver === "auto" ? cgroups.detectDriver() : config.cgroupDriver;
  const handlers = {
    handlers: config.runtime.handlers,
    defaultHandler: config.runtime.default,
    runtimeRoot: join(config.state, "runc"),
    cgroupDriver: driver,
  };
  const groups: [subject: string, check: () => Finding[] | Promise<Finding[]>][] = [
    ["kernel", () => checkKernel(readMachine)],
    ["sysctls", () => checkSysctls(readMachine)],
    [
      "kubelet",
      () => {
        kubelet = readKubeletConfig(kubeletFile);
        return checkKubelet({ kubelet, file: kubeletFile, socket, read: readMachine });
      },
    ],
    ["cgroups", () => checkCgroups({ cgroups, configured: config.cgroupDriver, systemd: systemdIsInit(), kubelet })],
    ["privileges", () => checkPrivileges()],
    ["open files", () => [checkOpenFiles(readMachine, daemonPid(config.root))]],
    ["runtimes", () => checkRuntimes(handlers, { signal })],
    ["pause", () => (config.sandbox.image === "" ? checkPause(options.pauseRootfs) : [])],
    ["pod network", () => checkNetwork(config.cni, log)],
    ["packet filter", () => checkFilterTools()],
    ["storage", () => checkStorage(config)],
    ["CDI devices", () => checkCdi(config.cdi, log)],
    ["endpoint", async () => [await checkSocket(socket), ...checkOtherRuntimes(socket), checkCrictl(crictlFile, socket)]],
    ...options.images.map((image): [string, () => Promise<Finding[]>] => [
      `registry of ${image}`,
      () => checkRegistry(image, config, log, { signal }),
    ]),
  ];
  for (const [subject, check] of groups) findings.push(...(await attempt(subject, check)));
  return findings;
}

/** What could not be looked at is no reason to stop looking. */
async function attempt(subject: string, check: () => Finding[] | Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await check();
  } catch (error) {
    return [failure(subject, `could not be checked: ${messageOf(error)}`, "mend that, then run crid doctor again")];
  }
}

/** With a configuration that cannot be used, the rest is looked at with the defaults. */
function readConfig(file: string | undefined): { config: Config; findings: Finding[] } {
  const files = file === undefined ? {} : { file };
  const problems = checkConfig(files);
  if (problems.length === 0) return { config: loadConfig(files), findings: [ok("configuration", `${file ?? "/etc/crid"} can be used`)] };
  const defaults = configSchema.parse({});
  return {
    config: { ...defaults, grpc: { ...defaults.grpc, address: join(defaults.state, "crid.sock") } },
    findings: problems.map((problem) => failure("configuration", problem, "edit the file, then: crid config check")),
  };
}

function checkPrivileges(): Finding[] {
  if (process.getuid?.() !== 0) return [failure("privileges", "this is not root: crid needs it, and some checks too", "sudo crid doctor")];
  const { bounding } = capabilities();
  if (!bounding.includes("CAP_SYS_ADMIN")) {
    return [failure("privileges", "CAP_SYS_ADMIN is missing: nothing can be mounted", "run crid outside of a restricted container")];
  }
  if (!bounding.includes("CAP_SYS_RESOURCE")) {
    return [
      warning(
        "privileges",
        "CAP_SYS_RESOURCE is missing: oom_score_adj of pods cannot be lowered, so the kernel does not spare the ones that it should",
        "run crid with all capabilities",
      ),
    ];
  }
  return [ok("privileges", "root with all that is needed")];
}

/** Whoever holds the lock of the root; undefined when nobody does. */
function daemonPid(root: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(root, "crid.lock"), "utf8").trim());
    return /\bserve\b/.test(readMachine(`/proc/${pid}/cmdline`)?.replaceAll("\0", " ") ?? "") ? pid : undefined;
  } catch {
    return undefined;
  }
}
