import { CridError } from "../../base/errors.ts";
import { hostnameOf, isLoopback, portOf } from "../http/addresses.ts";
import { defaultDialTimeoutMs, type EndpointConfig, type MirrorConfig, type RegistryConfig } from "../options.ts";
import type { Reference } from "../reference.ts";
import { type Endpoint, noTlsFiles } from "./endpoint.ts";
import { hostFolderNames, readHostFolder } from "./hosts-dir.ts";
import { type HostEntry, parseServerUrl } from "./hosts-toml.ts";
import { type Rewrite, rewriteOf } from "./rewrite.ts";

const dockerHub = "docker.io";
const dockerHubServer = "registry-1.docker.io";

/**
 * Where a repository may be pulled from, in the order in which to try:
 * 1. the mirrors of the configuration for this registry, else those for `*`;
 * 2. unless these say `fallback: false`: the hosts of hosts.toml for this registry, else of `_default`, each with its `server` last;
 * 3. the registry itself, unless hosts.toml names a server for it.
 *
 * @throws failed-precondition when a hosts.toml cannot be used, or the configuration leaves no endpoint; invalid-argument for a host that is none
 */
export async function resolveEndpoints(config: RegistryConfig, ref: Reference): Promise<Endpoint[]> {
  const { domain } = ref;
  const key = Object.hasOwn(config.mirrors, domain) ? domain : "*";
  const mirror = Object.hasOwn(config.mirrors, key) ? config.mirrors[key] : undefined;
  const endpoints = mirror === undefined ? [] : fromConfig(mirror, key, ref);
  if (mirror?.fallback !== false) endpoints.push(...(await fromFolders(config, ref)));
  const seen = new Set<string>();
  const unique = endpoints.filter(({ url, path }) => !seen.has(`${url}/${path}`) && seen.add(`${url}/${path}`));
  if (unique.length === 0) {
    throw new CridError("failed-precondition", `registry ${domain}: registry.mirrors."${key}" has no endpoints and fallback is false`);
  }
  return unique;
}

function fromConfig(mirror: MirrorConfig, key: string, ref: Reference): Endpoint[] {
  const rewrite = rewriteOf(mirror.rewrite);
  return mirror.endpoints.map((item, index) => {
    const source = `registry.mirrors."${key}".endpoints[${index}]`;
    const settings: EndpointConfig = typeof item === "string" ? { url: item } : item;
    return toEndpoint(settings, source, ref, settings.rewrite === undefined ? rewrite : rewriteOf(settings.rewrite));
  });
}

function toEndpoint(settings: EndpointConfig, source: string, ref: Reference, rewrite: Rewrite): Endpoint {
  let server: ReturnType<typeof parseServerUrl>;
  try {
    server = parseServerUrl(settings.url, settings.overridePath ?? false);
  } catch (error) {
    throw new CridError("failed-precondition", `${source}: ${JSON.stringify(settings.url)} is not an http or https URL`, { cause: error });
  }
  const role = isOwnHost(ref.domain, server.host) ? "upstream" : "mirror";
  return {
    url: `${server.scheme}://${server.host}${server.path}`,
    host: server.host,
    role,
    capabilities: new Set(["pull", "resolve"]),
    ...namespaceFor(ref.domain, server.host),
    path: role === "mirror" ? rewrite(ref.path) : ref.path,
    headers: settings.headers ?? {},
    tls: {
      ca: settings.ca ?? [],
      client: (settings.client ?? []).map(({ cert, key }) => (key === undefined ? { cert } : { cert, key })),
      skipVerify: settings.skipVerify ?? false,
    },
    dialTimeoutMs: settings.dialTimeout ?? defaultDialTimeoutMs,
    ...(settings.auth === undefined ? {} : { credentials: settings.auth }),
    useImageCredentials: settings.useImageCredentials ?? false,
    source,
  };
}

async function fromFolders(config: RegistryConfig, ref: Reference): Promise<Endpoint[]> {
  const own = await readHostFolder(config.configPath, hostFolderNames(ref.domain));
  const found = own ?? (await readHostFolder(config.configPath, ["_default"]));
  if (found === undefined) return [defaultServer(ref, undefined, "default")];
  return found.entries.map((entry, index) => {
    const source = entry.line === undefined ? found.file : `${found.file}:${entry.line}`;
    if (entry.server === undefined) return defaultServer(ref, entry, source);
    // The root entry of the registry's own file says who that registry is. In `_default` it is one server for everything.
    const isServer = own !== undefined && index === found.entries.length - 1;
    return fromEntry(entry, entry.server, {
      ref,
      source,
      role: isServer || isOwnHost(ref.domain, entry.server.host) ? "upstream" : "mirror",
    });
  });
}

function fromEntry(
  entry: HostEntry,
  server: { scheme: "http" | "https"; host: string; path: string },
  at: { ref: Reference; source: string; role: Endpoint["role"] },
): Endpoint {
  const { scheme, host, path } = server;
  const endpoint = (used: "http" | "https"): Endpoint => ({
    url: `${used}://${host}${path}`,
    host,
    role: at.role,
    capabilities: entry.capabilities,
    ...namespaceFor(at.ref.domain, host),
    path: at.ref.path,
    headers: entry.headers,
    tls: entry.tls,
    dialTimeoutMs: entry.dialTimeoutMs ?? defaultDialTimeoutMs,
    useImageCredentials: false,
    source: at.source,
  });
  // As containerd: http with TLS settings on a port that is not http's own may turn out to be https.
  if (scheme === "http" && entry.explicitTls && portOf(host) !== "80" && portOf(host) !== "")
    return { ...endpoint("https"), alternate: endpoint("http") };
  return endpoint(scheme);
}

/** The registry that the image names. Plain http only on loopback, where the certificate is not looked at either (as containerd). */
function defaultServer(ref: Reference, settings: HostEntry | undefined, source: string): Endpoint {
  const host = ref.domain === dockerHub ? dockerHubServer : ref.domain;
  // The grammar of references has ports beyond 65535, and brackets around anything that looks like hexadecimal.
  if (URL.parse(`https://${host}/`) === null)
    throw new CridError("invalid-argument", `${JSON.stringify(host)} is no host that can be asked`);
  const base: HostEntry = settings ?? { capabilities: new Set(["pull", "resolve"]), tls: noTlsFiles, explicitTls: false, headers: {} };
  const at = { ref, source, role: "upstream" } as const;
  const server = (scheme: "http" | "https"): Parameters<typeof fromEntry>[1] => ({ scheme, host, path: "/v2" });
  if (!isLoopback(hostnameOf(host))) return fromEntry(base, server("https"), at);
  const lenient: HostEntry = base.explicitTls ? base : { ...base, tls: { ...base.tls, skipVerify: true } };
  const port = portOf(host);
  const secure = fromEntry({ ...lenient, explicitTls: false }, server("https"), at);
  const plain = fromEntry({ ...lenient, explicitTls: false }, server("http"), at);
  if (port === "" || port === "443") return secure;
  if (port === "80") return plain;
  return base.explicitTls ? { ...secure, alternate: plain } : { ...plain, alternate: secure };
}

/** Whether the host is the registry that images of this domain belong to. */
export function isOwnHost(domain: string, host: string): boolean {
  if (domain === dockerHub) return host === dockerHubServer || host === dockerHub || host === "index.docker.io";
  return host.toLowerCase() === domain.toLowerCase();
}

function namespaceFor(domain: string, host: string): { namespace?: string } {
  return host === domain || (domain === dockerHub && host === dockerHubServer) ? {} : { namespace: domain };
}
