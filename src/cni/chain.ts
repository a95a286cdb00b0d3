import { existsSync } from "node:fs";
import { CridError, messageOf } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { linkSignals } from "../base/signals.ts";
import { FS_MAGIC, statfs } from "../linux/files.ts";
import type { CniAttachment } from "../records/cni-attachment.ts";
import { type NetworkConf, type PluginConf, parseNetworkConf } from "./conf.ts";
import { type CniCommand, callPlugin } from "./plugin.ts";
import { parseResult, resultAs } from "./result.ts";

/** One run of one plugin, for the metrics. */
export interface CniOperation {
  command: CniCommand;
  plugin: string;
  network: string;
  ms: number;
  ok: boolean;
}

/** Runs one plugin, with these keys added to its configuration. */
export type RunPlugin = (extra: Record<string, unknown>) => Promise<{ stdout: string }>;

/** Runs the plugins of a network one after the other. */
export class PluginChain {
  readonly #options: { binDirs: readonly string[]; log: Logger; timeoutMs: number; onOperation?: (operation: CniOperation) => void };

  constructor(options: { binDirs: readonly string[]; log: Logger; timeoutMs: number; onOperation?: (operation: CniOperation) => void }) {
    this.#options = options;
  }

  /**
   * Calls `step` for each plugin in turn, with a function that runs it; all under one time limit. An error is given the command
   * and `pod.what` in front, and ends the chain.
   */
  async run(
    command: CniCommand,
    plugins: readonly PluginConf[],
    target: Omit<CniAttachment, "conflist" | "pending">,
    pod: { id: string; netnsPath: string; what: string },
    options: { signal: AbortSignal },
    step: (plugin: PluginConf, run: RunPlugin) => Promise<void>,
  ): Promise<void> {
    const { timeoutMs, onOperation } = this.#options;
    using limits = linkSignals({ signals: [options.signal], timeoutMs, step: command });
    for (const plugin of plugins) {
      const began = performance.now();
      let ok = false;
      try {
        await step(plugin, (extra) => this.#call(command, plugin, target, pod, extra, limits));
        ok = true;
      } catch (error) {
        throw CridError.from(error, `CNI ${command} of ${pod.what}`);
      } finally {
        onOperation?.({ command, plugin: plugin.type, network: target.networkName, ms: performance.now() - began, ok });
      }
    }
  }

  async #call(
    command: CniCommand,
    plugin: PluginConf,
    target: Omit<CniAttachment, "conflist" | "pending">,
    pod: { id: string; netnsPath: string },
    extra: Record<string, unknown>,
    options: { signal: AbortSignal },
  ): Promise<{ stdout: string }> {
    const conf = { ...plugin.raw, name: target.networkName, cniVersion: target.cniVersion, ...runtimeConfig(plugin, target), ...extra };
    const done = await callPlugin(
      {
        command,
        type: plugin.type,
        conf,
        containerId: pod.id,
        netnsPath: pod.netnsPath,
        ifName: target.ifName,
        args: target.args,
        binDirs: this.#options.binDirs,
      },
      { signal: options.signal },
    );
    if (done.stderr !== "")
      this.#options.log.debug({ command, plugin: plugin.type, sandbox: pod.id, stderr: done.stderr }, "a CNI plugin wrote to stderr");
    return done;
  }
}

/** Plugins fail on the path of a namespace that is gone, and also on the bare file that a reboot leaves where it was bound. */
export function isNetns(path: string): boolean {
  return path !== "" && existsSync(path) && statfs(path).type === FS_MAGIC.nsfs;
}

/** The capability arguments that this plugin declares, under the key that it reads them from. */
function runtimeConfig(plugin: PluginConf, target: Pick<CniAttachment, "capabilityArgs">): { runtimeConfig?: Record<string, unknown> } {
  const own = Object.entries(target.capabilityArgs).filter(([name]) => plugin.capabilities.includes(name));
  return own.length === 0 ? {} : { runtimeConfig: Object.fromEntries(own) };
}

/** The stored result of the ADD as `prevResult`, in the version of the configuration. */
export function previousResult(attachment: CniAttachment): { prevResult?: Record<string, unknown> } {
  if (attachment.result === undefined) return {};
  return { prevResult: resultAs(parseResult(attachment.result, attachment.cniVersion).raw, attachment.cniVersion) };
}

/** The network that an attachment was made with. */
export function storedNetwork(attachment: CniAttachment, what: string): NetworkConf {
  try {
    return parseNetworkConf(attachment.conflist);
  } catch (error) {
    throw new CridError("data-loss", `the stored configuration of ${what} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}
