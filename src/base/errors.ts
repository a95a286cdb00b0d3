/**
 * The one error type of crid. The list of kinds is closed; `server/` maps each to a gRPC code in one place, and no other
 * folder knows about gRPC codes.
 */
export type ErrorKind =
  | "invalid-argument"
  | "not-found"
  | "already-exists"
  | "failed-precondition"
  | "permission-denied"
  | "unauthenticated"
  | "resource-exhausted"
  | "out-of-range"
  | "unavailable"
  | "deadline-exceeded"
  | "canceled"
  | "aborted"
  | "data-loss"
  | "unimplemented"
  | "internal"
  | "unknown";

/**
 * An error with a kind. The message says what failed, on which id, at which step and why
 * ("create shim for sandbox 3f2a: ..."); `cause` keeps the original for the log.
 */
export class CridError extends Error {
  override readonly name = "CridError";
  readonly kind: ErrorKind;

  constructor(kind: ErrorKind, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.kind = kind;
  }

  /**
   * The single way from a `catch` to a CridError. A CridError passes unchanged unless `step` is given; then `step` is put
   * in front of its message and its kind is kept. An abort becomes `canceled`, a timeout `deadline-exceeded`, ENOENT
   * `not-found`, ENOSPC and EDQUOT `resource-exhausted`; everything else is `unknown`.
   */
  static from(error: unknown, step?: string): CridError {
    const prefix = step === undefined ? "" : `${step}: `;
    if (error instanceof CridError) {
      return step === undefined ? error : new CridError(error.kind, prefix + error.message, { cause: error });
    }
    return new CridError(kindOf(error), prefix + messageOf(error), { cause: error });
  }
}

/** What to do about a disk that is full, for the end of a message. */
export const spaceAdvice = "free some space (crictl rmi --prune removes images that no container uses) and try again";

/** The text of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether the error is a CridError of this kind. */
export function isKind(error: unknown, kind: ErrorKind): error is CridError {
  return error instanceof CridError && error.kind === kind;
}

/** Whether the error, or one in its chain of causes, carries this errno name ("ENOENT"). */
export function isErrno(error: unknown, code: string): boolean {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth++) {
    if ("code" in at && at.code === code) return true;
  }
  return false;
}

/** Whether the error comes from an aborted signal (cancel, not timeout). */
export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

/** Call in the `default` of a switch over a union: does not type-check while a case is missing. */
export function assertNever(value: never, what: string): never {
  throw new CridError("internal", `${what}: unexpected value ${JSON.stringify(value)}`);
}

function kindOf(error: unknown): ErrorKind {
  if (isAbort(error)) return "canceled";
  if (error instanceof Error && error.name === "TimeoutError") return "deadline-exceeded";
  if (isErrno(error, "ENOENT")) return "not-found";
  if (isErrno(error, "ENOSPC") || isErrno(error, "EDQUOT")) return "resource-exhausted";
  return "unknown";
}
