import * as z from "zod";
import { CridError } from "../base/errors.ts";
import { kernelAtLeast } from "../linux/kernel.ts";
import { spawnProcess } from "../linux/spawn.ts";

/** What a low-level runtime can do on this kernel. */
export interface RuntimeFeatures {
  /** Mount option `rro`. */
  recursiveReadonly: boolean;
  /** User namespaces with idmapped mounts, as pods with hostUsers: false need them. */
  userNamespaces: boolean;
}

/** The part that matters of the OCI runtime spec's features.md. */
const featuresSchema = z.object({
  mountOptions: z.array(z.string()).default([]),
  linux: z
    .object({
      namespaces: z.array(z.string()).default([]),
      mountExtensions: z.object({ idmap: z.object({ enabled: z.boolean().nullish() }).nullish() }).nullish(),
    })
    .nullish(),
});

/**
 * Asks `BINARY features`. A runtime without that command (runc before 1.1) has none of these.
 *
 * @throws when the binary cannot be run, or does not answer in time
 */
export async function probeRuntimeFeatures(binary: string, options: { signal?: AbortSignal } = {}): Promise<RuntimeFeatures> {
  const { status, stdout } = await spawnProcess({
    file: binary,
    args: ["features"],
    env: { PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin" },
    timeoutMs: 10_000,
    ...(options.signal && { signal: options.signal }),
  });
  if (status !== 0) return { recursiveReadonly: false, userNamespaces: false };
  return parseFeatures(stdout.toString(), binary);
}

export function parseFeatures(text: string, binary: string): RuntimeFeatures {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new CridError("internal", `${binary} features: its output is not JSON`, { cause: error });
  }
  const { mountOptions, linux } = featuresSchema.parse(json);
  const namespaces = linux?.namespaces ?? [];
  const idmap = linux?.mountExtensions?.idmap?.enabled === true;
  return {
    // mount_setattr(2) with AT_RECURSIVE is of 5.12; what runc lists is what it was built with, not what the kernel has.
    recursiveReadonly: mountOptions.includes("rro") && kernelAtLeast(5, 12),
    // Overlays of idmapped layers are of 5.19, and a pod's volumes on tmpfs can be idmapped since 6.3.
    userNamespaces: namespaces.includes("user") && idmap && kernelAtLeast(6, 3),
  };
}
