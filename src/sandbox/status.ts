import type { Nanos } from "../base/time.ts";
import type { PodConfig } from "../records/pod-config.ts";
import type { SandboxRecord } from "../records/sandbox-record.ts";
import type { Step } from "./timeline.ts";

/**
 * A pod's state, as its record has it.
 *
 *               a step fails, or the daemon dies: undone, the record goes
 *                    ^         \
 *                    |          \-- an undo fails: not-ready, so that Stop and Remove (or the next start) finish it
 *                    |                 |
 *   RunPodSandbox -> creating          v
 *                    |            not-ready --- RemovePodSandbox ---> (gone)
 *                    |                 ^
 *                    |                 |-- StopPodSandbox
 *                    \---> ready ------|-- the pause process ended, or its shim died
 *                                      \-- a reboot
 *
 * creating: nobody sees it, but for those who ask for the same name. ready: the pause runs and the network is up.
 * not-ready: nothing is created or started in it any more; what is left of it is on its way out. It never becomes ready again: the
 * kubelet makes a new pod with a higher attempt.
 */
type SandboxState = SandboxRecord["state"];

/** A pod as List shows it. */
export interface SandboxView {
  readonly id: string;
  readonly config: PodConfig;
  readonly runtimeHandler: string;
  readonly state: Exclude<SandboxState, "creating">;
  readonly createdAt: Nanos;
}

/** A pod as PodSandboxStatus shows it. */
export interface SandboxStatus extends SandboxView {
  /** Primary first; none on the host's network and once the network is taken down. */
  readonly ips: readonly string[];
}

/** All given fields must match. */
export interface SandboxFilter {
  /** A full id or a prefix. */
  id?: string;
  state?: "ready" | "not-ready";
  labels?: Readonly<Record<string, string>>;
}

export function viewOf(record: SandboxRecord): SandboxView {
  const { id, config, runtimeHandler, createdAt } = record;
  return { id, config, runtimeHandler, createdAt, state: record.state === "ready" ? "ready" : "not-ready" };
}

export function statusOf(record: SandboxRecord): SandboxStatus {
  return { ...viewOf(record), ips: record.ips };
}

/** What a verbose status says beyond the CRI's fields, for `crictl inspectp`. Values are JSON. */
export function verboseOf(record: SandboxRecord, extra: { bundle: string; timeline: readonly Step[] }): Record<string, unknown> {
  return {
    pid: record.process?.pid ?? 0,
    state: record.state,
    netnsPath: record.netnsPath,
    runtimeHandler: record.runtimeHandler,
    shim: record.process?.shim ?? null,
    bundle: extra.bundle,
    config: record.config,
    cniAttachments: record.attachments.map((attachment) => ({
      network: attachment.networkName,
      interface: attachment.ifName,
      cniVersion: attachment.cniVersion,
      result: attachment.result === undefined ? null : (JSON.parse(attachment.result) as unknown),
    })),
    timeline: extra.timeline,
  };
}
