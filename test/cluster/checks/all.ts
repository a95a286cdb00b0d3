import type { Check } from "../runner.ts";
import { diskChecks } from "./disk.ts";
import { faultChecks } from "./faults.ts";
import { gateChecks } from "./gates.ts";
import { lifecycleChecks } from "./lifecycle.ts";
import { networkChecks } from "./network.ts";
import { podChecks } from "./pods.ts";
import { probeChecks } from "./probes.ts";
import { restartChecks } from "./restarts.ts";
import { streamChecks } from "./streams.ts";

/** The matrix. */
export const checks: readonly Check[] = [
  ...networkChecks,
  ...podChecks,
  ...lifecycleChecks,
  ...streamChecks,
  ...probeChecks,
  ...diskChecks,
  ...restartChecks,
  ...gateChecks,
  ...faultChecks,
];
