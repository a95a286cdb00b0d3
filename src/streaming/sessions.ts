import { createWebSocketStream, type WebSocket } from "ws";
import { messageOf } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import type { Dial, PortForwardRequest } from "./port-forward/forward.ts";
import { MAX_FORWARD_STREAMS, portForwardProtocol, SpdyPairs, tunnelProtocol } from "./port-forward/spdy-pairs.ts";
import { serveForwardChannels, webSocketForwardProtocols } from "./port-forward/websocket-channels.ts";
import { type AttachRequest, type Execer, type ExecRequest, serveRemoteCommand } from "./remote-command/serve.ts";
import { MAX_REMOTE_STREAMS, SpdySession, spdyRemoteProtocols } from "./remote-command/spdy-session.ts";
import { WebSocketSession, webSocketRemoteProtocols } from "./remote-command/websocket-session.ts";
import { SpdyConnection } from "./spdy/connection.ts";
import { StreamTransport, type Transport } from "./spdy/transport.ts";
import { ChannelSocket } from "./websocket/channel-socket.ts";
import type { DirectDuplex } from "./websocket/direct-duplex.ts";

type StreamRequest = ExecRequest | AttachRequest | PortForwardRequest;

/** X-Stream-Protocol-Version. */
export function spdyProtocols(request: StreamRequest): readonly string[] {
  return request.kind === "port-forward" ? [portForwardProtocol] : spdyRemoteProtocols;
}

/** Sec-WebSocket-Protocol; "" stands for a client that names none. */
export function webSocketProtocols(request: StreamRequest): readonly string[] {
  return request.kind === "port-forward" ? [tunnelProtocol, ...webSocketForwardProtocols.keys()] : [...webSocketRemoteProtocols.keys()];
}

/** Serves a request over an upgraded connection. Each method resolves when the connection is gone. */
export class Sessions {
  readonly #execer: Execer;
  readonly #dial: Dial;
  readonly #log: Logger;

  constructor(options: { execer: Execer; dial: Dial; log: Logger }) {
    this.#execer = options.execer;
    this.#dial = options.dial;
    this.#log = options.log;
  }

  overSpdy(request: StreamRequest, protocol: string, transport: Transport): Promise<void> {
    return request.kind === "port-forward" ? this.#forwardOverSpdy(request, transport) : this.#remoteOverSpdy(request, protocol, transport);
  }

  /** @param direct what the WebSocket runs on, unless that is TLS. */
  async overWebSocket(request: StreamRequest, protocol: string, socket: WebSocket, direct?: DirectDuplex): Promise<void> {
    if (request.kind !== "port-forward") {
      const { json, ...codec } = webSocketRemoteProtocols.get(protocol) ?? { json: false, base64: false, halfClose: false };
      const session = new WebSocketSession({ socket: new ChannelSocket(socket, codec, direct), json, wanted: request });
      return serveRemoteCommand({ session, request, execer: this.#execer, log: this.#log });
    }
    if (protocol === tunnelProtocol) return this.#forwardOverSpdy(request, new StreamTransport(createWebSocketStream(socket)));
    const codec = webSocketForwardProtocols.get(protocol) ?? { base64: false, halfClose: false };
    return serveForwardChannels({ socket: new ChannelSocket(socket, codec, direct), request, dial: this.#dial, log: this.#log });
  }

  async #remoteOverSpdy(request: ExecRequest | AttachRequest, protocol: string, transport: Transport): Promise<void> {
    const session = new SpdySession({ protocol, wanted: request });
    const connection = new SpdyConnection({ transport, maxStreams: MAX_REMOTE_STREAMS, onStream: (stream) => session.add(stream) });
    try {
      await session.open(connection);
    } catch (error) {
      // There is no stream to say it on.
      this.#log.debug({ container: request.containerId, err: error }, `${request.kind}: ${messageOf(error)}`);
      connection.close();
      await connection.closed;
      return;
    }
    await serveRemoteCommand({ session, request, execer: this.#execer, log: this.#log });
  }

  async #forwardOverSpdy(request: PortForwardRequest, transport: Transport): Promise<void> {
    const pairs = new SpdyPairs({ sandboxId: request.sandboxId, dial: this.#dial, log: this.#log });
    const connection = new SpdyConnection({ transport, maxStreams: MAX_FORWARD_STREAMS, onStream: (stream) => pairs.add(stream) });
    await connection.closed;
    pairs.close();
  }
}
