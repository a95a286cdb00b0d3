import type { Logger } from "../base/log.ts";
import type { Config } from "../config/schema.ts";
import type { Containers } from "../container/containers.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { Nri } from "../nri/nri.ts";
import type { Sandboxes } from "../sandbox/sandboxes.ts";
import { version } from "../version.ts";

/** How long an update or an end may take that a plugin asks for by itself. */
const CHANGE_TIMEOUT_MS = 60_000;

/** undefined when NRI is off. */
export async function openNri({ nri }: Config, metrics: Metrics, log: Logger): Promise<Nri | undefined> {
  if (!nri.enabled) return undefined;
  return Nri.open({
    socket: nri.socket,
    disableConnections: nri.disableConnections,
    pluginPath: nri.pluginDir,
    pluginConfigPath: nri.pluginConfDir,
    registrationTimeoutMs: nri.pluginRegistrationTimeout,
    requestTimeoutMs: nri.pluginRequestTimeout,
    validator: nri.defaultValidator,
    runtime: { name: "crid", version },
    log: log.child({ part: "nri" }),
    onCall: (call) => metrics.nriCall(call),
    onCutOff: (plugin, reason) => metrics.nriCutOff(plugin, reason),
  });
}

/** Lets the plugins in, once it is known what runs. */
export async function startNri(nri: Nri, { sandboxes, containers }: { sandboxes: Sandboxes; containers: Containers }): Promise<void> {
  const limit = (): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(CHANGE_TIMEOUT_MS) });
  await nri.start({
    list: async () => ({ pods: sandboxes.listForPlugins(), containers: await containers.listForPlugins() }),
    update: (id, resources) => containers.updateByPlugin(id, resources, limit()),
    evict: (id, reason) => containers.evict(id, reason, limit()),
  });
}
