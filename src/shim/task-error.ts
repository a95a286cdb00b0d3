import { Code, ConnectionClosedError, TtrpcError } from "ttrpc-node";
import { CridError, type ErrorKind } from "../base/errors.ts";

const kinds: Readonly<Record<number, ErrorKind>> = {
  [Code.CANCELLED]: "canceled",
  [Code.INVALID_ARGUMENT]: "invalid-argument",
  [Code.DEADLINE_EXCEEDED]: "deadline-exceeded",
  [Code.NOT_FOUND]: "not-found",
  [Code.ALREADY_EXISTS]: "already-exists",
  [Code.PERMISSION_DENIED]: "permission-denied",
  [Code.RESOURCE_EXHAUSTED]: "resource-exhausted",
  [Code.FAILED_PRECONDITION]: "failed-precondition",
  [Code.ABORTED]: "aborted",
  [Code.OUT_OF_RANGE]: "out-of-range",
  [Code.UNIMPLEMENTED]: "unimplemented",
  [Code.INTERNAL]: "internal",
  [Code.UNAVAILABLE]: "unavailable",
  [Code.DATA_LOSS]: "data-loss",
  [Code.UNAUTHENTICATED]: "unauthenticated",
};

/**
 * The CridError for what a call to a shim threw. `step` says what was done and to which id ("create task 3f2a"). A shim
 * answers UNKNOWN for much that has a better name; those that callers act upon are told by their text.
 */
export function taskError(error: unknown, step: string): CridError {
  if (!(error instanceof TtrpcError)) return CridError.from(error, step);
  if (error instanceof ConnectionClosedError) {
    return new CridError("unavailable", `${step}: the shim is gone (${error.message})`, { cause: error });
  }
  const kind = kinds[error.code] ?? kindByText(error.message);
  return new CridError(kind, `${step}: ${withoutNoise(error.message)}`, { cause: error });
}

/** Shims 1.6 give the errors of runc's kill and of a stopped process without a code of their own. */
function kindByText(message: string): ErrorKind {
  if (/process already finished|no such process|container does not exist|no such container|container not running/i.test(message))
    return "not-found";
  if (/cannot (start|exec in|resize|pause|update) a (stopped|deleted)/i.test(message)) return "failed-precondition";
  return runtimeFailure(message);
}

/**
 * What a failure of the OCI runtime is to the caller, by the runtime's words: shims answer UNKNOWN for all of them. runc and crun say the same in
 * different words. What is nobody's request and nobody's limit is the node's own failure.
 */
function runtimeFailure(message: string): ErrorKind {
  // The command, its directory or its user do not exist in the image: asking again changes nothing.
  if (/exec: ".*"|executable file .*not found|exec format error|chdir to cwd|unable to find user|mkdir of cwd/i.test(message))
    return "invalid-argument";
  if (
    /OOM-killed|memory limit too low|no space left on device|disk quota exceeded|resource temporarily unavailable|cannot allocate memory|too many open files/i.test(
      message,
    )
  )
    return "resource-exhausted";
  if (/operation not supported|function not implemented|not supported|unsupported/i.test(message)) return "failed-precondition";
  return "internal";
}

/** Drops what only repeats that a task was to be created, and the name of the code at the end; runc's own words stay. */
export function withoutNoise(message: string): string {
  return message
    .replace(/^(failed to create (shim task|runc container|containerd task): )+/, "")
    .replace(/^OCI runtime (create|start|exec) failed: /, "")
    .replace(/^failed to start runc container: /, "")
    .replace(/(: unknown)+$/, "")
    .trim();
}
