import type { Logger } from "../base/log.ts";
import type { Config } from "../config/schema.ts";

export interface DaemonOptions {
  config: Config;
  log: Logger;
  /** argv that runs crid itself; the logger is started by it. */
  self: readonly string[];
}
