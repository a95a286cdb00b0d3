import { createHash } from "node:crypto";
import { type LookupAddress, type LookupOptions, lookup } from "node:dns";
import { readFile } from "node:fs/promises";
import { createSecureContext, type SecureContext } from "node:tls";
import type { Dispatcher } from "undici";
import { CridError, messageOf } from "../../base/errors.ts";
import type { TlsFiles } from "../endpoints/endpoint.ts";
import { isLinkLocal, isLoopback } from "./addresses.ts";
import type { ProxyChoice } from "./proxy.ts";

/** TLS material read from its files, and how to connect. */
export interface Transport {
  /** PEM texts; empty = those built into Node. */
  readonly ca: readonly string[];
  readonly client: readonly { readonly cert: string; readonly key: string }[];
  readonly skipVerify: boolean;
  readonly dialTimeoutMs: number;
  /**
   * For a host that an answer named (a redirect, a token service) instead of the operator: refuses link-local addresses, and
   * loopback ones unless `loopback`, whatever its name resolves to.
   */
  readonly foreign?: { readonly loopback: boolean };
}

/**
 * Reads the PEM files.
 * @param o.authorities PEM text of those that the machine trusts; "" = those built into Node
 * @throws failed-precondition naming the file that cannot be used
 */
export async function loadTransport(tls: TlsFiles, o: { authorities: string; dialTimeoutMs: number }): Promise<Transport> {
  const ca = [o.authorities, ...(await Promise.all(tls.ca.map((file) => readPem(file, "certificate authority"))))];
  const client = await Promise.all(
    tls.client.map(async ({ cert, key }) => {
      const certificate = await readPem(cert, "client certificate");
      return { cert: certificate, key: key === undefined ? certificate : await readPem(key, "client key") };
    }),
  );
  return { ca: ca.filter((text) => text !== ""), client, skipVerify: tls.skipVerify, dialTimeoutMs: o.dialTimeoutMs };
}

/** The transport for a host that an answer named: the same authorities, but not our client certificate. */
export function foreignTransport(transport: Transport, options: { loopback: boolean }): Transport {
  return { ...transport, client: [], foreign: options };
}

/** Keeps one connection pool for each distinct transport and proxy. */
export class Transports implements AsyncDisposable {
  readonly #pools = new Map<string, Dispatcher>();
  readonly #proxy: ProxyChoice;
  /** What `#keyOf` said of a transport: hashing the authorities, a quarter of a megabyte, costs more than a request. */
  readonly #keys = new WeakMap<Transport, string>();
  /** Of the authorities that were hashed last: as a rule every transport has the machine's. */
  #authorities: { ca: string; digest: string } | undefined;

  constructor(options: { proxy: ProxyChoice }) {
    this.#proxy = options.proxy;
  }

  /** The proxy that a URL goes through, for people. */
  proxyFor(url: URL): string | undefined {
    const proxy = this.#proxy(url);
    return proxy === undefined ? undefined : redactUrl(proxy);
  }

  async dispatcher(transport: Transport, url: URL): Promise<Dispatcher> {
    const { Agent, ProxyAgent } = await import("./undici.ts");
    const proxy = this.#proxy(url);
    const secure = url.protocol === "https:";
    const key = `${secure} ${proxy ?? ""} ${this.#keyOf(transport)}`;
    const existing = this.#pools.get(key);
    if (existing !== undefined) return existing;
    const tls = secure ? tlsOptions(transport) : {};
    const pool = proxy === undefined ? directPool(Agent, transport, tls) : proxyPool(ProxyAgent, transport, tls, proxy);
    this.#pools.set(key, pool);
    return pool;
  }

  #keyOf(transport: Transport): string {
    const known = this.#keys.get(transport);
    if (known !== undefined) return known;
    const ca = transport.ca.map((text) => {
      if (this.#authorities?.ca !== text) this.#authorities = { ca: text, digest: createHash("sha256").update(text).digest("base64") };
      return this.#authorities.digest;
    });
    const key = createHash("sha256")
      .update(JSON.stringify({ ...transport, ca }))
      .digest("base64");
    this.#keys.set(transport, key);
    return key;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(pools.map((pool) => pool.destroy()));
  }
}

type Undici = typeof import("./undici.ts");
type TlsOptions = ReturnType<typeof tlsOptions> | Record<never, never>;

function directPool(Agent: Undici["Agent"], transport: Transport, tls: TlsOptions): Dispatcher {
  const { foreign } = transport;
  return new Agent({
    allowH2: false,
    connect: {
      ...tls,
      timeout: transport.dialTimeoutMs,
      ...(foreign === undefined ? {} : { lookup: guardedLookup(foreign) }),
    },
  });
}

function proxyPool(ProxyAgent: Undici["ProxyAgent"], transport: Transport, tls: TlsOptions, proxy: string): Dispatcher {
  const { username, password } = new URL(proxy);
  const auth = username === "" ? {} : { token: basic(decodeURIComponent(username), decodeURIComponent(password)) };
  return new ProxyAgent({
    uri: proxy,
    allowH2: false,
    connectTimeout: transport.dialTimeoutMs,
    requestTls: tls,
    ...auth,
  });
}

/** Made once for a pool: parsing the authorities takes 14 ms, and without this it would be done for every connection. */
function tlsOptions({ ca, client, skipVerify }: Transport): { secureContext: SecureContext; rejectUnauthorized: boolean } {
  const secureContext = createSecureContext({
    ...(ca.length === 0 ? {} : { ca: [...ca] }),
    ...(client.length === 0 ? {} : { cert: client.map(({ cert }) => cert), key: client.map(({ key }) => key) }),
  });
  return { rejectUnauthorized: !skipVerify, secureContext };
}

type LookupCallback = (error: Error | null, address: string | LookupAddress[], family?: number) => void;

function guardedLookup(allowed: { loopback: boolean }): (hostname: string, options: LookupOptions, callback: LookupCallback) => void {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, []);
      const bad = addresses.find(({ address }) => isLinkLocal(address) || (!allowed.loopback && isLoopback(address)));
      if (bad !== undefined)
        return callback(new CridError("permission-denied", `${hostname} is ${bad.address}, which a registry must not send us to`), []);
      const first = addresses[0];
      if (options.all === true || first === undefined) return callback(null, addresses);
      return callback(null, first.address, first.family);
    });
  };
}

/** The value of an Authorization or Proxy-Authorization header. */
export function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

/** The URL without user name, password and query (which may hold a signature). */
export function redactUrl(url: string | URL): string {
  const parsed = new URL(url);
  parsed.username = "";
  parsed.password = "";
  parsed.search = "";
  return parsed.href;
}

async function readPem(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new CridError("failed-precondition", `read the ${what} ${file}: ${messageOf(error)}`, { cause: error });
  }
}
