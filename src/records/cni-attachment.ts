/** One network of one pod: everything that CHECK and DEL need, so that they work after the conf file has changed or gone. */
export interface CniAttachment {
  networkName: string;
  cniVersion: string;
  ifName: string;
  /** The conflist that the ADD was made with, as JSON text. */
  conflist: string;
  /** CNI_ARGS, in order. */
  args: [string, string][];
  /** runtimeConfig by capability name. */
  capabilityArgs: Record<string, unknown>;
  /** The last plugin's result as JSON text; absent while `pending`. */
  result?: string;
  /** The ADD had not answered when this was written: it may have half-succeeded. */
  pending: boolean;
}
