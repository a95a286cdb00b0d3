import { CridError, type ErrorKind, isAbort, messageOf } from "../base/errors.ts";
import { redactUrl } from "./http/transport.ts";

/** How one endpoint failed to serve a request. */
export interface Failure {
  kind: ErrorKind;
  /** One line: status and what the body says, or the network error. */
  detail: string;
  /** The HTTP status, if there was an answer. */
  status?: number;
  /** Whether the same request may work a moment later. */
  transient: boolean;
  /** Whether the endpoint is to be tried after others for a while. */
  penalty: boolean;
  /** What the endpoint asks us to wait. */
  retryAfterMs?: number;
}

/** A failure of one endpoint. Never leaves this folder as it is: the caller goes on to the next endpoint. */
export class EndpointError extends CridError {
  readonly failure: Failure;

  constructor(failure: Failure, options?: { cause?: unknown }) {
    super(failure.kind, failure.detail, options);
    this.failure = failure;
  }
}

/** An endpoint that answered something that cannot be true, or is not the protocol. Asking again gives the same. */
export function lie(detail: string): EndpointError {
  return new EndpointError({ kind: "data-loss", detail, transient: false, penalty: true });
}

/** Anything thrown while talking to an endpoint, as its failure. An abort of the caller is not one: check the signal before. */
export function failureOf(error: unknown): Failure {
  if (error instanceof EndpointError) return error.failure;
  if (error instanceof CridError) {
    return {
      kind: error.kind,
      detail: error.message,
      transient: error.kind === "unavailable" || error.kind === "deadline-exceeded",
      penalty: false,
    };
  }
  const code = errorCode(error);
  const said = printable(messageOf(error), 300);
  const detail = code === undefined || said.includes(code) ? said : `${said} (${code})`;
  if (isTlsError(code)) return { kind: "unavailable", detail: `TLS: ${detail}`, transient: false, penalty: true };
  if (code !== undefined && (timeoutCodes.has(code) || code === "ETIMEDOUT")) {
    return { kind: "deadline-exceeded", detail: `timed out: ${detail}`, transient: true, penalty: true };
  }
  if (code !== undefined && /^(HPE_|UND_ERR_(HEADERS_OVERFLOW|RES_CONTENT_LENGTH_MISMATCH|INVALID))/.test(code)) {
    return { kind: "data-loss", detail: `not HTTP: ${detail}`, transient: false, penalty: true };
  }
  const network = code !== undefined && (networkCodes.has(code) || code.startsWith("UND_ERR_"));
  return { kind: network || isAbort(error) ? "unavailable" : "unknown", detail, transient: network, penalty: network };
}

const timeoutCodes = new Set(["UND_ERR_CONNECT_TIMEOUT", "UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT"]);
const networkCodes = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EHOSTDOWN",
  "EADDRNOTAVAIL",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EAI_FAIL",
]);

function isTlsError(code: string | undefined): boolean {
  return (
    code !== undefined && /^(ERR_TLS_|ERR_SSL_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_OSSL_|EPROTO$|HOSTNAME_MISMATCH)/.test(code)
  );
}

/** The errno or library code of an error, looked for in its causes too (happy eyeballs wraps them in an AggregateError). */
function errorCode(error: unknown): string | undefined {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 8; depth++) {
    if ("code" in at && typeof at.code === "string") return at.code;
    // undici's, for what begins like no answer at all, has none.
    if (at.name === "HTTPParserError") return "HPE_INVALID";
    at = at instanceof AggregateError ? at.errors[0] : at.cause;
  }
  return undefined;
}

/** One endpoint's failure as the final error shows it. */
export interface Attempt {
  url: string;
  source: string;
  failure: Failure;
}

/**
 * The error after every endpoint has failed: it lists each. Its kind is that of the last one tried, which is the registry
 * itself unless the configuration keeps us away from it; mirrors are optional by nature.
 */
export function allFailed(what: string, attempts: readonly Attempt[]): CridError {
  const last = attempts.at(-1);
  const lines = attempts.map(
    ({ url, source, failure }) => `${redactUrl(url)}${source === "default" ? "" : ` (${source})`}: ${failure.detail}`,
  );
  const list = attempts.length === 1 ? lines.join() : `tried ${attempts.length} endpoints: ${lines.join("; ")}`;
  return new CridError(last?.failure.kind ?? "unavailable", `${what}: ${list}`);
}

/** One line of printable text, cut at a length. */
export function printable(text: string, maxLength: number): string {
  const line = text.replace(/[\p{C}\s]+/gu, " ").trim();
  // A cut may go through a character that JavaScript counts as two.
  return line.length > maxLength ? `${line.slice(0, maxLength).toWellFormed()}...` : line;
}

/** Whether the error is what a client meets that speaks http to an https port, or https to an http port. */
export function isWrongScheme(error: unknown): boolean {
  const code = errorCode(error) ?? "";
  return /^(ERR_SSL_|EPROTO$|HPE_)/.test(code) || code === "ECONNRESET" || code === "UND_ERR_SOCKET";
}
