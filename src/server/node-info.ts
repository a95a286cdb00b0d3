import { messageOf } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import type { RuntimeFeatures } from "../sandbox/runtime-features.ts";
import type { Node, RuntimeHandlerInfo } from "./services.ts";

export interface NodeInfoOptions {
  version: string;
  cgroupDriver: "cgroupfs" | "systemd";
  writableLayers: string;
  cni: { status(): { ready: boolean; reason: string; message: string }; setPodCidr(cidr: string): void };
  /** Keeps the pod CIDR for the next start of the daemon. */
  rememberPodCidr: (cidr: string) => void;
  defaultHandler: string;
  handlerNames: readonly string[];
  /** @throws when the shim or the OCI runtime of the default handler is missing */
  check: () => void;
  /** Asks the handler's OCI runtime. @throws when it is missing */
  probe: (handler: string) => Promise<RuntimeFeatures>;
  /** The parts of a verbose status, made when asked for. */
  verbose: () => Promise<Record<string, unknown>>;
  log: Logger;
}

/** The node as Status shows it. */
export class NodeInfo implements Node {
  readonly version: string;
  readonly cgroupDriver: "cgroupfs" | "systemd";
  readonly writableLayers: string;
  readonly #options: NodeInfoOptions;
  readonly #probed = new Map<string, Promise<RuntimeFeatures>>();

  constructor(options: NodeInfoOptions) {
    this.version = options.version;
    this.cgroupDriver = options.cgroupDriver;
    this.writableLayers = options.writableLayers;
    this.#options = options;
  }

  /** Looked up each time, so that a mended machine needs no restart. */
  runtime(): { ready: boolean; reason: string; message: string } {
    try {
      this.#options.check();
      return { ready: true, reason: "", message: "" };
    } catch (error) {
      return { ready: false, reason: "RuntimeHandlerMissing", message: messageOf(error) };
    }
  }

  network(): { ready: boolean; reason: string; message: string } {
    const { ready, reason, message } = this.#options.cni.status();
    return { ready, reason, message };
  }

  setPodCidr(cidr: string): void {
    this.#options.cni.setPodCidr(cidr);
    this.#options.rememberPodCidr(cidr);
  }

  /** The default handler stands there twice, as "" too: that is the name that pods without a RuntimeClass use. */
  async handlers(): Promise<RuntimeHandlerInfo[]> {
    const { defaultHandler, handlerNames } = this.#options;
    const names = [...handlerNames];
    const features = await Promise.all(names.map((name) => this.#featuresOf(name)));
    const infos = names.map((name, index) => ({
      name,
      recursiveReadOnlyMounts: features[index]?.recursiveReadonly ?? false,
      userNamespaces: features[index]?.userNamespaces ?? false,
    }));
    const usual = infos.find(({ name }) => name === defaultHandler);
    return usual === undefined ? infos : [{ ...usual, name: "" }, ...infos];
  }

  features(): { supplementalGroupsPolicy: boolean; userNamespacesHostNetwork: boolean; mountOptions: boolean } {
    return { supplementalGroupsPolicy: true, userNamespacesHostNetwork: true, mountOptions: true };
  }

  verbose(): Promise<Record<string, unknown>> {
    return this.#options.verbose();
  }

  /** Asked once a handler; a failure is asked about again, as the runtime may be installed meanwhile. */
  async #featuresOf(handler: string): Promise<RuntimeFeatures> {
    const probe = this.#probed.get(handler) ?? this.#options.probe(handler);
    this.#probed.set(handler, probe);
    try {
      return await probe;
    } catch (error) {
      this.#probed.delete(handler);
      this.#options.log.warn({ handler, error: messageOf(error) }, "the features of a runtime handler are unknown");
      return { recursiveReadonly: false, userNamespaces: false };
    }
  }
}
