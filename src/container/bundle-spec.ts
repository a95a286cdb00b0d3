import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fromJson, toJson } from "../base/json.ts";
import type { OciSpec } from "../oci/spec.ts";
import { bundlePath, type ContainerContext } from "./context.ts";

/** The spec in a container's bundle. @throws ENOENT when the bundle has gone */
export async function readSpec(context: Pick<ContainerContext, "paths">, id: string): Promise<OciSpec> {
  return fromJson(await readFile(join(bundlePath(context, id), "config.json"), "utf8")) as OciSpec;
}

/** Whoever reads it meanwhile sees the old one or the new one. */
export async function changeSpec(context: Pick<ContainerContext, "paths">, id: string, change: (spec: OciSpec) => void): Promise<void> {
  const path = join(bundlePath(context, id), "config.json");
  const spec = await readSpec(context, id);
  change(spec);
  await writeFile(`${path}.new`, toJson(spec), { mode: 0o600 });
  await rename(`${path}.new`, path);
}
