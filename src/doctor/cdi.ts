import type { Logger } from "../base/log.ts";
import { Cdi } from "../cdi/cdi.ts";
import type { Config } from "../config/schema.ts";
import { type Finding, ok, warning } from "./finding.ts";

/** Reads the spec files of the Container Device Interface as the daemon would. */
export async function checkCdi(config: Config["cdi"], log: Logger): Promise<Finding[]> {
  const { enabled, dirs, devices, errors } = await new Cdi({ ...config, log }).status();
  if (!enabled) return [ok("CDI devices", "turned off by cdi.enabled")];
  const broken = Object.entries(errors).map(([path, messages]) =>
    warning(
      `CDI spec ${path}`,
      messages.join("; "),
      "reinstall or restart the vendor's driver or device plugin that writes it, or mend it by hand; crid needs no restart",
    ),
  );
  const names = Object.keys(devices);
  return [...broken, ok("CDI devices", names.length === 0 ? `none in ${dirs.join(" and ")}` : `${names.length}: ${names.join(", ")}`)];
}
