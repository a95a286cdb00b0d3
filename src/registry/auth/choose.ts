import type { Endpoint } from "../endpoints/endpoint.ts";
import { isOwnHost } from "../endpoints/resolve.ts";
import type { CredentialConfig, RegistryAuth, RegistryConfig } from "../options.ts";
import { type ChosenCredentials, parseCredentials } from "./credentials.ts";
import type { DockerConfig } from "./docker-config.ts";

/**
 * Chooses the credentials for an endpoint, the first of:
 * 1. those the configuration gives this mirror;
 * 2. those of the CRI call, for the image's own registry and for mirrors that say `useImageCredentials`;
 * 3. `registry.auths` for the endpoint's host;
 * 4. docker's config.json for the endpoint's host;
 * 5. none.
 * containerd sends the call's credentials to every mirror, whoever runs it.
 */
export async function chooseCredentials(
  config: RegistryConfig,
  endpoint: Endpoint,
  at: { domain: string; auth: RegistryAuth | undefined; docker: DockerConfig },
  o: { signal: AbortSignal },
): Promise<ChosenCredentials> {
  if (endpoint.credentials !== undefined) return chosen(endpoint.credentials, endpoint.source);
  const fromCall = at.auth === undefined ? undefined : parseCredentials(at.auth, "the pull request");
  if (
    fromCall !== undefined &&
    (endpoint.role === "upstream" || endpoint.useImageCredentials) &&
    isMeantFor(at.auth, at.domain, endpoint)
  ) {
    return { credentials: fromCall, source: "the pull request" };
  }
  const names = hostAliases(at.domain, endpoint);
  const name = names.find((host) => Object.hasOwn(config.auths ?? {}, host));
  const configured = name === undefined ? undefined : config.auths?.[name];
  if (configured !== undefined) return chosen(configured, `registry.auths."${name}"`);
  return (await at.docker.find(names, o)) ?? { source: "none" };
}

function chosen(config: CredentialConfig, source: string): ChosenCredentials {
  const credentials = parseCredentials(config, source);
  return credentials === undefined ? { source: "none" } : { credentials, source };
}

/** Whether the server that the call's credentials name, if any, is this registry. */
function isMeantFor(auth: RegistryAuth | undefined, domain: string, endpoint: Endpoint): boolean {
  const server = auth?.serverAddress ?? "";
  if (server === "") return true;
  const host = URL.parse(/^https?:\/\//.test(server) ? server : `https://${server}`)?.host ?? server;
  return host === endpoint.host || isOwnHost(domain, host);
}

/** The names under which credentials for an endpoint may be filed. */
function hostAliases(domain: string, endpoint: Endpoint): string[] {
  const own = isOwnHost(domain, endpoint.host) ? [domain] : [];
  const hub = isOwnHost("docker.io", endpoint.host) ? ["docker.io", "https://index.docker.io/v1/", "index.docker.io"] : [];
  return [...new Set([...own, endpoint.host, ...hub])];
}
