import { createServer, type IncomingMessage, type Server } from "node:http";
import { createServer as createSecureServer, type Server as SecureServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import { type WebSocket, WebSocketServer } from "ws";
import { DirectSocket } from "../base/direct-socket.ts";
import { CridError, messageOf } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { dupFd } from "../linux/files.ts";
import { AbandonedSockets, descriptor } from "./abandoned.ts";
import { dialPod } from "./port-forward/dial-pod.ts";
import type { PortForwardRequest } from "./port-forward/forward.ts";
import type { AttachRequest, Execer, ExecRequest } from "./remote-command/serve.ts";
import { Sessions, spdyProtocols, webSocketProtocols } from "./sessions.ts";
import { DirectTransport, StreamTransport } from "./spdy/transport.ts";
import { type TlsPaths, watchTlsFiles } from "./tls-files.ts";
import { Tokens } from "./tokens.ts";
import { acceptSpdy, notFound, type Refusal, refuse, spdyHandshake, upgradeKind, webSocketHandshake } from "./upgrade.ts";
import { DirectDuplex } from "./websocket/direct-duplex.ts";

export type StreamRequest = ExecRequest | AttachRequest | PortForwardRequest;

/** What the streams lead to. */
export interface StreamTargets extends Execer {
  /** The path of a pod's network namespace; "" = the host's. @throws CridError when there is no such pod, or it was stopped */
  podNetns(sandboxId: string): string;
}

const PATHS = { exec: "exec", attach: "attach", "port-forward": "portforward" } as const;

/** A request line and headers must come within this time, and whole. */
const REQUEST_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 10_000;
/** A dead client is found even if nothing is sent. */
const KEEP_ALIVE_MS = 30_000;
/** A client has this long to answer the closing of a WebSocket. */
const CLOSE_TIMEOUT_MS = 5_000;
/** Clients send messages of some 32 KiB. */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

/**
 * The HTTP server behind the URLs of Exec, Attach and PortForward. It gives out URLs with a token and serves each once, over SPDY/3.1 or
 * WebSocket, whatever the client speaks.
 */
export class StreamingServer {
  readonly #address: string;
  readonly #port: number;
  readonly #idleTimeoutMs: number;
  readonly #tls: TlsPaths | undefined;
  readonly #tlsCheckMs: number | undefined;
  readonly #maxConnections: number;
  readonly #log: Logger;
  readonly #tokens = new Tokens<StreamRequest>();
  readonly #sessions: Sessions;
  readonly #webSockets: WebSocketServer;
  readonly #chosen = new WeakMap<IncomingMessage, string>();
  readonly #sockets = new Set<Duplex>();
  readonly #abandoned: AbandonedSockets;
  #server: Server | SecureServer | undefined;
  #tlsFiles: Disposable | undefined;
  #url = "";

  constructor(options: {
    address: string;
    /** 0 = any free one. */
    port: number;
    idleTimeoutMs: number;
    /** Absent: plain http. Without files: a certificate of its own. */
    tls?: TlsPaths | undefined;
    /** How often the files are looked at; for tests. */
    tlsCheckMs?: number;
    /** For tests. */
    maxConnections?: number;
    targets: StreamTargets;
    log: Logger;
  }) {
    this.#address = options.address;
    this.#port = options.port;
    this.#idleTimeoutMs = options.idleTimeoutMs;
    this.#tls = options.tls;
    this.#tlsCheckMs = options.tlsCheckMs;
    this.#maxConnections = options.maxConnections ?? MAX_CONNECTIONS;
    this.#log = options.log;
    const { targets } = options;
    this.#sessions = new Sessions({
      execer: targets,
      dial: (sandboxId, port, { signal }) => dialPod({ sandboxId, netnsPath: targets.podNetns(sandboxId), port, signal }),
      log: options.log,
    });
    this.#abandoned = new AbandonedSockets();
    this.#webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE_BYTES,
      // Known to ws since 8.19, not to its types.
      ...{ closeTimeout: CLOSE_TIMEOUT_MS },
    });
    this.#webSockets.on("headers", (headers, request) => {
      const protocol = this.#chosen.get(request) ?? "";
      if (protocol !== "") headers.push(`Sec-WebSocket-Protocol: ${protocol}`);
    });
  }

  /** @throws CridError when the address cannot be listened on, or the certificate not be read */
  async listen(): Promise<void> {
    const settings = {
      headersTimeout: REQUEST_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    };
    const server = this.#tls === undefined ? createServer(settings) : await this.#secureServer(this.#tls, settings);
    server.maxConnections = this.#maxConnections;
    server.on("request", (request, response) => {
      const refusal = this.#claim(request) === undefined ? notFound : noUpgrade;
      response.writeHead(refusal.status, { "Content-Type": "text/plain; charset=utf-8", Connection: "close" }).end(refusal.body);
    });
    server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => this.#upgrade(request, socket as Socket, head));
    server.on("clientError", (_error, socket) => socket.destroy());
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
    server.listen({ host: this.#address, port: this.#port }, resolve);
    try {
      await promise;
    } catch (error) {
      this.#tlsFiles?.[Symbol.dispose]();
      throw CridError.from(error, `streaming: listen on ${this.#address} port ${this.#port}`);
    }
    server.off("error", reject);
    server.on("error", (error) => this.#log.error({ err: error }, "streaming server"));
    this.#server = server;
    this.#url = baseUrl(this.#tls === undefined ? "http" : "https", this.#address, (server.address() as AddressInfo).port);
  }

  /** Cuts every stream; commands without a terminal run on. */
  async close(): Promise<void> {
    this.#tlsFiles?.[Symbol.dispose]();
    this.#abandoned[Symbol.dispose]();
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    server.close(() => resolve());
    server.closeAllConnections();
    for (const socket of this.#sockets) socket.destroy();
    await promise;
  }

  /** "http://127.0.0.1:41231": absolute, since a relative one makes the kubelet assume https. */
  get url(): string {
    return this.#url;
  }

  /** A URL for one exec. */
  exec(request: Omit<ExecRequest, "kind">): string {
    return this.#issue({ kind: "exec", ...request });
  }

  /** A URL for one attach. */
  attach(request: Omit<AttachRequest, "kind">): string {
    return this.#issue({ kind: "attach", ...request });
  }

  /** A URL for one client's port-forward; it may open any number of connections. */
  portForward(request: Omit<PortForwardRequest, "kind">): string {
    return this.#issue({ kind: "port-forward", ...request });
  }

  #issue(request: StreamRequest): string {
    if (this.#server === undefined) throw new CridError("unavailable", "streaming: the server does not listen");
    return `${this.#url}/${PATHS[request.kind]}/${this.#tokens.issue(request)}`;
  }

  /** The request that the URL's token stands for; the token is used up. */
  #claim(request: IncomingMessage): StreamRequest | undefined {
    if (request.method !== "GET" && request.method !== "POST") return undefined;
    const [, path, token] = /^\/(exec|attach|portforward)\/([\w-]{1,64})(?:\?.*)?$/.exec(request.url ?? "") ?? [];
    const claimed = token === undefined ? undefined : this.#tokens.take(token);
    return claimed !== undefined && PATHS[claimed.kind] === path ? claimed : undefined;
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    socket.on("error", () => {});
    const claimed = this.#claim(request);
    if (claimed === undefined) return refuse(socket, notFound);
    const kind = upgradeKind(request);
    if (kind === undefined) return refuse(socket, noUpgrade);
    const protocol =
      kind === "spdy" ? spdyHandshake(request, spdyProtocols(claimed)) : webSocketHandshake(request, webSocketProtocols(claimed));
    if (typeof protocol !== "string") return refuse(socket, protocol);
    // The HTTP server no longer counts those that were taken from it.
    if (this.#sockets.size >= this.#maxConnections) return refuse(socket, tooMany);
    const direct = this.#take(socket);
    if (kind === "spdy") {
      if (direct === undefined && head.length > 0) socket.unshift(head);
      const transport = direct === undefined ? new StreamTransport(socket) : new DirectTransport(direct, head);
      acceptSpdy(transport.stream, protocol);
      this.#run(claimed, this.#sessions.overSpdy(claimed, protocol, transport));
      return;
    }
    // ws refuses names with a slash, as the RFC does, but the tunnel's name has one: it is kept from ws, and answered by ourselves.
    delete request.headers["sec-websocket-protocol"];
    this.#chosen.set(request, protocol);
    const duplex = direct === undefined ? undefined : new DirectDuplex(direct);
    this.#webSockets.handleUpgrade(request, duplex ?? socket, head, (webSocket: WebSocket) => {
      // ws switches it off.
      if (direct === undefined) socket.setTimeout(this.#idleTimeoutMs);
      this.#run(claimed, this.#sessions.overWebSocket(claimed, protocol, webSocket, duplex));
    });
  }

  /** Takes the connection from the HTTP server: a second descriptor of it, with the first one closed. Undefined for TLS, which stays where it is. */
  #take(socket: Socket): DirectSocket | undefined {
    const fd = socket instanceof TLSSocket ? undefined : descriptor(socket);
    if (fd === undefined) {
      this.#own(socket);
      return undefined;
    }
    const direct = new DirectSocket({ fd: dupFd(fd), readable: true, writable: true, allowHalfOpen: true });
    socket.destroy();
    direct.socket.on("error", () => {});
    this.#own(direct.socket, direct);
    return direct;
  }

  #own(socket: Socket, direct?: DirectSocket): void {
    this.#sockets.add(socket);
    this.#abandoned.watch(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.setNoDelay(true);
    let sent = 0;
    socket.setTimeout(this.#idleTimeoutMs);
    socket.on("timeout", () => {
      // The socket does not know what went past it.
      if (direct === undefined || direct.bytesSent === sent) {
        socket.destroy();
        return;
      }
      sent = direct.bytesSent;
      socket.setTimeout(this.#idleTimeoutMs);
    });
  }

  #run(request: StreamRequest, served: Promise<void>): void {
    served.catch((error: unknown) => this.#log.warn({ stream: request.kind, err: error }, `streaming: ${messageOf(error)}`));
  }

  async #secureServer(paths: TlsPaths, settings: object): Promise<SecureServer> {
    const verify = paths.clientCA !== undefined;
    const server = createSecureServer({ ...settings, requestCert: verify, rejectUnauthorized: verify });
    this.#tlsFiles = await watchTlsFiles({
      paths,
      host: reachable(this.#address),
      apply: (context) => server.setSecureContext(context),
      log: this.#log,
      checkMs: this.#tlsCheckMs,
    });
    return server;
  }
}

const tooMany: Refusal = { status: 503, body: "too many streams are open; try again when some have ended\n" };
const noUpgrade: Refusal = { status: 400, body: "unable to upgrade: missing upgrade headers in request\n" };

function baseUrl(scheme: string, address: string, port: number): string {
  const host = reachable(address);
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Whoever listens everywhere is reached on loopback: the kubelet is on this machine. */
function reachable(address: string): string {
  if (address === "0.0.0.0") return "127.0.0.1";
  return address === "::" ? "::1" : address;
}
