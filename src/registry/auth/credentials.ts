import { createHash } from "node:crypto";
import { CridError } from "../../base/errors.ts";
import type { Endpoint } from "../endpoints/endpoint.ts";
import { isOwnHost } from "../endpoints/resolve.ts";
import type { CredentialConfig, RegistryAuth, RegistryConfig } from "../options.ts";
import type { DockerConfig } from "./docker-config.ts";

/** Who we are to a registry. */
export type Credentials =
  | { type: "password"; username: string; password: string }
  /** An OAuth2 refresh token, for the token service. */
  | { type: "identity"; token: string }
  /** A bearer token that is sent as it is. */
  | { type: "bearer"; token: string };

export interface ChosenCredentials {
  credentials?: Credentials;
  /** Where they come from, for people; never the secret. */
  source: string;
}

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

/**
 * Reads credentials as the kubelet and docker write them. All fields empty is no credentials.
 * @throws invalid-argument when `auth` is not base64 of `user:password`
 */
export function parseCredentials(config: CredentialConfig, where: string): Credentials | undefined {
  const { username = "", password = "", auth = "", identityToken = "", registryToken = "" } = config;
  if (registryToken !== "") return { type: "bearer", token: registryToken };
  if (identityToken !== "") return { type: "identity", token: identityToken };
  // docker stores an identity token under this user name when a credential helper keeps it.
  if (username === "<token>" && password !== "") return { type: "identity", token: password };
  if (username !== "") return { type: "password", username, password };
  if (auth === "") return undefined;
  const decoded = Buffer.from(auth, "base64").toString("utf8");
  const colon = decoded.indexOf(":");
  if (colon < 0) throw new CridError("invalid-argument", `registry credentials of ${where}: "auth" is not base64 of user:password`);
  return { type: "password", username: decoded.slice(0, colon), password: decoded.slice(colon + 1).replace(/\0+$/, "") };
}

/** A key that differs for different credentials and tells nothing about them. */
export function fingerprint(credentials: Credentials | undefined): string {
  return credentials === undefined ? "" : createHash("sha256").update(JSON.stringify(credentials)).digest("base64");
}

/** As `fingerprint`, for what a CRI call brings. */
export function authKey(auth: RegistryAuth | undefined): string {
  const filled = Object.entries(auth ?? {}).filter(([, value]) => value !== undefined && value !== "");
  return filled.length === 0 ? "" : createHash("sha256").update(JSON.stringify(filled)).digest("base64");
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
