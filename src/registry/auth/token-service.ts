import type { Endpoint } from "../endpoints/endpoint.ts";
import { EndpointError, failureOf, lie } from "../failure.ts";
import { hostnameOf, isLoopback } from "../http/addresses.ts";
import { type HttpRequest, type HttpResponse, readBody, send, statusFailure } from "../http/send.ts";
import { basic, foreignTransport, redactUrl, type Transport, type Transports } from "../http/transport.ts";
import { type Credentials, fingerprint } from "./credentials.ts";

export interface TokenRequest {
  endpoint: Endpoint;
  transport: Transport;
  credentials: Credentials | undefined;
  realm: URL;
  service: string | undefined;
  /** `repository:library/busybox:pull`, several with spaces between. */
  scope: string;
}

interface Token {
  token: string;
  /** performance.now() at which it is no longer used. */
  staleAt: number;
}

const clientId = "crid";
const timeoutMs = 30_000;
const maxTokenBytes = 1024 * 1024;
/** What the spec says a token lasts when the answer does not (distribution docs/spec/auth/token.md). */
const defaultLifeS = 60;
const maxTokens = 1000;

/** Fetches bearer tokens from registries' token services and keeps them while they last. */
export class TokenService {
  readonly #transports: Transports;
  readonly #tokens = new Map<string, Token>();
  readonly #flights = new Map<string, Promise<Token>>();

  constructor(options: { transports: Transports }) {
    this.#transports = options.transports;
  }

  /** @throws EndpointError when the service does not give one */
  async get(request: TokenRequest, o: { signal: AbortSignal }): Promise<string> {
    const key = JSON.stringify([
      request.endpoint.url,
      request.realm.href,
      request.service,
      request.scope,
      fingerprint(request.credentials),
    ]);
    const kept = this.#tokens.get(key);
    if (kept !== undefined && kept.staleAt > performance.now()) return kept.token;
    // Layers start together and all need the token: one asks. A joiner whose leader was cancelled asks for itself.
    const flight = this.#flights.get(key);
    if (flight !== undefined) {
      try {
        return (await flight).token;
      } catch (error) {
        o.signal.throwIfAborted();
        if (failureOf(error).status !== undefined) throw error;
      }
    }
    const fetching = this.#fetch(request, o);
    this.#flights.set(key, fetching);
    try {
      const token = await fetching;
      this.#tokens.delete(key);
      this.#tokens.set(key, token);
      const oldest = this.#tokens.size > maxTokens ? this.#tokens.keys().next().value : undefined;
      if (oldest !== undefined) this.#tokens.delete(oldest);
      return token.token;
    } finally {
      if (this.#flights.get(key) === fetching) this.#flights.delete(key);
    }
  }

  /** Drops a token that was refused. @param header `Bearer <token>` */
  forget(header: string): void {
    for (const [key, { token }] of this.#tokens) {
      if (header === `Bearer ${token}`) this.#tokens.delete(key);
    }
  }

  async #fetch(request: TokenRequest, o: { signal: AbortSignal }): Promise<Token> {
    try {
      const response = await send(this.#transports, this.#toHttp(request), o);
      const { status } = response;
      if (status !== 200) throw await statusFailure(response);
      return await readToken(response);
    } catch (error) {
      o.signal.throwIfAborted();
      const failure = failureOf(error);
      throw new EndpointError({ ...failure, detail: `token service ${redactUrl(request.realm)}: ${failure.detail}` }, { cause: error });
    }
  }

  #toHttp({ endpoint, transport, credentials, realm, service, scope }: TokenRequest): HttpRequest {
    const own = realm.host === new URL(endpoint.url).host;
    const base = {
      transport: own ? transport : foreignTransport(transport, { loopback: isLoopback(hostnameOf(endpoint.host)) }),
      headersTimeoutMs: timeoutMs,
      bodyTimeoutMs: timeoutMs,
    };
    if (credentials?.type === "identity") {
      // distribution docs/spec/auth/oauth.md
      const form = new URLSearchParams({ grant_type: "refresh_token", client_id: clientId, refresh_token: credentials.token, scope });
      if (service !== undefined) form.set("service", service);
      return {
        ...base,
        method: "POST",
        url: realm,
        headers: { "content-type": "application/x-www-form-urlencoded" },
        body: form.toString(),
      };
    }
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set("service", service);
    for (const one of scope.split(" ").filter((part) => part !== "")) url.searchParams.append("scope", one);
    if (credentials?.type !== "password") return { ...base, method: "GET", url, headers: {} };
    url.searchParams.set("account", credentials.username);
    return { ...base, method: "GET", url, headers: {}, hostHeaders: { authorization: basic(credentials.username, credentials.password) } };
  }
}

async function readToken(response: HttpResponse): Promise<Token> {
  const body = await readBody(response, maxTokenBytes, "the token");
  let answer: Record<string, unknown>;
  try {
    answer = JSON.parse(body.toString("utf8")) as Record<string, unknown>;
  } catch {
    throw lie("answered something that is not JSON");
  }
  const token = answer?.token ?? answer?.access_token;
  // It goes into a header: nothing but the characters of RFC 6750, 2.1 (and what some services add to them).
  if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token)) throw lie("answered without a usable token");
  const said = answer.expires_in;
  const life = typeof said === "number" || typeof said === "string" ? Number(said) : defaultLifeS;
  const lifeS = Number.isFinite(life) && life > 0 ? Math.min(life, 24 * 3600) : defaultLifeS;
  return { token, staleAt: performance.now() + lifeS * 900 };
}
