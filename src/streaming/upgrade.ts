import { type IncomingMessage, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";

/** An answer that ends the connection. */
export interface Refusal {
  status: number;
  body: string;
  headers?: readonly [string, string][];
}

/** No detail: a caller with a bad token learns nothing, not even whether it ever was good. */
export const notFound: Refusal = { status: 404, body: "404 page not found\n" };

/** Answers an upgrade request with an error. */
export function refuse(socket: Duplex, { status, body, headers = [] }: Refusal): void {
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`,
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
    ...headers.map(([name, value]) => `${name}: ${value}`),
  ];
  socket.on("error", () => {});
  socket.end(`${lines.join("\r\n")}\r\n\r\n${body}`);
}

/** A header's values, whether it came several times or with commas. Empty ones are left out. */
export function headerValues(request: IncomingMessage, name: string): string[] {
  const values = request.headersDistinct[name] ?? [];
  return values.flatMap((value) => value.split(",").map((part) => part.trim())).filter((part) => part !== "");
}

/** The first of the client's protocols that is served. */
export function negotiate(offered: readonly string[], served: Iterable<string>): string | undefined {
  const known = new Set(served);
  return offered.find((protocol) => known.has(protocol));
}

/** Which kind of upgrade the client asks for. */
export function upgradeKind(request: IncomingMessage): "spdy" | "websocket" | undefined {
  const upgrade = (request.headers.upgrade ?? "").toLowerCase();
  if (upgrade === "websocket") return "websocket";
  return upgrade.includes("spdy/3.1") ? "spdy" : undefined;
}

/** SPDY's handshake: 400 without X-Stream-Protocol-Version, 403 with the list of what is served when nothing fits. */
export function spdyHandshake(request: IncomingMessage, served: readonly string[]): string | Refusal {
  const offered = headerValues(request, "x-stream-protocol-version");
  if (offered.length === 0) {
    return { status: 400, body: "unable to upgrade: header X-Stream-Protocol-Version does not exist or is empty\n" };
  }
  return (
    negotiate(offered, served) ?? {
      status: 403,
      body: `unable to upgrade: unable to negotiate protocol: client supports [${offered.join(" ")}], server accepts [${served.join(" ")}]\n`,
      headers: served.map((protocol) => ["X-Accepted-Stream-Protocol-Versions", protocol]),
    }
  );
}

/** WebSocket's: a client may name none; else 403 with the list. */
export function webSocketHandshake(request: IncomingMessage, served: readonly string[]): string | Refusal {
  const offered = headerValues(request, "sec-websocket-protocol");
  const chosen = offered.length === 0 ? negotiate([""], served) : negotiate(offered, served);
  const names = served.filter((protocol) => protocol !== "");
  return (
    chosen ?? {
      status: 403,
      body: `unable to upgrade: requested protocol(s) are not supported: [${offered.join(" ")}]; supports [${names.join(" ")}]\n`,
      headers: names.map((protocol) => ["X-Accepted-Stream-Protocol-Versions", protocol]),
    }
  );
}

/** The 101 answer of a SPDY upgrade. */
export function acceptSpdy(socket: Duplex, protocol: string): void {
  const lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: SPDY/3.1", `X-Stream-Protocol-Version: ${protocol}`];
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
}
