import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** The pod CIDR, which a CNI configuration may ask for (capability ipRanges). The kubelet sends it once it knows. */
export function updateRuntimeConfig({ node }: Pick<Services, "node">): RuntimeHandlers["UpdateRuntimeConfig"] {
  return ({ runtimeConfig }) => {
    const cidr = runtimeConfig?.networkConfig?.podCidr ?? "";
    if (cidr !== "") node.setPodCidr(cidr);
    return {};
  };
}
