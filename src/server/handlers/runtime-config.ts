import { runtime } from "../../../api/cri/runtime/v1/api.js";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

const { CgroupDriver } = runtime.v1;

/** The kubelet takes its own cgroup driver from here (KEP-4033). */
export function runtimeConfig({ node }: Pick<Services, "node">): RuntimeHandlers["RuntimeConfig"] {
  return () => ({ linux: { cgroupDriver: node.cgroupDriver === "systemd" ? CgroupDriver.SYSTEMD : CgroupDriver.CGROUPFS } });
}
