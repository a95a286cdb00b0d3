import http from "node:http";
import type { AddressInfo } from "node:net";
import { CridError, messageOf } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import type { MetricsRegistry } from "./metrics.ts";

export interface MetricsServerOptions {
  /** `host:port` or `[v6]:port`; port 0 = any; "" = off. */
  address: string;
  registry: MetricsRegistry;
  log: Logger;
  /** Why the daemon is not healthy; undefined while it is. */
  unhealthy?: () => string | undefined;
}

/** The running server; `address` is where it really listens, "" when it is off. */
export type MetricsServer = AsyncDisposable & { readonly address: string };

/**
 * Serves `/metrics` and `/healthz` over plain HTTP. Meant for loopback: neither has any access control.
 *
 * @throws failed-precondition when the address can't be listened on
 */
export async function serveMetrics(options: MetricsServerOptions): Promise<MetricsServer> {
  if (options.address === "") return { address: "", [Symbol.asyncDispose]: async () => {} };
  const { host, port } = splitAddress(options.address);
  const server = http.createServer((request, response) => {
    void answer(request, response, options).catch((error: unknown) => {
      options.log.warn({ err: error }, "metrics request failed");
      response.destroy();
    });
  });
  // A scraper that goes quiet must not hold the socket.
  server.requestTimeout = 10_000;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(port, host, resolve);
  try {
    await promise;
  } catch (error) {
    throw new CridError("failed-precondition", `listen for metrics on ${options.address}: ${messageOf(error)}; set metrics.address`, {
      cause: error,
    });
  }
  server.off("error", reject);
  const bound = server.address() as AddressInfo;
  return {
    address: bound.family === "IPv6" ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`,
    [Symbol.asyncDispose]: () => close(server),
  };
}

async function answer(request: http.IncomingMessage, response: http.ServerResponse, options: MetricsServerOptions): Promise<void> {
  const path = (request.url ?? "").split("?")[0];
  if (request.method !== "GET" && request.method !== "HEAD") return end(response, 405, "only GET\n");
  switch (path) {
    case "/metrics":
      response.setHeader("content-type", options.registry.contentType);
      return end(response, 200, await options.registry.metrics());
    case "/healthz": {
      const reason = options.unhealthy?.();
      return end(response, reason === undefined ? 200 : 503, reason === undefined ? "ok\n" : `${reason}\n`);
    }
    default:
      return end(response, 404, "there are /metrics and /healthz\n");
  }
}

function end(response: http.ServerResponse, status: number, body: string): void {
  response.statusCode = status;
  if (!response.hasHeader("content-type")) response.setHeader("content-type", "text/plain; charset=utf-8");
  response.end(body);
}

async function close(server: http.Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  server.closeAllConnections();
  await promise;
}

function splitAddress(address: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) throw new CridError("invalid-argument", `metrics.address: "${address}" is not host:port`);
  return { host, port: Number(match?.[3]) };
}
