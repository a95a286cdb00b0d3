import { runtime } from "../../../api/cri/runtime/v1/api.js";
import type { CgroupSample } from "../../sandbox/stats/sample.ts";
import type { ContainerSample, PodSample } from "../../sandbox/stats/stats.ts";

export const { COUNTER, GAUGE } = runtime.v1.MetricType;

/** A value, and the values of the labels that a metric has besides the usual ones. */
export interface Value {
  labels?: string[];
  value: bigint | undefined;
}

/** A metric, as one kind of thing is measured. */
export interface Definition<Sample> {
  name: string;
  help: string;
  type: runtime.v1.MetricType;
  /** Label keys besides the usual ones. */
  labels: string[];
  values(sample: Sample): Value[];
}

/** What has a cgroup: a container, a pause, or the pod that holds them. */
export interface Measured extends CgroupSample {
  /** Nanoseconds since 1970. */
  readonly createdAt: bigint;
  readonly startedAt: bigint;
}

export interface InPod<Sample> {
  sample: Sample;
  pod: PodSample;
}

export type OfContainer = InPod<ContainerSample>;

export const seconds = (nanos: bigint | undefined): bigint | undefined => (nanos === undefined ? undefined : nanos / 1_000_000_000n);

/** A metric without labels of its own. */
export function one(
  type: runtime.v1.MetricType,
  name: string,
  help: string,
  value: (sample: Measured) => bigint | undefined,
): Definition<InPod<Measured>> {
  return { name, help, type, labels: [], values: ({ sample }) => [{ value: value(sample) }] };
}
