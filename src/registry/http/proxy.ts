import { BlockList, isIP } from "node:net";
import { isLoopback } from "./addresses.ts";

/** The environment variables that name proxies, as Go programs (containerd, the kubelet) read them. */
export interface ProxyEnv {
  readonly HTTP_PROXY?: string | undefined;
  readonly HTTPS_PROXY?: string | undefined;
  readonly NO_PROXY?: string | undefined;
  readonly http_proxy?: string | undefined;
  readonly https_proxy?: string | undefined;
  readonly no_proxy?: string | undefined;
}

/** The proxy for a URL, or undefined to connect directly. */
export type ProxyChoice = (url: URL) => string | undefined;

/**
 * The rules of Go's golang.org/x/net/http/httpproxy: upper case variables first; `localhost` and loopback addresses are never
 * proxied; NO_PROXY lists names (with their subdomains), `.suffix`, `*.suffix`, addresses and CIDR ranges, each with an
 * optional port, or `*`.
 */
export function proxyFromEnv(env: ProxyEnv): ProxyChoice {
  const http = withScheme(env.HTTP_PROXY ?? env.http_proxy ?? "");
  const https = withScheme(env.HTTPS_PROXY ?? env.https_proxy ?? "");
  const bypass = noProxyRules(env.NO_PROXY ?? env.no_proxy ?? "");
  return (url) => {
    const proxy = url.protocol === "https:" ? https : http;
    const hostname = url.hostname.replace(/^\[(.*)\]$/, "$1").toLowerCase();
    if (proxy === undefined || isLoopback(hostname)) return undefined;
    const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port;
    return bypass(hostname, port) ? undefined : proxy;
  };
}

function withScheme(proxy: string): string | undefined {
  if (proxy.trim() === "") return undefined;
  return /^[a-z0-9]+:\/\//i.test(proxy) ? proxy : `http://${proxy}`;
}

function noProxyRules(text: string): (hostname: string, port: string) => boolean {
  const rules = text
    .split(",")
    .map((item) => item.trim().toLowerCase())
    .filter((item) => item !== "")
    .map(toRule);
  return (hostname, port) => rules.some((rule) => rule(hostname, port));
}

function toRule(item: string): (hostname: string, port: string) => boolean {
  if (item === "*") return () => true;
  const range = cidrRule(item);
  if (range !== undefined) return range;
  const [, host = item, port] = /^(\[[^\]]*\]|[^:]*|.*:.*:.*?)(?::(\d+))?$/.exec(item) ?? [];
  const name = host.replace(/^\[(.*)\]$/, "$1");
  const portFits = (actual: string): boolean => port === undefined || port === actual;
  if (isIP(name) !== 0) return (hostname, actual) => hostname === name && portFits(actual);
  const suffix = name.replace(/^\*?\./, "");
  const subdomainsOnly = suffix !== name;
  return (hostname, actual) => portFits(actual) && ((!subdomainsOnly && hostname === suffix) || hostname.endsWith(`.${suffix}`));
}

function cidrRule(item: string): ((hostname: string) => boolean) | undefined {
  const [, network, bits] = /^([0-9a-f.:]+)\/(\d{1,3})$/.exec(item) ?? [];
  const family = isIP(network ?? "");
  if (network === undefined || bits === undefined || family === 0 || Number(bits) > (family === 4 ? 32 : 128)) return undefined;
  const list = new BlockList();
  list.addSubnet(network, Number(bits), family === 4 ? "ipv4" : "ipv6");
  return (hostname) => isIP(hostname) === family && list.check(hostname, family === 4 ? "ipv4" : "ipv6");
}
