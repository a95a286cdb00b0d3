/** The gRPC status codes that a ttrpc response carries (google.rpc.Code). */
export const Code = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

/** A google.protobuf.Any of a status' details, undecoded. */
export interface ErrorDetail {
  typeUrl: string;
  value: Uint8Array;
}

/** A call failed: `code` is the gRPC status code, `message` what the peer (or this library) said. */
export class TtrpcError extends Error {
  override readonly name: string = "TtrpcError";
  /** One of `Code`, or whatever number the peer sent. */
  readonly code: number;
  readonly details: readonly ErrorDetail[];
  /** Whether the peer answered this; false for what went wrong on this side, or on the way. */
  readonly fromPeer: boolean;

  constructor(code: number, message: string, options: { cause?: unknown; details?: readonly ErrorDetail[]; fromPeer?: boolean } = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.details = options.details ?? [];
    this.fromPeer = options.fromPeer ?? false;
  }

  /**
   * What a server answers when a handler throws: a TtrpcError passes, an abort becomes CANCELLED, a timeout
   * DEADLINE_EXCEEDED, and the errno names that Go maps (ENOENT, EEXIST, EACCES, EPERM) become what Go makes of them;
   * everything else is UNKNOWN.
   */
  static from(error: unknown): TtrpcError {
    if (error instanceof TtrpcError) return error;
    const message = error instanceof Error ? error.message : String(error);
    return new TtrpcError(codeOf(error), message, { cause: error });
  }
}

/**
 * The connection ended, or was closed here, before the call was answered (code UNAVAILABLE). Whether the peer acted on the
 * request is not known.
 */
export class ConnectionClosedError extends TtrpcError {
  override readonly name: string = "ConnectionClosedError";

  constructor(message: string, options: { cause?: unknown } = {}) {
    super(Code.UNAVAILABLE, message, options);
  }
}

/** The name of a code for messages: "NOT_FOUND", or "code 77". */
export function codeName(code: number): string {
  for (const [name, value] of Object.entries(Code)) {
    if (value === code) return name;
  }
  return `code ${code}`;
}

function codeOf(error: unknown): number {
  if (!(error instanceof Error)) return Code.UNKNOWN;
  if (error.name === "AbortError") return Code.CANCELLED;
  if (error.name === "TimeoutError") return Code.DEADLINE_EXCEEDED;
  switch ("code" in error ? error.code : undefined) {
    case "ENOENT":
      return Code.NOT_FOUND;
    case "EEXIST":
      return Code.ALREADY_EXISTS;
    case "EACCES":
    case "EPERM":
      return Code.PERMISSION_DENIED;
    default:
      return Code.UNKNOWN;
  }
}
