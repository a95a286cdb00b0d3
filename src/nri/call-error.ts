import { Code, TtrpcError } from "ttrpc-node";
import { CridError, isKind, messageOf } from "../base/errors.ts";

/**
 * What became of a call: `unavailable` (the connection broke), `deadline-exceeded` and `data-loss` (no answer that could be read) are the
 * plugin's failures; everything else is its own "no".
 */
export function callError(error: unknown): CridError {
  if (error instanceof CridError) return error;
  const options = { cause: error };
  if (!(error instanceof TtrpcError)) return new CridError("data-loss", `its answer cannot be read: ${messageOf(error)}`, options);
  if (error.code === Code.DEADLINE_EXCEEDED) return new CridError("deadline-exceeded", error.message, options);
  if (error.fromPeer) return new CridError("failed-precondition", error.message, options);
  if (error.code === Code.UNAVAILABLE) return new CridError("unavailable", error.message, options);
  return new CridError("data-loss", error.message, options);
}

/** No answer came, for whatever reason. */
export function isLost(error: CridError): boolean {
  return isKind(error, "unavailable") || isKind(error, "deadline-exceeded") || isKind(error, "data-loss");
}
