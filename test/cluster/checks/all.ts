import type { Check } from "../runner.ts";
import { diskChecks } from "./disk.ts";
import { documentedChecks } from "./documented.ts";
import { faultChecks } from "./faults.ts";
import { flannelChecks } from "./flannel.ts";
import { gateChecks } from "./gates.ts";
import { lifecycleChecks } from "./lifecycle.ts";
import { movingChecks } from "./moving.ts";
import { networkChecks } from "./network.ts";
import { podChecks } from "./pods.ts";
import { probeChecks } from "./probes.ts";
import { restartChecks } from "./restarts.ts";
import { shutdownChecks } from "./shutdown.ts";
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
  ...documentedChecks,
  ...shutdownChecks,
  ...movingChecks,
  ...flannelChecks,
];
