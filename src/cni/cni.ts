import { CridError, messageOf } from "../base/errors.ts";
import { shortId } from "../base/ids.ts";
import type { Logger } from "../base/log.ts";
import type { CniAttachment } from "../records/cni-attachment.ts";
import { type CniOperation, isNetns, PluginChain, previousResult, storedNetwork } from "./chain.ts";
import { atLeast, formatNetworkConf, type NetworkConf, type PluginConf, validName } from "./conf.ts";
import { ConfDir } from "./conf-dir.ts";
import { cachedAttachments, libcniCacheDir } from "./libcni-cache.ts";
import { findPlugin } from "./plugin.ts";
import { type CniResult, parseResult, podIps, resultAs } from "./result.ts";
import { type CniPod, parsePodCidrs, podArgs, podCapabilities } from "./runtime-args.ts";

export type { CniOperation } from "./chain.ts";
export type { CniPod } from "./runtime-args.ts";

export interface CniOptions {
  /** Where plugins are, searched in order; also CNI_PATH. */
  binDirs: string[];
  confDir: string;
  /** Run GC at all, default false. */
  gc?: boolean;
  /** Where other runtimes' libcni keeps its results, default /var/lib/cni. */
  libcniCache?: string;
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
  readonly #chain: PluginChain;
  #podCidrs: string[] = [];
  #unready: string | undefined;
  #probing: Promise<void> = Promise.resolve();
  #statusTimer: NodeJS.Timeout | undefined;
  readonly #closing = new AbortController();

  constructor(options: CniOptions) {
    this.#options = options;
    this.#chain = new PluginChain({ ...options, timeoutMs: options.timeoutMs ?? 120_000 });
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
    options: { signal: AbortSignal },
  ): Promise<{ attachment: CniAttachment; ips: string[]; result: CniResult }> {
    const what = `network ${attachment.networkName} for pod ${pod.namespace}/${pod.name} (sandbox ${shortId(pod.id)})`;
    const network = storedNetwork(attachment, what);
    let last: ReturnType<typeof parseResult> | undefined;
    await this.#chain.run("ADD", network.plugins, attachment, { ...pod, what }, options, async (plugin, run) => {
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
  async del(attachment: CniAttachment, pod: { id: string; netnsPath: string }, options: { signal: AbortSignal }): Promise<void> {
    const what = `network ${attachment.networkName} for sandbox ${shortId(pod.id)}`;
    const network = storedNetwork(attachment, what);
    const netnsPath = isNetns(pod.netnsPath) ? pod.netnsPath : "";
    const previous = atLeast(network.cniVersion, "0.4.0") ? previousResult(attachment) : {};
    await this.#chain.run("DEL", network.plugins.toReversed(), attachment, { id: pod.id, netnsPath, what }, options, async (_, run) => {
      await run(previous);
    });
  }

  /** CHECK: whether the pod's network is still as the ADD left it. Does nothing before 0.4.0 or with disableCheck. */
  async check(attachment: CniAttachment, pod: { id: string; netnsPath: string }, options: { signal: AbortSignal }): Promise<void> {
    const what = `network ${attachment.networkName} for sandbox ${shortId(pod.id)}`;
    const network = storedNetwork(attachment, what);
    if (network.disableCheck || !atLeast(network.cniVersion, "0.4.0")) return;
    await this.#chain.run("CHECK", network.plugins, attachment, { ...pod, what }, options, async (_, run) => {
      await run(previousResult(attachment));
    });
  }

  /**
   * GC: tells the plugins of the network in use which attachments are valid; they free all others *of that network name*. The specification
   * has no way to name what is to be freed, so another runtime's attachments are named as valid where libcni has them on record, and this does nothing
   * unless the configuration says that the network is crid's. What crid itself attached is freed by DEL, from its own records. Does nothing before
   * 1.1.0 or with disableGC. Every plugin gets its turn; the errors are put together.
   */
  async gc(valid: readonly { containerId: string; ifName: string }[], options: { signal: AbortSignal }): Promise<void> {
    const { network } = this.#confDir.state;
    if (this.#options.gc !== true || network === undefined || network.disableGc || !atLeast(network.cniVersion, "1.1.0")) return;
    const others = await cachedAttachments(this.#options.libcniCache ?? libcniCacheDir, network.name);
    const attachments = [...valid, ...others].map((one) => ({ containerID: one.containerId, ifname: one.ifName }));
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
    options: { signal: AbortSignal },
  ): Promise<void> {
    const target = { networkName: network.name, cniVersion: network.cniVersion, ifName: "", args: [], capabilityArgs: {} };
    await this.#chain.run(command, plugins, target, { id: "", netnsPath: "", what: `network ${network.name}` }, options, async (_, run) => {
      await run(extra);
    });
  }
}
