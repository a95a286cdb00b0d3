import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TestBlob, TestImage } from "./test-image.ts";

export interface FakeRequest {
  method: string;
  /** Path and query. */
  url: string;
  headers: IncomingMessage["headers"];
  body: string;
}

/** Answers a request instead of the registry; false lets the registry answer. */
export type Intercept = (request: FakeRequest, response: ServerResponse) => boolean | Promise<boolean>;

/** A small registry on loopback that keeps everything in memory and can be told to misbehave. */
export class FakeRegistry implements AsyncDisposable {
  readonly requests: FakeRequest[] = [];
  /** How many connections were made to it. */
  connections = 0;
  /** Set to answer in its place. */
  intercept: Intercept = () => false;
  /** Whether Range is honoured. */
  ranges = true;
  readonly #blobs = new Map<string, TestBlob>();
  readonly #manifests = new Map<string, TestBlob>();
  readonly #server: Server;
  readonly #scheme: string;

  private constructor(tls: { cert: string; key: string; ca?: string; requestCert?: boolean } | undefined) {
    const handler = (request: IncomingMessage, response: ServerResponse): void => {
      void this.#handle(request, response);
    };
    this.#scheme = tls === undefined ? "http" : "https";
    this.#server =
      tls === undefined ? createServer(handler) : createTlsServer({ ...tls, rejectUnauthorized: tls.requestCert === true }, handler);
  }

  static async start(
    o: { tls?: { cert: string; key: string; ca?: string; requestCert?: boolean }; host?: string } = {},
  ): Promise<FakeRegistry> {
    const registry = new FakeRegistry(o.tls);
    registry.#server.on("connection", () => void registry.connections++);
    await new Promise<void>((resolve) => registry.#server.listen(0, o.host ?? "127.0.0.1", resolve));
    return registry;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** `127.0.0.1:<port>`. */
  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  get url(): string {
    return `${this.#scheme}://${this.host}`;
  }

  /** Holds the image under `repository:tag`. Returns the full reference. */
  add(repository: string, tag: string, image: TestImage): string {
    for (const item of [image.config, ...image.layers]) this.addBlob(item);
    this.addManifest(repository, tag, image.manifest);
    return `${this.host}/${repository}:${tag}`;
  }

  addBlob(item: TestBlob): void {
    this.#blobs.set(item.digest, item);
  }

  addManifest(repository: string, tag: string, manifest: TestBlob): string {
    this.#manifests.set(`${repository}@${manifest.digest}`, manifest);
    this.#manifests.set(`${repository}@${tag}`, manifest);
    return `${this.host}/${repository}:${tag}`;
  }

  /** How many requests had this in their method and path. */
  count(text: string): number {
    return this.requests.filter(({ method, url }) => `${method} ${url}`.includes(text)).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
    const request: FakeRequest = {
      method: incoming.method ?? "",
      url: incoming.url ?? "",
      headers: incoming.headers,
      body: Buffer.concat(chunks).toString("utf8"),
    };
    this.requests.push(request);
    response.on("error", () => {});
    if (await this.intercept(request, response)) return;
    this.#serve(request, response);
  }

  #serve(request: FakeRequest, response: ServerResponse): void {
    const { pathname } = new URL(request.url, "http://x");
    const [, repository = "", kind = "", name = ""] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(pathname) ?? [];
    const found = kind === "blobs" ? this.#blobs.get(name) : this.#manifests.get(`${repository}@${name}`);
    if (found === undefined) {
      response.writeHead(404, { "content-type": "application/json" });
      response.end(JSON.stringify({ errors: [{ code: kind === "blobs" ? "BLOB_UNKNOWN" : "MANIFEST_UNKNOWN", message: "not here" }] }));
      return;
    }
    const first = this.ranges ? Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? "0") : 0;
    const headers = {
      "content-type": kind === "blobs" ? "application/octet-stream" : found.mediaType,
      "docker-content-digest": found.digest,
    };
    const part = found.data.subarray(first);
    if (first > 0)
      response.writeHead(206, {
        ...headers,
        "content-length": part.length,
        "content-range": `bytes ${first}-${found.size - 1}/${found.size}`,
      });
    else response.writeHead(200, { ...headers, "content-length": part.length });
    response.end(request.method === "HEAD" ? undefined : part);
  }
}
