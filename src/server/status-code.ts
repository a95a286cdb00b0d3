import { status } from "@grpc/grpc-js";
import { CridError, type ErrorKind } from "../base/errors.ts";

/** The one place where kinds of errors become gRPC codes. */
const codes: Record<ErrorKind, status> = {
  "invalid-argument": status.INVALID_ARGUMENT,
  "not-found": status.NOT_FOUND,
  "already-exists": status.ALREADY_EXISTS,
  "failed-precondition": status.FAILED_PRECONDITION,
  "permission-denied": status.PERMISSION_DENIED,
  unauthenticated: status.UNAUTHENTICATED,
  "resource-exhausted": status.RESOURCE_EXHAUSTED,
  "out-of-range": status.OUT_OF_RANGE,
  unavailable: status.UNAVAILABLE,
  "deadline-exceeded": status.DEADLINE_EXCEEDED,
  canceled: status.CANCELLED,
  aborted: status.ABORTED,
  "data-loss": status.DATA_LOSS,
  unimplemented: status.UNIMPLEMENTED,
  internal: status.INTERNAL,
  unknown: status.UNKNOWN,
};

/** A gRPC status as grpc-js takes it, and the code's name for logs and metrics, spelled as in Go ("NotFound"). */
export interface CallStatus {
  code: status;
  name: string;
  details: string;
}

export const okStatus: CallStatus = { code: status.OK, name: "OK", details: "" };

/** Each character takes up to nine bytes in the header, which may have 64 KiB in all. */
const maxDetails = 6000;

/** The status that an error is answered with. */
export function statusOf(error: unknown): CallStatus {
  const { kind, message } = CridError.from(error);
  const code = codes[kind];
  return { code, name: nameOf(code), details: detailsOf(message) };
}

/** A message as grpc-js can send it: half a character of two makes it throw where nobody catches that, and too long a header ends the call without any answer. */
function detailsOf(message: string): string {
  const text =
    message.length <= maxDetails ? message : `${message.slice(0, maxDetails)}... (${message.length - maxDetails} characters more)`;
  return text.toWellFormed();
}

function nameOf(code: status): string {
  if (code === status.CANCELLED) return "Canceled";
  return status[code]
    .split("_")
    .map((word) => word.charAt(0) + word.slice(1).toLowerCase())
    .join("");
}

/** Whether the operator should look at it: it is our fault or the machine's, not the caller's. */
export function isFault(kind: ErrorKind): boolean {
  return kind === "internal" || kind === "unknown" || kind === "data-loss";
}
