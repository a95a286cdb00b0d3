import { runtime } from "../../../api/cri/runtime/v1/api.js";
import type { PodConfig } from "../../records/pod-config.ts";
import type { SandboxFilter, SandboxStatus, SandboxView } from "../services.ts";
import { EncodedList } from "./encoded-list.ts";
import { word } from "./fields.ts";
import { fromNamespaces } from "./security.ts";

const { PodSandbox } = runtime.v1;
const states: readonly SandboxView["state"][] = ["ready", "not-ready"];

export function fromPodMetadata(config: PodConfig): runtime.v1.PodSandboxMetadata.$Properties {
  return { name: config.name, uid: config.uid, namespace: config.namespace, attempt: config.attempt };
}

export function fromSandbox(view: SandboxView): runtime.v1.PodSandbox.$Properties {
  return {
    id: view.id,
    metadata: fromPodMetadata(view.config),
    state: states.indexOf(view.state),
    createdAt: view.createdAt,
    labels: view.config.labels,
    annotations: view.config.annotations,
    runtimeHandler: view.runtimeHandler,
  };
}

export function fromSandboxStatus(status: SandboxStatus): runtime.v1.PodSandboxStatus.$Properties {
  const { config } = status;
  const [ip = "", ...additional] = status.ips;
  return {
    ...fromSandbox(status),
    network: { ip, additionalIps: additional.map((address) => ({ ip: address })) },
    linux: { namespaces: { options: fromNamespaces(config.security.namespaces) } },
  };
}

export function toSandboxFilter(message: runtime.v1.PodSandboxFilter | null | undefined): SandboxFilter {
  if (message === null || message === undefined) return {};
  return {
    ...(message.id !== "" && { id: message.id }),
    ...(message.state && { state: word(states, message.state.state, "filter.state.state") }),
    labels: message.labelSelector,
  };
}

/** The filter of statistics is that of pods without the state. */
export function toSandboxStatsFilter(message: runtime.v1.PodSandboxStatsFilter | null | undefined): SandboxFilter {
  if (message === null || message === undefined) return {};
  return { ...(message.id !== "" && { id: message.id }), labels: message.labelSelector };
}

/**
 * The pods of ListPodSandbox. A pod's configuration is one object as long as the pod lives, and what List shows of it never
 * changes.
 */
export function sandboxList(): EncodedList<SandboxView> {
  return new EncodedList({
    identity: ({ config, state }) => ({ key: config, version: state }),
    encode: (view) => PodSandbox.encode(fromSandbox(view)).finish(),
  });
}
