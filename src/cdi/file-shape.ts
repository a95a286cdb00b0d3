import type { ContainerEdits } from "./edits.ts";

/** A CDI spec as a file has it. */
export interface CdiSpec {
  cdiVersion: string;
  kind: string;
  annotations?: Map<string, string>;
  devices: CdiDevice[];
  /** Made when any of the devices is asked for. */
  containerEdits: ContainerEdits;
}

export interface CdiDevice {
  name: string;
  annotations?: Map<string, string>;
  containerEdits: ContainerEdits;
}
