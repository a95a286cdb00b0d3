import { messageOf } from "../../base/errors.ts";
import type { Endpoint } from "../endpoints/endpoint.ts";
import { EndpointError } from "../failure.ts";
import { checkForeignUrl, type HttpResponse } from "../http/send.ts";
import { basic, type Transport } from "../http/transport.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import { type Credentials, fingerprint } from "./credentials.ts";
import type { TokenService } from "./token-service.ts";

/** What a request to an endpoint needs to be authorised: made once for a pull and an endpoint. */
export interface AuthContext {
  endpoint: Endpoint;
  transport: Transport;
  credentials: Credentials | undefined;
}

/** How an endpoint wants to be asked, as learned from its last challenge. */
type Scheme = { type: "basic" } | { type: "bearer"; realm: URL; service: string | undefined; scope: string };

/** Answers challenges and remembers, so that only the first request of a pull is refused. */
export class Authorizer {
  readonly #tokens: TokenService;
  readonly #schemes = new Map<string, Scheme>();

  constructor(options: { tokens: TokenService }) {
    this.#tokens = options.tokens;
  }

  /** The Authorization header to send before being asked, if the endpoint has asked before. Fetches a token that has expired. */
  async before(context: AuthContext, o: { signal: AbortSignal }): Promise<string | undefined> {
    const scheme = this.#schemes.get(keyOf(context));
    return scheme === undefined ? undefined : this.#header(scheme, context, o);
  }

  /**
   * The Authorization header that answers a 401, or undefined when there is nothing (new) to say.
   *
   * @param sent the header that the refused request carried
   */
  async answer(
    context: AuthContext,
    response: HttpResponse,
    sent: string | undefined,
    o: { signal: AbortSignal },
  ): Promise<string | undefined> {
    const scheme = chooseScheme(parseChallenges(response.headers["www-authenticate"]), context);
    if (scheme === undefined) return undefined;
    if (scheme.type === "bearer" && sent !== undefined) this.#tokens.forget(sent);
    const header = await this.#header(scheme, context, o);
    if (header === undefined || header === sent) return undefined;
    remember(this.#schemes, keyOf(context), scheme);
    return header;
  }

  async #header(
    scheme: Scheme,
    { endpoint, transport, credentials }: AuthContext,
    o: { signal: AbortSignal },
  ): Promise<string | undefined> {
    if (credentials?.type === "bearer") return `Bearer ${credentials.token}`;
    if (scheme.type === "basic") return credentials?.type === "password" ? basic(credentials.username, credentials.password) : undefined;
    const { realm, service, scope } = scheme;
    const token = await this.#tokens.get({ endpoint, transport, credentials, realm, service, scope }, o);
    return `Bearer ${token}`;
  }
}

function keyOf({ endpoint, credentials }: AuthContext): string {
  return `${endpoint.url} ${endpoint.path} ${fingerprint(credentials)}`;
}

function chooseScheme(challenges: readonly Challenge[], { endpoint, credentials }: AuthContext): Scheme | undefined {
  const bearer = challenges.find(({ scheme, parameters }) => scheme === "bearer" && parameters.has("realm"));
  if (bearer !== undefined) return bearerScheme(bearer, endpoint);
  if (challenges.some(({ scheme }) => scheme === "basic") && credentials !== undefined) return { type: "basic" };
  return undefined;
}

function bearerScheme(challenge: Challenge, endpoint: Endpoint): Scheme {
  const text = challenge.parameters.get("realm") ?? "";
  const realm = URL.parse(text);
  const refuse = (why: string): never => {
    throw new EndpointError({
      kind: "permission-denied",
      detail: `its token service ${JSON.stringify(text.slice(0, 200))}: ${why}`,
      transient: false,
      penalty: true,
    });
  };
  if (realm === null) return refuse("not a URL");
  try {
    checkForeignUrl(new URL(endpoint.url), realm);
  } catch (error) {
    return refuse(messageOf(error));
  }
  const scope = challenge.parameters.get("scope");
  const service = challenge.parameters.get("service");
  return { type: "bearer", realm, service, scope: scope === undefined || scope === "" ? `repository:${endpoint.path}:pull` : scope };
}

/** Adds to a map that forgets its oldest entries. */
function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  const oldest = map.size > 1000 ? map.keys().next().value : undefined;
  if (oldest !== undefined) map.delete(oldest);
}
