import { messageOf } from "../base/errors.ts";
import type { Endpoint } from "./endpoints/endpoint.ts";
import type { Penalties } from "./endpoints/penalties.ts";
import { failureOf } from "./failure.ts";
import type { Transports } from "./http/transport.ts";
import { formatReference } from "./reference.ts";
import type { Repository } from "./repository.ts";

/** How a pull of a reference would go about it, for `crid registry explain`. */
export interface Explanation {
  /** In full. */
  reference: string;
  /** In the order of the configuration. */
  endpoints: ExplainedEndpoint[];
}

export interface ExplainedEndpoint {
  url: string;
  role: Endpoint["role"];
  /** File and line, key of the configuration, or "default". */
  source: string;
  capabilities: string[];
  /** Repository path there. */
  path: string;
  /** What `?ns=` says; "" = not sent. */
  namespace: string;
  /** Where the credentials come from, or "none"; an error text when they cannot be had. */
  credentials: string;
  /** URL of the proxy; "" = none. */
  proxy: string;
  /** Files of authorities and client certificates, and whether the certificate is checked; "" for http. */
  tls: string;
  /** Failed of late: tried after the others for this long. */
  penaltyMs: number;
  answer: ProbeAnswer;
}

export type ProbeAnswer = { ok: true; digest: string; mediaType: string; ms: number } | { ok: false; detail: string; ms: number };

/** Asks every endpoint, all at once, what it would answer. Nothing is remembered of it. */
export async function explain(
  repository: Repository,
  context: { transports: Transports; penalties: Penalties },
  o: { signal: AbortSignal },
): Promise<Explanation> {
  const endpoints = await Promise.all(repository.endpoints.map((endpoint) => explainEndpoint(repository, endpoint, context, o)));
  return { reference: formatReference(repository.ref), endpoints };
}

async function explainEndpoint(
  repository: Repository,
  endpoint: Endpoint,
  { transports, penalties }: { transports: Transports; penalties: Penalties },
  o: { signal: AbortSignal },
): Promise<ExplainedEndpoint> {
  const [credentials, answer] = await Promise.all([credentialsOf(repository, endpoint, o), probe(repository, endpoint, o)]);
  return {
    url: endpoint.url,
    role: endpoint.role,
    source: endpoint.source,
    capabilities: [...endpoint.capabilities],
    path: endpoint.path,
    namespace: endpoint.namespace ?? "",
    credentials,
    proxy: transports.proxyFor(new URL(endpoint.url)) ?? "",
    tls: describeTls(endpoint),
    penaltyMs: penalties.remaining(endpoint.url),
    answer,
  };
}

async function credentialsOf(repository: Repository, endpoint: Endpoint, o: { signal: AbortSignal }): Promise<string> {
  try {
    return await repository.credentialSource(endpoint, o);
  } catch (error) {
    o.signal.throwIfAborted();
    return messageOf(error);
  }
}

async function probe(repository: Repository, endpoint: Endpoint, o: { signal: AbortSignal }): Promise<ProbeAnswer> {
  const started = performance.now();
  const ms = (): number => Math.round(performance.now() - started);
  try {
    const { digest, mediaType } = await repository.ask(endpoint, o);
    return { ok: true, digest, mediaType, ms: ms() };
  } catch (error) {
    o.signal.throwIfAborted();
    return { ok: false, detail: failureOf(error).detail, ms: ms() };
  }
}

function describeTls({ url, tls }: Endpoint): string {
  if (url.startsWith("http:")) return "";
  const parts = [
    tls.skipVerify ? "certificate not checked" : "",
    ...tls.ca.map((file) => `ca ${file}`),
    ...tls.client.map(({ cert }) => `client certificate ${cert}`),
  ];
  return parts.filter((part) => part !== "").join(", ") || "the machine's authorities";
}
