import type { runtime } from "../../../api/cri/runtime/v1/api.js";
import type { LinuxResources } from "../../records/pod-config.ts";
import { badField, exact, limit } from "./fields.ts";

type Message = runtime.v1.LinuxContainerResources;

/** What a request without resources asks for: nothing in particular. */
export const noResources: LinuxResources = {
  cpuPeriod: 0,
  cpuQuota: 0,
  cpuShares: 0,
  memoryLimitBytes: 0,
  oomScoreAdj: 0,
  cpusetCpus: "",
  cpusetMems: "",
  hugepageLimits: [],
  unified: {},
  memorySwapLimitBytes: 0,
};

/** @param path of the message, for errors */
export function toResources(message: Message, path: string): LinuxResources {
  const oomScoreAdj = exact(message.oomScoreAdj, `${path}.oom_score_adj`);
  if (oomScoreAdj < -1000 || oomScoreAdj > 1000) throw badField(`${path}.oom_score_adj`, `${oomScoreAdj} is not between -1000 and 1000`);
  return {
    cpuPeriod: atLeast(0, message.cpuPeriod, `${path}.cpu_period`),
    cpuQuota: atLeast(-1, message.cpuQuota, `${path}.cpu_quota`),
    cpuShares: atLeast(0, message.cpuShares, `${path}.cpu_shares`),
    memoryLimitBytes: atLeast(-1, message.memoryLimitInBytes, `${path}.memory_limit_in_bytes`),
    oomScoreAdj,
    cpusetCpus: cpuList(message.cpusetCpus, `${path}.cpuset_cpus`),
    cpusetMems: cpuList(message.cpusetMems, `${path}.cpuset_mems`),
    hugepageLimits: message.hugepageLimits.map(({ pageSize, limit: bytes }) => ({ pageSize, limit: limit(bytes) })),
    unified: { ...message.unified },
    memorySwapLimitBytes: atLeast(-1, message.memorySwapLimitInBytes, `${path}.memory_swap_limit_in_bytes`),
  };
}

/** 0 is "not set" and, where it is taken, -1 "no limit". */
function atLeast(least: -1 | 0, value: bigint, path: string): number {
  if (value < least) throw badField(path, `${value} is less than ${least}`);
  return limit(value);
}

export function fromResources(resources: LinuxResources): runtime.v1.LinuxContainerResources.$Properties {
  return {
    cpuPeriod: BigInt(resources.cpuPeriod),
    cpuQuota: BigInt(resources.cpuQuota),
    cpuShares: BigInt(resources.cpuShares),
    memoryLimitInBytes: BigInt(resources.memoryLimitBytes),
    oomScoreAdj: BigInt(resources.oomScoreAdj),
    cpusetCpus: resources.cpusetCpus,
    cpusetMems: resources.cpusetMems,
    hugepageLimits: resources.hugepageLimits.map(({ pageSize, limit: bytes }) => ({ pageSize, limit: BigInt(bytes) })),
    unified: resources.unified,
    memorySwapLimitInBytes: BigInt(resources.memorySwapLimitBytes),
  };
}

/** The kernel's list format, as in "0-3,7". It would refuse anything else only when the container starts, and without a name. */
function cpuList(value: string, path: string): string {
  if (!/^(?:\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)?$/.test(value)) throw badField(path, `${JSON.stringify(value)} is not a list such as "0-3,7"`);
  return value;
}
