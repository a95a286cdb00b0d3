import { linkSignals } from "../base/signals.ts";
import type { RecoveryDeps } from "./deps.ts";

/** How long new pods may be held up by a plugin's GC, and by pods whose ADD is under way. */
const GC_TIMEOUT_MS = 20_000;

/** Tells the plugins which attachments are known; they free all others. No ADD runs meanwhile. Never throws. */
export async function collectNetworks(deps: RecoveryDeps, options: { signal: AbortSignal }): Promise<void> {
  using link = linkSignals({ signals: [options.signal], timeoutMs: GC_TIMEOUT_MS, step: "CNI GC" });
  try {
    using _closed = await deps.sandboxes.env.networkGate.close({ signal: link.signal });
    const pods = deps.store.sandboxes
      .all()
      .flatMap(({ id, attachments }) => attachments.map(({ ifName }) => ({ containerId: id, ifName })));
    const waiting = deps.store.cniRetries.all().map(({ sandboxId, attachment }) => ({ containerId: sandboxId, ifName: attachment.ifName }));
    await deps.cni.gc([...pods, ...waiting], { signal: link.signal });
  } catch (error) {
    deps.log.warn({ err: error }, "CNI GC failed; what it would have freed is freed at the next start");
  }
}
