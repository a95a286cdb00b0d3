import { existsSync } from "node:fs";
import { CridError, messageOf } from "../base/errors.ts";
import { shortId } from "../base/ids.ts";
import type { Logger } from "../base/log.ts";
import { linkSignals } from "../base/signals.ts";
import { FS_MAGIC, statfs } from "../linux/files.ts";
import type { CniAttachment } from "../records/cni-attachment.ts";
import { atLeast, formatNetworkConf, type NetworkConf, type PluginConf, parseNetworkConf, validName } from "./conf.ts";
import { ConfDir } from "./conf-dir.ts";
import { type CniCommand, callPlugin, findPlugin } from "./plugin.ts";
import { type CniResult, parseResult, podIps, resultAs } from "./result.ts";
import { type CniPod, parsePodCidrs, podArgs, podCapabilities } from "./runtime-args.ts";

export type { CniResult } from "./result.ts";
export type { CniPod } from "./runtime-args.ts";

/** One run of one plugin, for the metrics. */
export interface CniOperation {
  command: CniCommand;
  plugin: string;
  network: string;
  ms: number;
  ok: boolean;
}

export interface CniOptions {
  /** Where plugins are, searched in order; also CNI_PATH. */
  binDirs: string[];
  confDir: string;
  log: Logger;
  /** The limit of one command over all plugins of the network, default 2 minutes. */
  timeoutMs?: number;
  /** How often the folder and the plugins are looked at, default 3 s. */
  pollMs?: number;
  onOperation?: (operation: CniOperation) => void;
}

export interface CniStatus {
  ready: boolean;
  /** A word for the NetworkReady condition; "" when ready. */
  reason: string;
  message: string;
  file?: string;
  networks: string[];
}

interface Call {
  signal: AbortSignal;
}

const ifName = "eth0";
const statusEveryMs = 10_000;

/**
 * Networks of pods through CNI plugins (spec 1.1.0 and back to 0.1.0): the job of libcni and go-cni. Attachments are kept by
 * the caller, not in files here: `plan` gives what to store before an ADD, `add` what to store after it, and `del` needs
 * nothing else, so that a pod goes away as it came even when its network's file has changed or gone.
 */
export class Cni {
  readonly #options: CniOptions;
  readonly #confDir: ConfDir;
  #podCidrs: string[] = [];
  #unready: string | undefined;
  #probing: Promise<void> = Promise.resolve();
  #statusTimer: NodeJS.Timeout | undefined;
  readonly #closing = new AbortController();

  constructor(options: CniOptions) {
    this.#options = options;
    this.#confDir = new ConfDir({
      dir: options.confDir,
      log: options.log,
      onChange: () => {
        this.#probing = this.#probe();
      },
      ...(options.pollMs === undefined ? {} : { pollMs: options.pollMs }),
    });
  }

  /** Reads the folder, then watches it. A missing or broken configuration is no error: `status` tells. */
  async start(): Promise<void> {
    await this.#confDir.start();
    await this.#probing;
  }

  async close(): Promise<void> {
    this.#closing.abort(new CridError("canceled", "the CNI driver was closed"));
    clearTimeout(this.#statusTimer);
    await this.#confDir.close();
  }

  /** The NetworkReady condition: which file is in use, or why none. Never waits. */
  status(): CniStatus {
    const { network, file, broken, problem } = this.#confDir.state;
    const complaints = broken.map((one) => `${one.file}: ${one.reason}${one.kept ? " (its last readable content stays in use)" : ""}`);
    const also = [...complaints, ...(problem === undefined ? [] : [problem])].join("; ");
    if (network === undefined || file === undefined) {
      const why =
        problem ??
        (complaints.length > 0
          ? `no usable file in ${this.#options.confDir}: ${complaints.join("; ")}`
          : `no .conflist, .conf or .json file in ${this.#options.confDir}`);
      return { ready: false, reason: "NetworkPluginNotReady", message: `no CNI network: ${why}`, networks: [] };
    }
    const using = `CNI network ${network.name} of ${file}`;
    const missing = this.#missingPlugin(network);
    const unready = missing ?? this.#unready;
    const base = { file, networks: [network.name] };
    if (unready !== undefined) return { ...base, ready: false, reason: "NetworkPluginNotReady", message: `${using}: ${unready}` };
    return { ...base, ready: true, reason: "", message: also === "" ? using : `${using}; not used: ${also}` };
  }

  /**
   * The pods' address ranges, as the kubelet sends them with UpdateRuntimeConfig; "" takes them back. For plugins with the
   * capability ipRanges.
   *
   * @throws CridError invalid-argument.
   */
  setPodCidr(cidr: string): void {
    this.#podCidrs = parsePodCidrs(cidr);
  }

  /**
   * The attachments that a pod is to get, as they must be stored before `add`.
   *
   * @throws CridError failed-precondition when there is no network, invalid-argument for what the pod asks for.
   */
  plan(pod: CniPod): CniAttachment[] {
    const { network } = this.#confDir.state;
    if (network === undefined)
      throw new CridError("failed-precondition", `network of pod ${pod.namespace}/${pod.name}: ${this.status().message}`);
    if (!validName.test(pod.id))
      throw new CridError("invalid-argument", `network of pod ${pod.namespace}/${pod.name}: bad sandbox id ${pod.id}`);
    const wanted = new Set(network.plugins.flatMap((plugin) => plugin.capabilities));
    return [
      {
        networkName: network.name,
        cniVersion: network.cniVersion,
        ifName,
        conflist: formatNetworkConf(network),
        args: podArgs(pod),
        capabilityArgs: podCapabilities(pod, wanted, this.#podCidrs),
        pending: true,
      },
    ];
  }

  /**
   * ADD: runs the network's plugins one after the other, each with the result of the one before.
   *
   * When it fails, some plugins may have done their part: the caller must `del` the attachment.
   */
  async add(
    attachment: CniAttachment,
    pod: CniPod,
    options: Call,
  ): Promise<{ attachment: CniAttachment; ips: string[]; result: CniResult }> {
    const what = `network ${attachment.networkName} for pod ${pod.namespace}/${pod.name} (sandbox ${shortId(pod.id)})`;
    const network = storedNetwork(attachment, what);
    let last: ReturnType<typeof parseResult> | undefined;
    await this.#each("ADD", network.plugins, attachment, { ...pod, what }, options, async (plugin, run) => {
      const { stdout } = await run(last === undefined ? {} : { prevResult: resultAs(last.raw, network.cniVersion) });
      try {
        last = parseResult(stdout, network.cniVersion);
      } catch (error) {
        throw CridError.from(error, `plugin ${plugin.type}`);
      }
    });
    if (last === undefined) throw new CridError("internal", `CNI ADD of ${what}: the network has no plugins`);
    const ips = podIps(last.result, attachment.ifName);
    if (ips.length === 0)
      throw new CridError("internal", `CNI ADD of ${what}: the plugins gave the pod no address; does the network have an "ipam"?`);
    return { attachment: { ...attachment, result: JSON.stringify(last.raw), pending: false }, ips, result: last.result };
  }

  /**
   * DEL: the plugins in reverse order, with the result of the ADD (since 0.4.0). May be repeated, also for an ADD that never
   * ran. Works without the pod's namespace; the plugins then free what they hold elsewhere, such as the address. Stops at the
   * first plugin that fails, as freeing an address before the rules that use it would hand them to the next pod.
   */
  async del(attachment: CniAttachment, pod: { id: string; netnsPath: string }, options: Call): Promise<void> {
    const what = `network ${attachment.networkName} for sandbox ${shortId(pod.id)}`;
    const network = storedNetwork(attachment, what);
    const netnsPath = isNetns(pod.netnsPath) ? pod.netnsPath : "";
    const previous = atLeast(network.cniVersion, "0.4.0") ? previousResult(attachment) : {};
    await this.#each("DEL", network.plugins.toReversed(), attachment, { id: pod.id, netnsPath, what }, options, async (_, run) => {
      await run(previous);
    });
  }

  /** CHECK: whether the pod's network is still as the ADD left it. Does nothing before 0.4.0 or with disableCheck. */
  async check(attachment: CniAttachment, pod: { id: string; netnsPath: string }, options: Call): Promise<void> {
    const what = `network ${attachment.networkName} for sandbox ${shortId(pod.id)}`;
    const network = storedNetwork(attachment, what);
    if (network.disableCheck || !atLeast(network.cniVersion, "0.4.0")) return;
    await this.#each("CHECK", network.plugins, attachment, { ...pod, what }, options, async (_, run) => {
      await run(previousResult(attachment));
    });
  }

  /**
   * GC: tells the plugins of the network in use which attachments are valid; they free all others *of that network name*, also
   * those of another runtime on this machine that uses the same network. Does nothing before 1.1.0 or with disableGC. Every
   * plugin gets its turn; the errors are put together.
   */
  async gc(valid: readonly { containerId: string; ifName: string }[], options: Call): Promise<void> {
    const { network } = this.#confDir.state;
    if (network === undefined || network.disableGc || !atLeast(network.cniVersion, "1.1.0")) return;
    const attachments = valid.map((one) => ({ containerID: one.containerId, ifname: one.ifName }));
    // The first draft of the spec called the key otherwise (containernetworking/cni#1101); libcni sends both.
    const extra = { "cni.dev/valid-attachments": attachments, "cni.dev/attachments": attachments };
    const errors: string[] = [];
    for (const plugin of network.plugins) {
      try {
        await this.#onNetwork("GC", network, [plugin], extra, options);
      } catch (error) {
        options.signal.throwIfAborted();
        errors.push(messageOf(error));
      }
    }
    if (errors.length > 0) throw new CridError("internal", errors.join("; "));
  }

  #missingPlugin(network: NetworkConf): string | undefined {
    try {
      for (const plugin of network.plugins) findPlugin(plugin.type, this.#options.binDirs);
      return undefined;
    } catch (error) {
      return messageOf(error);
    }
  }

  /** STATUS (since 1.1.0): asks the plugins whether they can take an ADD, now and every few seconds. */
  async #probe(): Promise<void> {
    clearTimeout(this.#statusTimer);
    const { network } = this.#confDir.state;
    if (network === undefined || !atLeast(network.cniVersion, "1.1.0") || this.#closing.signal.aborted) {
      this.#unready = undefined;
      return;
    }
    let unready: string | undefined;
    try {
      await this.#onNetwork("STATUS", network, network.plugins, {}, { signal: this.#closing.signal });
    } catch (error) {
      unready = messageOf(error);
    }
    if (this.#closing.signal.aborted || this.#confDir.state.network !== network) return;
    if (unready !== this.#unready) this.#options.log.info({ network: network.name, unready }, "CNI plugins changed their status");
    this.#unready = unready;
    clearTimeout(this.#statusTimer);
    this.#statusTimer = setTimeout(() => void this.#probe(), statusEveryMs).unref();
  }

  /** Runs a command that concerns a network as a whole. */
  async #onNetwork(
    command: "GC" | "STATUS",
    network: NetworkConf,
    plugins: PluginConf[],
    extra: Record<string, unknown>,
    options: Call,
  ): Promise<void> {
    const target = { networkName: network.name, cniVersion: network.cniVersion, ifName: "", args: [], capabilityArgs: {} };
    await this.#each(command, plugins, target, { id: "", netnsPath: "", what: `network ${network.name}` }, options, async (_, run) => {
      await run(extra);
    });
  }

  /** Calls `step` for each plugin in turn, with a function that runs it; all under one time limit, errors named. */
  async #each(
    command: CniCommand,
    plugins: readonly PluginConf[],
    target: Omit<CniAttachment, "conflist" | "pending">,
    pod: { id: string; netnsPath: string; what: string },
    options: Call,
    step: (plugin: PluginConf, run: (extra: Record<string, unknown>) => Promise<{ stdout: string }>) => Promise<void>,
  ): Promise<void> {
    const { binDirs, log, onOperation } = this.#options;
    const timeoutMs = this.#options.timeoutMs ?? 120_000;
    using limits = linkSignals({ signals: [options.signal], timeoutMs, step: command });
    for (const plugin of plugins) {
      const began = performance.now();
      let ok = false;
      try {
        await step(plugin, async (extra) => {
          const conf = {
            ...plugin.raw,
            name: target.networkName,
            cniVersion: target.cniVersion,
            ...runtimeConfig(plugin, target),
            ...extra,
          };
          const call = {
            command,
            type: plugin.type,
            conf,
            containerId: pod.id,
            netnsPath: pod.netnsPath,
            ifName: target.ifName,
            args: target.args,
            binDirs,
          };
          const done = await callPlugin(call, { signal: limits.signal });
          if (done.stderr !== "")
            log.debug({ command, plugin: plugin.type, sandbox: pod.id, stderr: done.stderr }, "a CNI plugin wrote to stderr");
          return done;
        });
        ok = true;
      } catch (error) {
        throw CridError.from(error, `CNI ${command} of ${pod.what}`);
      } finally {
        onOperation?.({ command, plugin: plugin.type, network: target.networkName, ms: performance.now() - began, ok });
      }
    }
  }
}

/** Plugins fail on the path of a namespace that is gone, and also on the bare file that a reboot leaves where it was bound. */
function isNetns(path: string): boolean {
  return path !== "" && existsSync(path) && statfs(path).type === FS_MAGIC.nsfs;
}

/** The capability arguments that this plugin declares, under the key that it reads them from. */
function runtimeConfig(plugin: PluginConf, target: Pick<CniAttachment, "capabilityArgs">): { runtimeConfig?: Record<string, unknown> } {
  const own = Object.entries(target.capabilityArgs).filter(([name]) => plugin.capabilities.includes(name));
  return own.length === 0 ? {} : { runtimeConfig: Object.fromEntries(own) };
}

function previousResult(attachment: CniAttachment): { prevResult?: Record<string, unknown> } {
  if (attachment.result === undefined) return {};
  return { prevResult: resultAs(parseResult(attachment.result, attachment.cniVersion).raw, attachment.cniVersion) };
}

function storedNetwork(attachment: CniAttachment, what: string): NetworkConf {
  try {
    return parseNetworkConf(attachment.conflist);
  } catch (error) {
    throw new CridError("data-loss", `the stored configuration of ${what} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}
