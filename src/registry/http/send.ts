import type { IncomingHttpHeaders } from "node:http";
import { STATUS_CODES } from "node:http";
import type { Dispatcher } from "undici";
import { CridError, type ErrorKind } from "../../base/errors.ts";
import { EndpointError, type Failure, lie, printable } from "../failure.ts";
import { hostnameOf, isLinkLocal, isLoopback } from "./addresses.ts";
import { foreignTransport, redactUrl, type Transport, type Transports } from "./transport.ts";

export interface HttpRequest {
  method: "GET" | "HEAD" | "POST";
  url: URL;
  /** Sent wherever the request goes, redirects included. */
  headers: Record<string, string>;
  /** Credentials and the operator's headers: sent to the host of `url` only. */
  hostHeaders?: Readonly<Record<string, string | string[]>>;
  body?: string;
  transport: Transport;
  /** Until the headers of the answer are there. */
  headersTimeoutMs: number;
  /** Between two pieces of the body. */
  bodyTimeoutMs: number;
}

export interface HttpResponse {
  status: number;
  headers: IncomingHttpHeaders;
  /** Where the answer came from, after redirects. */
  url: URL;
  /** Must be read to its end, dumped or destroyed. */
  body: Dispatcher.ResponseData["body"];
}

const maxRedirects = 5;
const userAgent = "crid";

/**
 * Sends one request and follows redirects. A redirect to another host carries no credentials, none of the operator's headers
 * and no client certificate; one from https to http, or to a link-local address, is refused (that is how a registry would make
 * the node ask its cloud's metadata service).
 */
export async function send(transports: Transports, options: HttpRequest, o: { signal: AbortSignal }): Promise<HttpResponse> {
  const { request } = await import("./undici.ts");
  let { url, transport } = options;
  let hostHeaders = options.hostHeaders;
  for (let hops = 0; ; hops++) {
    const answer = await request(url, {
      dispatcher: await transports.dispatcher(transport, url),
      method: options.method,
      headers: { "user-agent": userAgent, ...options.headers, ...hostHeaders },
      ...(options.body === undefined ? {} : { body: options.body }),
      // undici closes the connection after a HEAD, for servers that send a body all the same; of those, the connection breaks by itself.
      ...(options.method === "HEAD" ? { reset: false } : {}),
      signal: o.signal,
      headersTimeout: options.headersTimeoutMs,
      bodyTimeout: options.bodyTimeoutMs,
    });
    answer.body.on("error", ignore);
    const location = answer.headers.location;
    // A POST carries a secret in its body: it goes nowhere else.
    const redirect = [301, 302, 303, 307, 308].includes(answer.statusCode) && options.method !== "POST";
    if (!redirect || typeof location !== "string") {
      return { status: answer.statusCode, headers: answer.headers, url, body: answer.body };
    }
    answer.body.destroy();
    if (hops === maxRedirects) throw lie(`more than ${maxRedirects} redirects, the last to ${printable(location, 200)}`);
    const next = redirectTarget(url, location);
    if (next.host !== url.host || next.protocol !== url.protocol) {
      hostHeaders = undefined;
      transport = foreignTransport(transport, { loopback: isLoopback(hostnameOf(options.url.host)) });
    }
    url = next;
  }
}

// A body that is destroyed before its end emits an error that nobody waits for.
function ignore(): void {}

function redirectTarget(from: URL, location: string): URL {
  const target = URL.parse(location, from.href);
  if (target === null) throw lie(`redirect to ${JSON.stringify(printable(location, 200))}, which is not a URL`);
  const shown = redactUrl(target);
  try {
    checkForeignUrl(from, target);
  } catch (error) {
    throw new EndpointError(
      {
        kind: "permission-denied",
        detail: `redirect to ${shown} refused: ${CridError.from(error).message}`,
        transient: false,
        penalty: true,
      },
      { cause: error },
    );
  }
  target.username = "";
  target.password = "";
  return target;
}

/**
 * Whether a registry may send us to this URL.
 * @throws permission-denied
 */
export function checkForeignUrl(from: URL, target: URL): void {
  const refuse = (why: string): never => {
    throw new CridError("permission-denied", why);
  };
  if (target.protocol !== "https:" && target.protocol !== "http:") refuse(`${target.protocol} is neither http nor https`);
  if (from.protocol === "https:" && target.protocol === "http:") refuse("it goes from https to http");
  const hostname = hostnameOf(target.host);
  if (isLinkLocal(hostname)) refuse(`${hostname} is a link-local address`);
  if (isLoopback(hostname) && !isLoopback(hostnameOf(from.host))) refuse(`${hostname} is this machine`);
}

/** Reads a body to its end. @throws data-loss (an EndpointError) when it is longer than `maxBytes` */
export async function readBody(response: HttpResponse, maxBytes: number, what: string): Promise<Buffer> {
  const announced = Number(response.headers["content-length"] ?? "0");
  const tooLong = (): EndpointError => {
    response.body.destroy();
    return new EndpointError({ kind: "data-loss", detail: `${what} is larger than ${maxBytes} bytes`, transient: false, penalty: false });
  };
  if (announced > maxBytes) throw tooLong();
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBytes) throw tooLong();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

const excerptBytes = 2048;
const excerptTimeoutMs = 3000;

/** An answer that is not a success, as a failure with an excerpt of what it says. Reads a little of the body and drops the rest. */
export async function statusFailure(response: HttpResponse, hint = ""): Promise<EndpointError> {
  const { status, headers } = response;
  const retryAfterMs = parseRetryAfter(headers["retry-after"]);
  const parts = [`${status} ${STATUS_CODES[status] ?? ""}`.trim()];
  const excerpt = explainBody(await excerptOf(response));
  if (excerpt !== "") parts.push(`: ${excerpt}`);
  const extra = [
    hint,
    retryAfterMs === undefined ? "" : `retry after ${Math.ceil(retryAfterMs / 1000)} s`,
    ...["ratelimit-limit", "ratelimit-remaining"].map((name) =>
      typeof headers[name] === "string" ? `${name} ${printable(headers[name], 60)}` : "",
    ),
  ].filter((text) => text !== "");
  if (extra.length > 0) parts.push(` (${extra.join(", ")})`);
  const failure: Failure = {
    kind: kindOfStatus(status),
    detail: parts.join(""),
    status,
    transient: status === 429 || status === 408 || (status >= 500 && status !== 501),
    penalty: status === 429 || status === 408 || status >= 500,
  };
  if (retryAfterMs !== undefined) failure.retryAfterMs = retryAfterMs;
  return new EndpointError(failure);
}

function kindOfStatus(status: number): ErrorKind {
  if (status === 401) return "unauthenticated";
  if (status === 403) return "permission-denied";
  if (status === 404) return "not-found";
  if (status === 408) return "deadline-exceeded";
  if (status === 429) return "resource-exhausted";
  return status >= 500 ? "unavailable" : "unknown";
}

async function excerptOf(response: HttpResponse): Promise<string> {
  const timer = setTimeout(() => response.body.destroy(), excerptTimeoutMs);
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= excerptBytes) break;
    }
  } catch {
    // What came before the cut is all there is to say.
  } finally {
    clearTimeout(timer);
    response.body.destroy();
  }
  return Buffer.concat(chunks).subarray(0, excerptBytes).toString("utf8");
}

/** The errors of the distribution spec ("Error Codes") as `CODE: message`; any other body as its first words. */
function explainBody(text: string): string {
  try {
    const { errors } = JSON.parse(text) as { errors?: unknown };
    if (Array.isArray(errors)) {
      const said = errors
        .filter((item): item is { code?: unknown; message?: unknown } => typeof item === "object" && item !== null)
        .map(({ code, message }) => [code, message].filter((part) => typeof part === "string" && part !== "").join(": "));
      if (said.some((part) => part !== "")) return printable(said.join(", "), 300);
    }
  } catch {
    // Not JSON: shown as it is.
  }
  return printable(text.replace(/<[^>]*>/g, " "), 200);
}

/** RFC 9110, 10.2.3: seconds or a date. @returns milliseconds from now; undefined when it is neither */
export function parseRetryAfter(value: string | string[] | undefined): number | undefined {
  if (typeof value !== "string") return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
}
