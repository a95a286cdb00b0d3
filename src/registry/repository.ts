import { digestOf, parseDigest } from "../base/digest.ts";
import { CridError } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import type { AuthContext, Authorizer } from "./auth/authorizer.ts";
import { chooseCredentials } from "./auth/choose.ts";
import type { ChosenCredentials } from "./auth/credentials.ts";
import type { DockerConfig } from "./auth/docker-config.ts";
import type { Descriptor } from "./descriptor.ts";
import { type BlobSink, type DownloadResult, downloadBlob } from "./download.ts";
import type { Endpoint } from "./endpoints/endpoint.ts";
import type { Penalties } from "./endpoints/penalties.ts";
import { isWrongScheme, lie } from "./failure.ts";
import { type HttpResponse, readBody, send, statusFailure } from "./http/send.ts";
import { loadTransport, type Transports } from "./http/transport.ts";
import { defaultMaxManifestBytes, type RegistryAuth, type RegistryConfig } from "./options.ts";
import { formatReference, type Reference, repositoryOf } from "./reference.ts";
import { overEndpoints } from "./rounds.ts";

/** What a reference stands for now. */
export interface Resolved extends Descriptor {
  /** The manifest or index itself, unless only its digest was asked for. */
  readonly body?: Buffer;
  /** URL of the endpoint that answered. */
  readonly endpoint: string;
}

/** What all pulls share. */
export interface RepositoryContext {
  config: RegistryConfig;
  transports: Transports;
  authorizer: Authorizer;
  docker: DockerConfig;
  penalties: Penalties;
  /** For endpoints whose scheme is not sure: their URL, and the one that worked. */
  schemes: Map<string, string>;
  log: Logger;
  /** How long a body may bring nothing; 0 = for ever. */
  progressTimeoutMs: number;
}

const manifestTimeoutMs = 30_000;

const accept = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
  "*/*",
].join(", ");

interface RepositoryRequest {
  method: "GET" | "HEAD";
  /** Below the repository: `manifests/<tag>`. */
  path: string;
  headers: Record<string, string>;
  timeoutMs: number;
  signal: AbortSignal;
}

interface Route extends AuthContext {
  chosen: ChosenCredentials;
}

/** One repository, seen by one caller with its credentials: the endpoints that may serve it, and the requests to them. */
export class Repository {
  readonly ref: Reference;
  readonly endpoints: readonly Endpoint[];
  readonly #context: RepositoryContext;
  readonly #authorities: string;
  readonly #auth: RegistryAuth | undefined;
  readonly #routes = new Map<Endpoint, Promise<Route>>();

  /** @param o.authorities PEM text of those that the machine trusts · @param o.auth the caller's credentials */
  constructor(
    context: RepositoryContext,
    ref: Reference,
    o: { endpoints: readonly Endpoint[]; authorities: string; auth: RegistryAuth | undefined },
  ) {
    this.#context = context;
    this.ref = ref;
    this.endpoints = o.endpoints;
    this.#authorities = o.authorities;
    this.#auth = o.auth;
  }

  /**
   * Asks what the reference stands for.
   *
   * @param o.digestOnly a HEAD request: enough to see that an image which is here already is still the one meant, and it does
   * not count against Docker Hub's limit
   * @throws CridError listing every endpoint: not-found, unauthenticated, permission-denied, resource-exhausted, unavailable
   */
  async resolve(o: { digestOnly?: boolean; signal: AbortSignal }): Promise<Resolved> {
    const { digest, tag } = this.ref;
    const what = `resolve ${formatReference(this.ref)}`;
    const target = digest ?? tag ?? "latest";
    return this.#over(digest === undefined ? "resolve" : "pull", what, o, async (endpoint) => {
      const head = o.digestOnly === true ? await this.#head(endpoint, target, o) : undefined;
      return head ?? this.#manifest(endpoint, target, digest, o);
    });
  }

  /** Asks one endpoint what the reference stands for, whatever its capabilities. @throws CridError, without the endpoint's name */
  async ask(endpoint: Endpoint, o: { signal: AbortSignal }): Promise<Descriptor> {
    const { digest, tag } = this.ref;
    const target = digest ?? tag ?? "latest";
    return (await this.#head(endpoint, target, o)) ?? this.#manifest(endpoint, target, digest, o);
  }

  /**
   * Fetches a manifest or index by its digest.
   * @throws data-loss when no endpoint sends what the descriptor says, and as `resolve`
   */
  async manifest(descriptor: Descriptor, o: { signal: AbortSignal }): Promise<Resolved & { body: Buffer }> {
    return this.#over("pull", `fetch manifest ${repositoryOf(this.ref)}@${descriptor.digest}`, o, async (endpoint) => {
      const found = await this.#manifest(endpoint, descriptor.digest, descriptor.digest, o);
      if (found.size !== descriptor.size) throw lie(`sent ${found.size} bytes for a manifest of ${descriptor.size}`);
      return found;
    });
  }

  /**
   * Brings a blob into the sink, from where the sink stands; see `downloadBlob`.
   */
  async download(descriptor: Descriptor, sink: BlobSink, o: { signal: AbortSignal }): Promise<DownloadResult> {
    parseDigest(descriptor.digest);
    const what = `fetch blob ${descriptor.digest} of ${repositoryOf(this.ref)}`;
    return downloadBlob(this.#able("pull", what), descriptor, sink, {
      what,
      penalties: this.#context.penalties,
      log: this.#context.log,
      signal: o.signal,
      request: (endpoint, headers, { signal }) =>
        this.request(endpoint, {
          method: "GET",
          path: `blobs/${descriptor.digest}`,
          headers,
          timeoutMs: this.#context.progressTimeoutMs,
          signal,
        }),
    });
  }

  /** One authorised request to one endpoint, below the repository's path. */
  async request(endpoint: Endpoint, o: RepositoryRequest): Promise<HttpResponse> {
    const { alternate } = endpoint;
    if (alternate === undefined) return this.#request(endpoint, o);
    const { schemes } = this.#context;
    const known = schemes.get(endpoint.url);
    if (known !== undefined) return this.#request(known === endpoint.url ? endpoint : alternate, o);
    try {
      const response = await this.#request(endpoint, o);
      if (response.status !== 400) {
        schemes.set(endpoint.url, endpoint.url);
        return response;
      }
      // What a server says that expected TLS.
      await response.body.dump();
    } catch (error) {
      o.signal.throwIfAborted();
      if (!isWrongScheme(error)) throw error;
    }
    const response = await this.#request(alternate, o);
    schemes.set(endpoint.url, alternate.url);
    return response;
  }

  async #request(endpoint: Endpoint, o: RepositoryRequest): Promise<HttpResponse> {
    const route = await this.#route(endpoint, o);
    // A rewrite rule may have made anything of the path.
    const url = new URL(`${endpoint.url}/${encodeURI(endpoint.path.toWellFormed())}/${o.path}`);
    if (endpoint.namespace !== undefined) url.searchParams.set("ns", endpoint.namespace);
    const { authorizer, transports } = this.#context;
    let authorization = await authorizer.before(route, o);
    for (let refusals = 0; ; refusals++) {
      const response = await send(
        transports,
        {
          method: o.method,
          url,
          headers: o.headers,
          hostHeaders: authorization === undefined ? endpoint.headers : { ...endpoint.headers, authorization },
          transport: route.transport,
          headersTimeoutMs: o.timeoutMs,
          bodyTimeoutMs: o.timeoutMs,
        },
        o,
      );
      // Twice: once because we did not know what it wants, once because what we kept had expired.
      const answer = response.status === 401 && refusals < 2 ? await authorizer.answer(route, response, authorization, o) : undefined;
      if (answer === undefined) return response;
      await response.body.dump({ limit: 64 * 1024 });
      authorization = answer;
    }
  }

  /** What is sent to an endpoint, for people. */
  async credentialSource(endpoint: Endpoint, o: { signal: AbortSignal }): Promise<string> {
    return (await this.#route(endpoint, o)).chosen.source;
  }

  async #head(endpoint: Endpoint, target: string, o: { signal: AbortSignal }): Promise<Resolved | undefined> {
    const response = await this.request(endpoint, {
      method: "HEAD",
      path: `manifests/${target}`,
      headers: { accept },
      timeoutMs: manifestTimeoutMs,
      signal: o.signal,
    });
    await response.body.dump();
    const digest = response.headers["docker-content-digest"];
    const size = Number(response.headers["content-length"]);
    // Anything but a full answer: a GET says more.
    if (response.status !== 200 || typeof digest !== "string" || !Number.isSafeInteger(size)) return undefined;
    try {
      parseDigest(digest);
    } catch {
      return undefined;
    }
    if (this.ref.digest !== undefined && this.ref.digest !== digest) throw lie(`answered with manifest ${digest}`);
    return { mediaType: mediaTypeOf(response), digest, size, endpoint: endpoint.url };
  }

  async #manifest(
    endpoint: Endpoint,
    target: string,
    digest: string | undefined,
    o: { signal: AbortSignal },
  ): Promise<Resolved & { body: Buffer }> {
    const response = await this.request(endpoint, {
      method: "GET",
      path: `manifests/${target}`,
      headers: { accept },
      timeoutMs: manifestTimeoutMs,
      signal: o.signal,
    });
    if (response.status !== 200) throw await this.#failure(endpoint, response, o);
    const body = await readBody(response, this.#context.config.maxManifestSize ?? defaultMaxManifestBytes, "the manifest");
    const actual = digestOf(body, digest === undefined ? "sha256" : parseDigest(digest).algorithm);
    if (digest !== undefined && actual !== digest) throw lie(`sent a manifest with digest ${actual} instead of ${digest}`);
    const said = response.headers["docker-content-digest"];
    if (digest === undefined && typeof said === "string" && said.startsWith("sha256:") && said !== actual) {
      throw lie(`sent a manifest with digest ${actual} and said it was ${said}`);
    }
    return { mediaType: mediaTypeOf(response), digest: actual, size: body.length, body, endpoint: endpoint.url };
  }

  /** The failure of an answer, which on a refusal says as whom we asked. */
  async #failure(endpoint: Endpoint, response: HttpResponse, o: { signal: AbortSignal }): Promise<Error> {
    const refused = response.status === 401 || response.status === 403;
    const source = refused ? await this.credentialSource(endpoint, o) : "";
    return statusFailure(response, refused ? (source === "none" ? "no credentials sent" : `credentials from ${source}`) : "");
  }

  async #over<T>(
    capability: "pull" | "resolve",
    what: string,
    o: { signal: AbortSignal },
    call: (endpoint: Endpoint) => Promise<T>,
  ): Promise<T> {
    const { penalties, log } = this.#context;
    return overEndpoints(this.#able(capability, what), call, { what, penalties, log, signal: o.signal });
  }

  #able(capability: "pull" | "resolve", what: string): Endpoint[] {
    const able = this.endpoints.filter(({ capabilities }) => capabilities.has(capability));
    if (able.length > 0) return able;
    const sources = this.endpoints.map(({ url, source }) => `${url} (${source})`).join(", ");
    throw new CridError("failed-precondition", `${what}: no endpoint has the capability "${capability}": ${sources}`);
  }

  #route(endpoint: Endpoint, o: { signal: AbortSignal }): Promise<Route> {
    const known = this.#routes.get(endpoint);
    if (known !== undefined) return known;
    const made = this.#makeRoute(endpoint, o);
    this.#routes.set(endpoint, made);
    // An unreadable file or a failed helper may be mended by the next round.
    made.catch(() => this.#routes.delete(endpoint));
    return made;
  }

  async #makeRoute(endpoint: Endpoint, o: { signal: AbortSignal }): Promise<Route> {
    const { config, docker } = this.#context;
    const [transport, chosen] = await Promise.all([
      loadTransport(endpoint.tls, { authorities: this.#authorities, dialTimeoutMs: endpoint.dialTimeoutMs }),
      chooseCredentials(config, endpoint, { domain: this.ref.domain, auth: this.#auth, docker }, o),
    ]);
    return { endpoint, transport, credentials: chosen.credentials, chosen };
  }
}

function mediaTypeOf(response: HttpResponse): string {
  const type = response.headers["content-type"];
  return (typeof type === "string" ? type : "").split(";", 1)[0]?.trim() ?? "";
}
